"""Rollouts ahead: engines draw the answers of steps to come while this step's are learnt from.

    step t:  take the answers of t, begun in step t - ahead; begin those of t + ahead; judge and learn from t's

With `ahead` 1 what a step learns from was drawn by the policy before the last update, and nothing is in the making when
weights change. From 2 on weights change in flight, and an answer has tokens of several versions. Those of step t were
begun after the update of step t - ahead - 1 and are learnt from after that of t - 1: no token is older than `ahead`
steps, and none was dropped for it. A step's prompts are the same ones whatever `ahead` is.

What was begun is part of a checkpoint: whole with `ahead` 1, for the weights that drew it are gone when a run goes on
from it; from 2 on as far as it was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch, Episode
from rung.random import Stream
from rung.rollouts.engine.sampler import EngineSampler
from rung.rollouts.sampling import Prompt, Sampler, prompts_of
from rung.tasks.task import Item
from rung.trainers.policy_gradient.text import TextCollector
from rung.trainers.text_rollouts import staleness
from rung.trainers.trainer import Collected, Metrics, Phase


class AheadCollector(TextCollector):
    """A `TextCollector` whose sampler has begun the answers of steps to come when a step's are handed out.

    The last steps of a run begin none. A run that is made longer by `resume` begins there what was not begun.
    """

    begun_for = 0
    """The step whose answers were begun last."""
    _stale_BT: Tensor | None = None

    @property
    def engine(self) -> EngineSampler:
        return cast("EngineSampler", self.sampler)

    def answered(self, sampler: Sampler, step: int, items: Sequence[Item], **how: Any) -> Sequence[Episode]:
        episodes = super().answered(sampler, step, items, **how)
        last = min(step + self.settings.sampler.ahead, self.settings.steps)
        for coming in range(max(self.begun_for, step) + 1, last + 1):
            prompts, asked = self._asked(coming, coming - step - 1)
            self.engine.begin(prompts, **asked)
            self.begun_for = coming
        return episodes

    def collect(self, step: int, phase: Phase) -> Collected[Batch]:
        collected = super().collect(step, phase)
        self._stale_BT = torch.zeros(collected.batch.action_mask_BT.shape, dtype=torch.bool)
        for row, episode in enumerate(collected.episodes):
            stale_T = staleness(episode, self.version) > 0
            self._stale_BT[row, : len(stale_T)] = torch.from_numpy(np.ascontiguousarray(stale_T))
        return collected

    def told_apart(self, metrics: Metrics, learned: Batch | None) -> Metrics:
        """Where a token is of an older policy, that policy's change is in what is else the gap of two computations."""
        stale_BT = self._stale_BT
        if learned is None or learned.old_log_probs_BT is None or stale_BT is None or not stale_BT.any():
            return metrics
        gap_BT = (learned.old_log_probs_BT.cpu() - learned.sampler_log_probs_BT.cpu()).abs()
        mask_BT = learned.action_mask_BT.cpu()
        own_N, older_N = gap_BT[mask_BT & ~stale_BT], gap_BT[mask_BT & stale_BT]
        own = {"mean": float(own_N.mean()), "max": float(own_N.max())} if len(own_N) else {"mean": None, "max": None}
        gaps = {f"sampler_gap/{name}": number for name, number in own.items()}
        return {**metrics, **gaps, "delivery/drift": float(older_N.mean()) if len(older_N) else None}

    def _asked(self, step: int, later: int) -> tuple[Sequence[Prompt], dict[str, Any]]:
        """What `answered` will ask for in this step, whose prompts come so many steps after the next ones."""
        return prompts_of(self.policy, self.next_items(later)), {
            "samples_per_prompt": self.method.samples_per_prompt,
            "max_new_tokens": self.settings.max_new_tokens,
            "temperature": self.settings.temperature,
            "stream": Stream(self.settings.seed, step, "train"),
            "stop": self.task.stop,
        }

    def state(self) -> Mapping[str, Any]:
        """With `ahead` 1 it waits for what was begun."""
        begun = [{"step": one.stream.step, "gap": one.gap} for one in self.engine.begun()]
        return {**super().state(), "ahead": begun}

    def tensors(self) -> dict[str, Tensor]:
        begun = self.engine.begun()
        ahead = {f"{one.stream.step}/{name}": kept for one in begun for name, kept in one.tensors().items()}
        return super().tensors() | ahead

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        super().load_state(state, tensors)
        for later, ahead in enumerate(state["ahead"]):
            self.begun_for = step = int(ahead["step"])
            prompts, asked = self._asked(step, later)
            kept = {name.partition("/")[2]: one for name, one in tensors.items() if name.startswith(f"{step}/")}
            self.engine.take_begun(ahead["gap"], kept, prompts, **asked)
