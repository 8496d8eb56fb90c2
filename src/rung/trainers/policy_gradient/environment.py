"""Rollouts of an environment: stretches of steps or whole episodes, as the method wants, and its evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.faults import fault_point
from rung.methods import PolicyGradient
from rung.models.small.network import SmallPolicy
from rung.rollouts.environments.collected import CollectorState, Steps
from rung.rollouts.environments.stretches import StretchCollector
from rung.rollouts.environments.whole_episodes import EpisodeCollector
from rung.settings import Settings
from rung.tasks.environment import EnvironmentTask
from rung.trainers.environment_rollouts import EnvironmentRollouts
from rung.trainers.measure import of_groups
from rung.trainers.trainer import Collected, Metrics, Phase


class EnvironmentCollector(EnvironmentRollouts[Batch]):
    """Steps environments with the policy.

    A method with a horizon gets that many steps of `settings.num_environments` environments; any other gets
    `prompts_per_step` start states with `samples_per_prompt` whole episodes from each: a start state is a prompt.
    """

    def __init__(
        self,
        settings: Settings,
        method: PolicyGradient,
        task: EnvironmentTask,
        policy: SmallPolicy,
        *,
        met: EnvironmentTask | None = None,
    ) -> None:
        super().__init__(settings, task, policy)
        self.method = method
        self.met = met or task
        """What is stepped to learn from, where it is not the task itself, which is scored."""
        kind = EpisodeCollector if method.horizon is None else StretchCollector
        self.source = kind(self.met, num_environments=settings.num_environments, seed=settings.seed)

    def collect(self, step: int, phase: Phase) -> Collected:
        with phase("sample"):
            rounds = self._rounds()
            fault_point("rollout.done")
        fault_point("reward.done")
        self.steps += sum(one.environment_steps for one in rounds)
        batch = joined([one.batch for one in rounds])
        metrics = self._metrics(rounds) | self._of_groups(batch, len(rounds))
        keep = self.method.keep_group
        notes: tuple[str, ...] = ()
        if keep is not None:
            rows_B = self._kept(batch)
            if len(rows_B) < self.settings.prompts_per_step * self.method.samples_per_prompt and keep.refill:
                notes = (f"after {len(rounds)} rounds only {len(rows_B)} episodes of groups that differ were found",)
            batch = batch.rows(rows_B) if len(rows_B) else batch.without(torch.ones(len(batch), dtype=torch.bool))
        return Collected(batch=batch, metrics=metrics, notes=notes)

    def _rounds(self) -> list[Steps]:
        if isinstance(self.source, StretchCollector):
            assert self.method.horizon is not None
            return [self.source.collect_steps(self.policy, self.method.horizon)]
        keep = self.method.keep_group
        most = keep.most_batches if keep is not None and keep.refill else 1
        wanted = self.settings.prompts_per_step * self.method.samples_per_prompt
        rounds: list[Steps] = []
        while len(rounds) < most:
            more = self.source.collect_episodes(
                self.policy, self.settings.prompts_per_step, self.method.samples_per_prompt
            )
            returns = torch.from_numpy(more.returns_N)  # of a whole episode: what a filter may look at
            rounds.append(dataclasses.replace(more, batch=more.batch.changed(scores_B=returns)))
            if keep is None or len(self._kept(joined([one.batch for one in rounds]))) >= wanted:
                break
        return rounds

    def _kept(self, batch: Batch) -> Tensor:
        """The rows of the first groups whose returns differ, as many groups as a step has."""
        keep = self.method.keep_group
        assert keep is not None
        groups = [torch.nonzero(batch.group_ids_B == group)[:, 0] for group in batch.group_ids_B.unique()]
        differ = [rows_B for rows_B in groups if keep(batch.scores_B[rows_B].tolist())]
        chosen = differ[: self.settings.prompts_per_step]
        return torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.int64)

    def _metrics(self, rounds: Sequence[Steps]) -> Metrics:
        returns_N = np.concatenate([one.returns_N for one in rounds])
        lengths_N = np.concatenate([one.lengths_N for one in rounds])
        return {
            "reward/mean": float(returns_N.mean()) if len(returns_N) else None,
            "length/mean": float(lengths_N.mean()) if len(lengths_N) else None,
            "episodes/generated": float(len(returns_N)),
            "tokens/generated": float(sum(one.environment_steps for one in rounds)),
            "environment/steps": float(self.steps),
        }

    def _of_groups(self, batch: Batch, rounds: int) -> Metrics:
        """Of all that was drawn. A return is no share of right answers, so no group is all right or all wrong."""
        if self.method.horizon is not None:
            return {}
        return {
            "groups/no_spread": of_groups(batch)["groups/no_spread"],
            "groups/rounds": float(rounds) if self.method.keep_group is not None else None,
        }

    def state(self) -> Mapping[str, Any]:
        return {"steps": self.steps, "source": dict(self.source.state().numbers)}

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.source.state().tensors)

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.steps = int(state["steps"])
        self.source.load_state(CollectorState(state["source"], tensors))

    def close(self) -> None:
        self.source.close()


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of environments one below the other, padded to the longest; groups keep apart."""
    if len(batches) == 1:
        return batches[0]
    steps = max(batch.actions_BT.shape[1] for batch in batches)
    sizes = [int(batch.group_ids_B.max()) + 1 for batch in batches]
    starts = accumulate(sizes[:-1], initial=0)
    return Batch.joined([_padded(batch, steps, start) for batch, start in zip(batches, starts, strict=True)])


def _padded(batch: Batch, steps: int, first_group: int) -> Batch:
    shape = batch.actions_BT.shape[:2]
    fields: dict[str, Any] = {}
    for name, value in vars(batch).items():
        if isinstance(value, Tensor) and value.shape[:2] == shape:
            room = value.new_zeros((shape[0], steps - shape[1], *value.shape[2:]))
            fields[name] = torch.cat([value, room], dim=1)
    return batch.changed(**fields, group_ids_B=batch.group_ids_B + first_group)
