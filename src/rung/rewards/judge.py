"""The judge: applies every reward to a batch and adds the parts up.

    total = ∑ weight · value      over the parts that apply (a part that is None is left out of the sum)

An episode with a failed part has no total: it leaves baselines, gradient and denominators, and is counted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from rung.batch import OK, Judgement
from rung.errors import RewardError, SettingsError
from rung.rewards.reward import (
    NOT_APPLICABLE,
    NOT_FINITE,
    ChildReward,
    Columns,
    Failure,
    JudgesSteps,
    OpenReward,
    Prompt,
    Reward,
    Score,
    StepScore,
    WeightedReward,
)
from rung.rewards.values import called_within, checked_scores

_log = logging.getLogger("rung.rewards")


class Judged(Protocol):
    """What a judge needs of an item; a task's `Item` has it."""

    @property
    def prompt(self) -> Prompt: ...

    @property
    def columns(self) -> Mapping[str, Any]: ...


class Judge:
    """Judges completions with several weighted rewards. The first part is the accuracy.

    >>> with Judge([WeightedReward(reward=NumberEquals())]) as judge:
    ...     judge([Item(id="1", prompt="2+3=", columns={"answer": 5})], ["5"])
    [Judgement(total=1.0, parts={"correct": 1.0}, accuracy=1.0, status="ok")]

    Rewards that run foreign code (`ChildReward`) hold a child process from construction on; `close` ends it. The
    others run here, and in the main thread are stopped after `deadline_s`.

    Args:
        rewards: at least one, with different names; the first one's value is the accuracy.
        deadline_s: how long one call of a reward may take; a reward judged sample by sample has it for each sample.
        max_failed_share: when more than this share of a batch (rounded up to whole samples), or all of it, could
            not be judged, the batch is an error. Below that, the first failure of each kind is logged.

    Raises:
        SettingsError: no reward, two of one name, a weight that is not finite, or a reward that cannot be opened.
    """

    def __init__(
        self, rewards: Sequence[WeightedReward], *, deadline_s: float = 10.0, max_failed_share: float = 0.1
    ) -> None:
        _check(rewards, deadline_s, max_failed_share)
        self.deadline_s = deadline_s
        self.max_failed_share = max_failed_share
        self._told: set[tuple[str, str]] = set()
        self.parts: list[tuple[Reward, float]] = []
        """The opened rewards with their weights."""
        try:
            for part in rewards:
                reward = part.reward.open(deadline_s) if isinstance(part.reward, ChildReward) else part.reward
                self.parts.append((reward, part.weight))
        except BaseException:
            self.close()
            raise

    def require_few(self, name: str, status: str, what: str, failed: int, of: int) -> None:
        """RewardError where more than the tolerated share failed, or all; else the first of each kind is logged."""
        tolerated = math.ceil(round(self.max_failed_share * of, 9))
        if failed > tolerated or failed == of:
            share = f"tolerated are {tolerated} (max_failed_share {self.max_failed_share:g})"
            raise RewardError(name, status, f"{what}; {share}")
        if (name, status) not in self._told:
            self._told.add((name, status))
            _log.warning("reward '%s': %s: %s; later ones are only counted", name, status, what)

    @property
    def part_names(self) -> tuple[str, ...]:
        """The parts' names in order; the first is the accuracy."""
        return tuple(reward.name for reward, _ in self.parts)

    def __call__(
        self, items: Sequence[Judged], completions: Sequence[str], drawn: Callable[[], Columns] | None = None
    ) -> list[Judgement]:
        """One judgement for each completion; `items[i]` is what `completions[i]` answers (repeated for each sample).

        `drawn` gives the columns `DRAWN`, if a reward takes them; an item's own column of such a name stays.

        Raises RewardError: a reward raised, hung, returned what cannot be rewards, or failed on too many samples.
        """
        assert self.parts, "this judge was closed"
        assert len(items) == len(completions), (len(items), len(completions))
        if not items:
            return []
        prompts = [item.prompt for item in items]
        columns = columns_of(items)
        takes = [getattr(reward, "takes_drawn", False) for reward, _ in self.parts]
        more = {**drawn(), **columns} if drawn is not None and any(takes) else columns
        scores_of_parts = [
            self._scores(reward, prompts, completions, more if taken else columns)
            for (reward, _), taken in zip(self.parts, takes, strict=True)
        ]
        judgements = [self._judgement(scores) for scores in zip(*scores_of_parts, strict=True)]
        for reward, weight in self.parts:
            if isinstance(reward, JudgesSteps):
                steps = called_within(
                    self.deadline_s, reward.name, lambda r=reward: r.steps(prompts, completions, columns)
                )
                judgements = [_with_steps(j, s, weight) for j, s in zip(judgements, steps, strict=True)]
        self._check_failures(scores_of_parts, completions)
        return judgements

    def close(self) -> None:
        """End the rewards' child processes. A closed judge judges no more."""
        parts, self.parts = self.parts, []
        for reward, _ in parts:
            if isinstance(reward, OpenReward):
                reward.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _scores(
        self, reward: Reward, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns
    ) -> list[Score]:
        given = (list(prompts), list(completions), {name: list(values) for name, values in columns.items()})
        # A reward with a child keeps deadlines of its own, one for each sample: no alarm for the whole batch.
        seconds = None if isinstance(reward, OpenReward) else self.deadline_s
        returned: Any = called_within(seconds, reward.name, lambda: reward(*given))
        return checked_scores(reward.name, returned, len(completions))

    def _judgement(self, scores: Sequence[Score]) -> Judgement:
        names = self.part_names
        values = [None if isinstance(score, Failure) else score for score in scores]
        parts = dict(zip(names, values, strict=True))
        failed = (f"{name}: {s.status}" for name, s in zip(names, scores, strict=True) if isinstance(s, Failure))
        status = next(failed, OK if any(value is not None for value in values) else NOT_APPLICABLE)
        total = None
        if status == OK:
            weighted = zip(self.parts, values, strict=True)
            total = sum(weight * value for (_, weight), value in weighted if value is not None)
            if not math.isfinite(total):
                raise RewardError("+".join(names), NOT_FINITE, f"the weighted sum of {parts} is {total}")
        weights = {reward.name: weight for reward, weight in self.parts}
        return Judgement(total=total, parts=parts, accuracy=values[0], status=status, weights=weights)

    def _check_failures(self, scores_of_parts: Sequence[Sequence[Score]], completions: Sequence[str]) -> None:
        for name, scores in zip(self.part_names, scores_of_parts, strict=True):
            failed = [
                (score, text) for score, text in zip(scores, completions, strict=True) if isinstance(score, Failure)
            ]
            for first, text in failed[:1]:
                what = (
                    f"{len(failed)} of {len(completions)} samples could not be judged; the first: "
                    f"{first.detail or first.status}; its completion: {shortened(text)}"
                )
                self.require_few(name, first.status, what, len(failed), len(completions))


