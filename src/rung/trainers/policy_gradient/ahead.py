"""Rollouts one step ahead: an engine draws the next step's answers while this step's are learnt from.

    step t:  take the answers that were begun in step t - 1; begin those of t + 1 with the weights as they are now;
             judge and learn from t's

So what a step learns from was drawn by the policy before the last update. No answer is in the making when weights
change: those of the next step are waited for before anything else is asked of the engine. They are part of a
checkpoint, for the weights that drew them are gone when a run goes on from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from rung.batch import Episode
from rung.random import Stream
from rung.rollouts.engine.sampler import EngineSampler
from rung.rollouts.sampling import DrawnFrom, Prompt, Sampler, prompts_of
from rung.tasks.task import Item
from rung.trainers.policy_gradient.text import TextCollector
from rung.trainers.trainer import Metrics


class AheadCollector(TextCollector):
    """A `TextCollector` whose sampler has begun the next step's answers when a step's are handed out.

    The last step of a run begins none. A run that is made longer by `resume` goes on from there with answers of the
    current policy.
    """

    begun_for = 0
    """The step whose answers were begun last."""

    @property
    def engine(self) -> EngineSampler:
        return cast("EngineSampler", self.sampler)

    def answered(self, sampler: Sampler, step: int, items: Sequence[Item], **how: Any) -> Sequence[Episode]:
        episodes = super().answered(sampler, step, items, **how)
        if step < self.settings.steps:
            prompts, asked = self._next(step + 1)
            self.engine.begin(prompts, **asked)
            self.begun_for = step + 1
        return episodes

    def told_apart(self, metrics: Metrics) -> Metrics:
        """Where answers are of an older policy, its own change is in what is else the gap of two computations."""
        if not metrics["delivery/staleness"]:
            return metrics
        gap = {"sampler_gap/mean": None, "sampler_gap/max": None, "delivery/drift": metrics["sampler_gap/mean"]}
        return {**metrics, **gap}

    def _next(self, step: int) -> tuple[Sequence[Prompt], dict[str, Any]]:
        """What `answered` will ask for in this step."""
        return prompts_of(self.policy, self.next_items()), {
            "samples_per_prompt": self.method.samples_per_prompt,
            "max_new_tokens": self.settings.max_new_tokens,
            "temperature": self.settings.temperature,
            "stream": Stream(self.settings.seed, step, "train"),
            "stop": self.task.stop,
        }

    def state(self) -> Mapping[str, Any]:
        """Where answers were begun it waits for them."""
        begun = self.engine.begun()
        ahead = None if begun is None else {"step": self.begun_for, "version": begun[0].version, "gap": begun[0].gap}
        return {**super().state(), "ahead": ahead}

    def tensors(self) -> dict[str, Tensor]:
        begun = self.engine.begun()
        return super().tensors() if begun is None else begun[1]

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        super().load_state(state, tensors)
        if (ahead := state["ahead"]) is not None:
            self.begun_for = int(ahead["step"])
            prompts, asked = self._next(self.begun_for)
            self.engine.take_begun(DrawnFrom(int(ahead["version"]), ahead["gap"]), tensors, prompts, **asked)
