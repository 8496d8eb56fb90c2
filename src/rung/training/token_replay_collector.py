"""Completions into a replay, for a method that learns the value of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rung.batch import Episode
from rung.methods.parts.explorations import EpsilonGreedy
from rung.methods.value_learning import ValueLearning
from rung.models.packing import Rows
from rung.rewards.judge import Judge
from rung.rollouts.sampler import Sampler
from rung.rollouts.streams import Stream
from rung.rollouts.token_replay import TokenReplay
from rung.settings import Settings
from rung.tasks.order import items_at
from rung.tasks.task import TextTask
from rung.training import measure
from rung.training.answers import judged, prompts_of
from rung.training.assemble import assemble
from rung.training.collected import Collected, Metrics, Phase
from rung.training.faults import reach
from rung.training.held_out import Scores, held_out_scores
from rung.training.token_value_learner import Due

if TYPE_CHECKING:
    from rung.models.policy import TextPolicy

HELD_OUT = 64
"""Held-out prompts on which max Q is followed."""


class TokenReplayCollector:
    """A step of the run is one completion of each of `settings.prompts_per_step` prompts; steps of the method are
    tokens. ε is that of the step's first token, for all of its completions.

    Attributes:
        drawn: prompts taken from the task so far: the position in the data.
        tokens: tokens generated so far, by which ε falls and updates come due.
    """

    def __init__(
        self, settings: Settings, method: ValueLearning, task: TextTask, policy: TextPolicy, judge: Judge
    ) -> None:
        self.settings, self.method, self.task, self.policy, self.judge = settings, method, task, policy, judge
        self.sampler = Sampler(policy, rows_at_once=settings.sampler.rows_at_once)
        self.drawn = self.tokens = 0
        vocabulary = policy.model.get_output_embeddings().weight.shape[0]
        self.replay = TokenReplay(capacity=method.replay.capacity, vocabulary=vocabulary)

    def collect(self, step: int, policy_version: int, phase: Phase) -> Collected:
        """One step's completions, and how many rounds of updates they make due."""
        picks = items_at(self.settings.seed, self.drawn, self.settings.prompts_per_step, len(self.task.train))
        self.drawn += len(picks)
        items = [self.task.train[int(pick)] for pick in picks]
        exploration = self.method.exploration
        epsilon = exploration.epsilon_at(self.tokens) if isinstance(exploration, EpsilonGreedy) else None
        with phase("sample"):
            episodes = self.sampler.sample(
                prompts_of(self.policy, items),
                samples_per_prompt=1,
                max_new_tokens=self.settings.max_new_tokens,
                temperature=1.0 if isinstance(exploration, EpsilonGreedy) else exploration.temperature,
                stream=Stream(self.settings.seed, step, "train"),
                stop=self.task.stop,
                policy_version=policy_version,
                epsilon=epsilon,
            )
            reach("rollout.done")
        with phase("reward"):
            found = judged(self.judge, self.policy, items, episodes)
            reach("reward.done")
        before = self.tokens
        self.tokens += sum(int(episode.action_mask.sum()) for episode in found)
        self._keep(found)
        metrics = self._metrics(found) | {"exploration/epsilon": epsilon}
        shown = [dataclasses.replace(e, pieces=self.policy.pieces(e.actions)) for e in found]
        return Collected(batch=Due(self.replay, self._rounds(before)), metrics=metrics, episodes=shown)

    def _rounds(self, before: int) -> int:
        """Rounds of updates that came due since so many tokens."""
        every = self.method.steps_between_updates
        return self.tokens // every - before // every if self.tokens >= self.method.replay.starts else 0

    def _keep(self, episodes: Sequence[Episode]) -> None:
        """Into the replay, but for those that could not be judged: nobody knows their reward."""
        batch = assemble(episodes)
        rewards_BT = batch.rewards_BT.sign() if self.method.clip_rewards else batch.rewards_BT
        for row, episode in enumerate(episodes):
            length = len(episode.actions)
            own_T = batch.action_mask_BT[row, :length].numpy()
            self.replay.add(episode.context, episode.actions, own_T, rewards_BT[row, :length].numpy())

    def _metrics(self, episodes: Sequence[Episode]) -> Metrics:
        return {
            **measure.of_rewards(episodes),
            **measure.of_lengths(episodes),
            "replay/steps": float(len(self.replay)),
            "value/held_out_max_q": self._held_out_value(),
        }

    def _held_out_value(self) -> float:
        """The mean over the first held-out prompts of the best first token's Q."""
        items = [self.task.held_out[index] for index in range(min(HELD_OUT, len(self.task.held_out)))]
        prompts = [prompt.ids for prompt in prompts_of(self.policy, items)]
        unread = (np.zeros(1, np.int64),) * len(prompts)
        with torch.no_grad():
            asked = Rows(contexts=tuple(prompts), actions=unread, wanted=(np.ones(1, bool),) * len(prompts))
            return float(self.policy.values(asked).amax(1).double().mean())

    def evaluate(self) -> Scores:
        """The held-out score of the tokens with the highest Q."""
        return held_out_scores(self.settings, self.sampler, self.judge, self.task)

    def prompt_of(self, episode: Episode) -> str:
        return self.policy.decode(episode.context)

    def film(self, folder: Path) -> None:
        """Text has its samples instead."""

    def state(self) -> Mapping[str, Any]:
        return {"drawn": self.drawn, "tokens": self.tokens, "replay": self.replay.state()}

    def tensors(self) -> dict[str, Tensor]:
        return self.replay.tensors()

    def pieces(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.drawn, self.tokens = int(state["drawn"]), int(state["tokens"])
        self.replay.load(state["replay"], tensors)

    def close(self) -> None:
        self.judge.close()
