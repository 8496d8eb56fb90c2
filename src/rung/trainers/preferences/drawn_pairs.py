"""Pairs from the model's own samples, paid from the run's budget, and then steps that learn from them.

The first step draws: answers to the task's train prompts, in the order in which every other method meets them, told
apart by the task's rewards. It ends when what was drawn and the passes over it that are to come take the budget:

    tokens    training draws none, so drawing spends all of it; the run goes on for `pairs.passes` passes
    trained   passes x tokens of the pairs' answers
    flops     drawing, and the passes' operations
    seconds   `pairs.seconds_share` of it, because nobody knows beforehand how long a pass takes

The steps after it learn. A budget that training spends ends the run when it is spent; one of generated tokens, which
training does not spend, with the last pass. Nothing is learnt of a prompt whose answers are all alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rung.errors import CheckpointError
from rung.methods.preference_learning import PreferenceLearning
from rung.models.language.load import fingerprint
from rung.rewards.judge import Judge
from rung.rollouts.sampling import Sampler
from rung.settings import Settings
from rung.tasks.order import items_at
from rung.tasks.pairs import PairTask, written_pair
from rung.tasks.task import TextTask
from rung.trainers.budget import Budget
from rung.trainers.clock import Clock
from rung.trainers.held_out import Scores
from rung.trainers.inputs import digest_of
from rung.trainers.preferences.drawing import (
    ALL_RIGHT,
    ALL_WRONG,
    PairsMade,
    Wanted,
    answered,
    paired,
)
from rung.trainers.preferences.drawn_rounds import DrawnRounds, Round, rounds_name
from rung.trainers.preferences.pairs import PairCollector
from rung.trainers.preferences.tokens import PairRows, encoded
from rung.trainers.text_rollouts import TextRollouts
from rung.trainers.trainer import Collected, Metrics, Phase
from rung.trainers.work import Work
from rung.whole_files import write_whole

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

PAIRS = "pairs.jsonl"
"""In a run's folder: the pairs that it learns from, as `rung pairs` writes them."""
SPENT_BY_TRAINING = ("trained", "flops", "seconds")
BARREN = 100
"""Rounds in a row without a pair after which drawing ends, where the budget does not count drawing."""