def _with_steps(judgement: Judgement, steps: Sequence[StepScore], weight: float) -> Judgement:
    """The judgement with these steps, in the order in which they end, if it was given at all."""
    every = sorted((*judgement.steps, *((end, weight * score) for end, score in steps)))
    return replace(judgement, steps=tuple(every)) if judgement.status == OK else judgement


def columns_of(items: Sequence[Judged]) -> dict[str, list[Any]]:
    """Every column of the items as a list of one entry an item, None where an item lacks it.

    >>> columns_of([Item(id="1", prompt="", columns={"answer": 5}), Item(id="2", prompt="", columns={})])
    {'answer': [5, None]}
    """
    names = dict.fromkeys(name for item in items for name in item.columns)
    return {name: [item.columns.get(name) for item in items] for name in names}


def shortened(text: str) -> str:
    """The text as one quoted line for an error message."""
    return ascii(text if len(text) <= 120 else f"{text[:120]}...")


def _check(rewards: Sequence[WeightedReward], deadline_s: float, max_failed_share: float) -> None:
    names = [part.reward.name for part in rewards]
    problems: list[str] = []
    if not rewards:
        needs = "a task without its own needs --reward FILE.py:FUNCTION"
        problems.append(f"rewards: got none, expected at least one; {needs}")
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"rewards: two parts are named '{name}'; names must differ")
    for part in rewards:
        if not math.isfinite(part.weight):
            problems.append(f"rewards.{part.reward.name}.weight: got {part.weight}, expected a finite number")
    if not (math.isfinite(deadline_s) and deadline_s > 0):
        problems.append(f"deadline_s: got {deadline_s}, expected seconds > 0")
    if not 0 <= max_failed_share <= 1:
        problems.append(f"max_failed_share: got {max_failed_share}, expected a share from 0 to 1")
    if problems:
        raise SettingsError(problems)
