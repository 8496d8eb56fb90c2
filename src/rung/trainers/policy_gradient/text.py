"""Rollouts of text: prompts, their samples, their rewards; groups without a difference are replaced on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rung.batch import OK, Batch, Episode
from rung.methods import PolicyGradient
from rung.rewards.judge import Judge
from rung.rollouts.sampling import Sampler
from rung.settings import Settings
from rung.tasks.task import TextTask
from rung.trainers import measure
from rung.trainers.assemble import assemble
from rung.trainers.text_rollouts import TextRollouts
from rung.trainers.trainer import Collected, Metrics, Phase

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy


class TextCollector(TextRollouts[Batch]):
    """Draws the answers of a policy to a task's prompts and has them judged.

    Attributes:
        behaviour: the sampler of whoever gives the answers that are learnt from, as a rule the policy.
    """

    def __init__(
        self,
        settings: Settings,
        method: PolicyGradient,
        task: TextTask,
        policy: TextPolicy,
        judge: Judge,
        sampler: Sampler,
        behaviour: Sampler | None = None,
    ) -> None:
        super().__init__(settings, task, policy, judge, sampler)
        self.method, self.behaviour = method, behaviour or sampler

    def collect(self, step: int, phase: Phase) -> Collected:
        """One step's groups. With `keep_group` further prompts are drawn, in rounds, until enough groups are kept."""
        keep, wanted = self.method.keep_group, self.settings.prompts_per_step
        samples = self.method.samples_per_prompt
        rounds = keep.most_batches if keep is not None and keep.refill else 1
        generated: list[Episode] = []
        kept: list[list[Episode]] = []
        done = 0
        while done < rounds and len(kept) < wanted:
            episodes = self.judged_answers(
                self.behaviour,
                step,
                phase,
                temperature=self.settings.temperature,
                samples_per_prompt=samples,
                first_group=done * wanted,
            )
            groups = [episodes[begin : begin + samples] for begin in range(0, len(episodes), samples)]
            generated += episodes
            kept += [group for group in groups if keep is None or keep(_accuracies(group))]
            done += 1
        chosen = [
            dataclasses.replace(episode, group=number, pieces=self.policy.pieces(episode.actions))
            for number, group in enumerate(kept[:wanted])
            for episode in group
        ]
        drawing, timings, said = self.told(generated)
        metrics = self._metrics(generated) | {"groups/rounds": float(done) if keep is not None else None} | drawing
        notes = (*said, *(_short_of(len(kept), wanted, done) if keep is not None and keep.refill else ()))
        if not chosen:  # nothing to learn from: an empty step, which the learner skips
            chosen = [dataclasses.replace(e, judgement=None) for e in generated[:samples]]
        return Collected(batch=assemble(chosen), metrics=metrics, episodes=chosen, notes=notes, timings=timings)

    @staticmethod
    def _metrics(generated: Sequence[Episode]) -> Metrics:
        metrics = measure.of_rewards(generated) | measure.of_lengths(generated) | measure.of_turns(generated)
        return metrics | measure.of_groups(assemble(generated))

    def state(self) -> Mapping[str, Any]:
        return {"drawn": self.drawn}

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.drawn = int(state["drawn"])


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