class DrawnPairCollector(TextRollouts[PairRows | None]):
    """Draws its pairs with its first step and hands them out from then on.

    Attributes:
        made: what drawing brought and took; None before.
        pairs: who hands them out; None before, and where no prompt gave a pair.
    """

    def __init__(
        self,
        settings: Settings,
        method: PreferenceLearning,
        task: TextTask,
        policy: TextPolicy,
        reference: TextPolicy | None,
        judge: Judge,
        sampler: Sampler,
        *,
        work: Work,
        folder: Path | None,
        shared: Path | None,
    ) -> None:
        super().__init__(settings, task, policy, judge, sampler)
        self.method, self.reference, self.work = method, reference, work
        self.folder, self.shared = folder, shared
        self.wanted = Wanted(
            seed=settings.seed,
            k=settings.pairs.k,
            pairs_per_prompt=settings.pairs.pairs_per_prompt,
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
        )
        self.made: PairsMade | None = None
        self.pairs: PairCollector | None = None
        self.rows_print = ""
        self._scores_at_start: Scores | None = None

    def collect(self, step: int, phase: Phase) -> Collected:
        """All pairs, with nothing to learn from yet; afterwards the next step's."""
        if self.made is None:
            return self._drawn()
        if self.pairs is None:
            return Collected(batch=None, metrics={})
        collected = self.pairs.collect(step, phase)
        collected.metrics["pairs/passes"] = self.pairs.drawn / len(self.pairs.train)
        return collected

    def ends(self, budget: Budget) -> bool:
        """Whether the run is over: its budget spent on training, or its passes made."""
        if self.made is None:
            return False
        if self.pairs is None or any(axis in SPENT_BY_TRAINING for axis in budget.empty):
            return True
        return bool(budget.empty) and self.pairs.drawn >= self.settings.pairs.passes * len(self.pairs.train)

    def progress(self, budget: Budget) -> float:
        """The share of the learning, 0 to 1, that is over: of the seconds kept for it, or of its passes."""
        if self.pairs is None:
            return 0.0
        shares = [0.0]
        if (seconds := budget.limits.get("seconds")) is not None:
            kept = seconds * (1.0 - self.settings.pairs.seconds_share)
            shares.append(1.0 - (seconds - budget.spent.seconds) / kept)
        if budget.limits.keys() - {"seconds"}:
            shares.append(self.pairs.drawn / (self.settings.pairs.passes * len(self.pairs.train)))
        return min(1.0, max(shares))

    def _drawn(self) -> Collected:
        made, seconds, rows = self._draw()
        assert self.folder is not None, "a run that is trained has a folder"
        write_whole(self.folder / PAIRS, "".join(json.dumps(row) + "\n" for row in rows).encode())
        self.made = made
        self._take(rows)
        said = "; ".join(made.lines())
        nothing = "" if rows else "; nothing tells any two answers to one prompt apart, so nothing can be learnt"
        return Collected(
            batch=None,
            metrics=_metrics(made),
            notes=(f"pairs: {said}{nothing}",),
            seconds=seconds,
            evaluate=True,
        )

    def _draw(self) -> tuple[PairsMade, dict[str, float], list[dict[str, Any]]]:
        """Rounds until it is enough, from the file where another run has drawn them already."""
        assert self.shared is not None, "a run that is trained has a place for its rounds"
        store = DrawnRounds(self.shared / rounds_name(self._decided_by()), self._round)
        made, rows = PairsMade(), list[dict[str, Any]]()
        seconds: dict[str, float] = {}
        tokens = number = barren = 0
        most = BARREN if set(self.settings.budget.limits()) == {"trained"} else float("inf")
        while not self._enough(made, tokens, seconds) and barren < most:
            one = store.at(number)
            number += 1
            made.add(one.made)
            rows += one.rows
            for name, value in one.seconds.items():
                seconds[name] = seconds.get(name, 0.0) + value
            pairs = encoded(self.policy, [written_pair(0, row) for row in one.rows])
            tokens += sum(len(ids) for pair in pairs if not isinstance(pair, str) for ids, _ in pair.answers)
            barren = 0 if one.rows else barren + 1
        return made, seconds, rows

    def _enough(self, made: PairsMade, tokens: int, seconds: Mapping[str, float]) -> bool:
        """Whether drawing ends, with so many tokens in the pairs' answers."""
        limits, pairs = self.settings.budget.limits(), self.settings.pairs
        learning = tokens * (pairs.passes * self.work.trained + self.work.reference)
        costs = {
            "tokens": made.tokens,
            "trained": pairs.passes * tokens,
            "flops": made.tokens * self.work.generated + learning,
            "seconds": sum(seconds.values()) / pairs.seconds_share,
        }
        return any(costs[axis] >= limit for axis, limit in limits.items())

    def _round(self, number: int) -> Round:
        """The answers to the next `prompts_per_step` prompts, and their pairs."""
        settings, made = self.settings, PairsMade()
        first = number * settings.prompts_per_step
        picks = items_at(settings.seed, first, settings.prompts_per_step, len(self.task.train))
        items = [self.task.train[int(pick)] for pick in picks]
        names = [f"{item.id}/{first + index}" for index, item in enumerate(items)]
        clock = Clock()
        with clock.phase("sample"):
            groups = answered(self.sampler, self.policy, self.task, items, names, self.wanted, made)
        with clock.phase("reward"):
            rows = list(paired(groups, self.judge, self.policy, self.wanted, made))
        return Round(rows=rows, made=made, seconds=clock.seconds)

    def _decided_by(self) -> dict[str, Any]:
        """All that decides a round: runs for which it is the same may share it."""
        data = self.settings.as_data()
        keys = ("task", "seed", "prompts_per_step", "max_new_tokens", "temperature", "rewards", "rewarding", "lora")
        return {
            "model": fingerprint(self.policy.model),
            "engine": data["sampler"]["engine"],
            **{key: data[key] for key in keys},
            **{key: data["pairs"][key] for key in ("k", "pairs_per_prompt")},
            **{key: data["learner"][key] for key in ("device", "compute", "threads")},
        }

    def _take(self, rows: list[dict[str, Any]]) -> None:
        if rows:
            self.rows_print = digest_of(map(json.dumps, rows))
            pairs = tuple(written_pair(number, row) for number, row in enumerate(rows, start=1))
            task = PairTask(name=self.task.name, train=pairs, held_out=())
            self.pairs = PairCollector(self.settings, self.method, task, self.policy, self.reference)

    def evaluate(self) -> Scores:
        """The score on the task's held-out items, as for a method that draws its samples as it goes."""
        learnt = self.pairs is not None and self.pairs.drawn > 0
        if not learnt and self._scores_at_start is not None:
            return self._scores_at_start
        scores = super().evaluate()
        self._scores_at_start = None if learnt else scores
        return scores

    def state(self) -> Mapping[str, Any]:
        return {
            "made": None if self.made is None else asdict(self.made),
            "pairs": None if self.pairs is None else self.pairs.state() | {"rows": self.rows_print},
        }

    def tensors(self) -> dict[str, Tensor]:
        return {} if self.pairs is None else self.pairs.tensors()

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Raises CheckpointError when the run's pairs are not there any more, or are others."""
        if state["made"] is None:
            return
        self.made = PairsMade(**state["made"])
        if state["pairs"] is None:
            return
        assert self.folder is not None, "a run that is resumed has a folder"
        try:
            lines = (self.folder / PAIRS).read_text(encoding="utf-8").splitlines()
            self._take([json.loads(line) for line in lines])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"this run cannot go on: {self.folder / PAIRS}, the pairs that it drew, cannot be read ({error}). Put "
                "back what was there"
            ) from error
        if self.pairs is None or self.rows_print != state["pairs"]["rows"]:
            raise CheckpointError(
                f"this run cannot go on: {self.folder / PAIRS} changed since. Put back what was there"
            )
        self.pairs.load_state(state["pairs"], tensors)


def _metrics(made: PairsMade) -> Metrics:
    return {
        "pairs/prompts": float(made.prompts),
        "pairs/drawn": float(made.rows),
        "pairs/without": float(sum(made.no_pair.values())),
        "pairs/all_right": float(made.no_pair.get(ALL_RIGHT, 0)),
        "pairs/all_wrong": float(made.no_pair.get(ALL_WRONG, 0)),
        "pairs/used_tokens": float(made.used_tokens),
        "tokens/generated": float(made.tokens),
        "episodes/generated": float(made.samples),
        "episodes/failed": float(made.failed),
        "length/mean": made.tokens / made.samples if made.samples else None,
        "length/truncated": made.truncated / made.samples if made.samples else None,
    }
