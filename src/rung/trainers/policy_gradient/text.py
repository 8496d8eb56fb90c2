"""Rollouts of text: prompts, their samples, their rewards; groups that cannot teach are replaced on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rung.batch import OK, Episode
from rung.faults import fault_point
from rung.methods import PolicyGradient
from rung.random import Stream
from rung.rewards.judge import Judge
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt
from rung.settings import Settings
from rung.tasks.order import items_at
from rung.tasks.task import Item, TextTask
from rung.trainers import measure
from rung.trainers.assemble import assemble, step_rewards
from rung.trainers.held_out import Scores, held_out_scores
from rung.trainers.trainer import Collected, Metrics, Phase

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


class TextCollector:
    """Draws the answers of a policy to a task's prompts and has them judged.

    Attributes:
        sampler: of the policy, whose held-out score it draws.
        behaviour: of whoever gives the answers that are learnt from, as a rule the same.
        drawn: prompts taken from the task so far: the position in the data.
    """

    def __init__(
        self,
        settings: Settings,
        method: PolicyGradient,
        task: TextTask,
        policy: TextPolicy,
        judge: Judge,
        start: TextPolicy | None = None,
    ) -> None:
        assert start is not None or method.behaviour is None, "this method's answers are the start's"
        self.settings, self.method, self.task, self.policy, self.judge = settings, method, task, policy, judge
        rows = settings.sampler.rows_at_once
        self.sampler = self.behaviour = InProcessSampler(policy, rows_at_once=rows)
        if method.behaviour is not None and start is not None:
            self.behaviour = InProcessSampler(start, rows_at_once=rows)
        self.drawn = 0

    def collect(self, step: int, policy_version: int, phase: Phase) -> Collected:
        """One step's groups. With `keep_group` further prompts are drawn, in rounds, until enough groups are kept."""
        keep, wanted = self.method.keep_group, self.settings.prompts_per_step
        rounds = keep.most_batches if keep is not None and keep.refill else 1
        generated: list[Episode] = []
        kept: list[list[Episode]] = []
        done = 0
        while done < rounds and len(kept) < wanted:
            groups = self._round(step, done * wanted, policy_version, phase)
            generated += [episode for group in groups for episode in group]
            kept += [group for group in groups if keep is None or keep(_accuracies(group))]
            done += 1
        chosen = [
            dataclasses.replace(episode, group=number, pieces=self.policy.pieces(episode.actions))
            for number, group in enumerate(kept[:wanted])
            for episode in group
        ]
        metrics = self._metrics(generated) | {"groups/rounds": float(done) if keep is not None else None}
        notes = _short_of(len(kept), wanted, done) if keep is not None and keep.refill else ()
        if not chosen:  # nothing can teach: an empty step, that the learner skips
            chosen = [dataclasses.replace(e, judgement=None) for e in generated[: self.method.samples_per_prompt]]
        return Collected(batch=assemble(chosen), metrics=metrics, episodes=chosen, notes=notes)

    def _round(self, step: int, first_group: int, policy_version: int, phase: Phase) -> list[list[Episode]]:
        picks = items_at(self.settings.seed, self.drawn, self.settings.prompts_per_step, len(self.task.train))
        self.drawn += len(picks)
        items = [self.task.train[int(pick)] for pick in picks]
        with phase("sample"):
            episodes = self._sampled(items, step, first_group, policy_version)
            fault_point("rollout.done")
        with phase("reward"):
            found = judged(self.judge, self.policy, items, episodes, first_group)
            fault_point("reward.done")
        samples = self.method.samples_per_prompt
        return [found[begin : begin + samples] for begin in range(0, len(found), samples)]

    def _sampled(self, items: Sequence[Item], step: int, first_group: int, policy_version: int) -> list[Episode]:
        return self.behaviour.sample(
            prompts_of(self.policy, items, first_group),
            samples_per_prompt=self.method.samples_per_prompt,
            max_new_tokens=self.settings.max_new_tokens,
            temperature=self.settings.temperature,
            stream=Stream(self.settings.seed, step, "train"),
            stop=self.task.stop,
            policy_version=policy_version,
        )

    @staticmethod
    def _metrics(generated: Sequence[Episode]) -> Metrics:
        metrics = measure.of_rewards(generated) | measure.of_lengths(generated)
        return metrics | measure.of_groups(assemble(generated))

    def evaluate(self) -> Scores:
        """The held-out score of the policy as it is now."""
        return held_out_scores(self.settings, self.sampler, self.judge, self.task)

    def prompt_of(self, episode: Episode) -> str:
        return self.policy.decode(episode.context)

    def film(self, folder: Path) -> None:
        """Text has its samples instead."""

    def state(self) -> Mapping[str, Any]:
        return {"drawn": self.drawn}

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def pieces(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.drawn = int(state["drawn"])

    def close(self) -> None:
        self.judge.close()


def _accuracies(group: Sequence[Episode]) -> list[float]:
    judged = [e.judgement for e in group if e.judgement is not None and e.judgement.status == OK]
    return [j.accuracy for j in judged if j.accuracy is not None]


def _short_of(kept: int, wanted: int, rounds: int) -> tuple[str, ...]:
    if kept >= wanted:
        return ()
    return (
        f"after {rounds} rounds only {kept} of {wanted} prompts had answers that differ; the step goes on with them. "
        "The task may be too easy or too hard: see groups/all_right and groups/all_wrong",
    )


def prompts_of(policy: TextPolicy, items: Sequence[Item], first_group: int = 0) -> list[Prompt]:
    """The items' prompts, each a group of its own, numbered from `first_group`."""
    return [
        Prompt(item=item.id, group=first_group + index, ids=policy.encode(item.prompt))
        for index, item in enumerate(items)
    ]


def judged(
    judge: Judge, policy: TextPolicy, items: Sequence[Item], episodes: Sequence[Episode], first_group: int = 0
) -> list[Episode]:
    """The episodes with what the rewards say of them, and of their steps where a reward judges steps."""
    judgements = judge([items[e.group - first_group] for e in episodes], [e.text for e in episodes])
    return [
        dataclasses.replace(e, judgement=j, step_rewards=step_rewards(e, j.steps, policy.decode))
        for e, j in zip(episodes, judgements, strict=True)
    ]
