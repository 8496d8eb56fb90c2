"""What the claims share: a claim is an experiment with a verdict that a rule makes of its numbers.

A claim is one file. Its docstring says what is measured; the rule, in words and as the pure function `verdict`, was
fixed before the run. Beside the rule stand checks that every claim has, or that its file names. They were added later,
on the same numbers, and can only take back what a rule said too strongly: a best value at the edge of its grid,
intervals that overlap, a row of the table for which the verdict is not true, a verdict that was another one before.

    python experiments/claims/reinforce_unstable.py     one claim
    python experiments/claims/every_claim.py            those that are not recorded yet, in the article's order

Importing this module lets a claim find the experiments, and keeps it to one thread: its networks are small, and
a second thread would only wait.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

EXPERIMENTS = Path(__file__).parent.parent
if str(EXPERIMENTS) not in sys.path:
    sys.path.append(str(EXPERIMENTS))

from experiment import PICTURES, Experiment, Result, recorded  # noqa: E402 - found by the line above
from intervals import Number  # noqa: E402
from words import capital, origin  # noqa: E402

torch.set_num_threads(1)

HOLDS = "holds"


def only_when(condition: str) -> str:
    """The verdict of a claim that is half right."""
    return f"holds here only when {condition}"


def not_here(why: str) -> str:
    """The verdict of a claim that was not found true, and why: no difference is another reason than the opposite."""
    return f"does not hold here: {why}"


def not_told(why: str) -> str:
    """The verdict of a claim that these numbers neither confirm nor refute."""
    return f"cannot be told here: {why}"


@dataclass(frozen=True)
class Check:
    """What a check found: a sentence, and the verdict that is left, where the rule's own no longer stands."""

    sentence: str
    verdict: str = ""


def at_edge(scores: Mapping[str, float], of: str) -> str:
    """A sentence where the best of a grid is its first or its last value; the grid then did not find the best.

    >>> at_edge({"1e-4": 0.2, "2e-4": 0.3, "4e-4": 0.1}, "the rate")
    ''
    >>> at_edge({"1e-4": 0.4, "2e-4": 0.3}, "the rate")
    'the rate that scored best, 0.0001, is the lowest of its grid: a lower one may score higher'
    """
    values = sorted(scores, key=float)
    best = max(values, key=lambda value: scores[value])
    if best not in (values[0], values[-1]):
        return ""
    end, other = ("lowest", "lower") if best == values[0] else ("highest", "higher")
    return f"{of} that scored best, {float(best):g}, is the {end} of its grid: a {other} one may score higher"


def not_apart(scores: Mapping[str, Number]) -> list[str]:
    """The names whose interval overlaps that of the best one: which of them is best cannot be told.

    >>> not_apart({"a": Number(9.0, 7.0, 11.0), "b": Number(6.0, 5.0, 7.5), "c": Number(2.0, 1.0, 3.0)})
    ['b']
    """
    best = max(scores, key=lambda name: scores[name].value)
    return [name for name in scores if name != best and scores[name].high >= scores[best].low]


def no_checks(result: Result) -> Iterable[Check]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Claim(Experiment):
    """One sentence of the article, what is measured of it, and by which rule it is judged.

    `measure` gives `number`, the one that the verdict leans on most, and `verdict`, which is the rule's.
    """

    sentence: str
    measured: str
    """The number in words."""
    unit: str = ""
    rule: str
    checks: Callable[[Result], Iterable[Check]] = no_checks

    @property
    def command(self) -> str:
        return f"python experiments/claims/{self.name}.py"

    @property
    def key(self) -> str:
        return f"claims_{self.name}"

    @property
    def image(self) -> Path:
        return PICTURES / f"claim_{self.name}.svg"

    def worked(self, work: Any) -> dict[str, Any]:
        whole = super().worked(work)
        return {**whole, **{name: getattr(self, name) for name in ("sentence", "measured", "unit", "rule")}}

    def record(self, whole: Mapping[str, Any]) -> None:
        """Besides, what was recorded before: a verdict that changes says so from then on."""
        before = recorded(self.key)
        if before is not None:
            one = {name: before[name] for name in ("commit", "number", "verdict")}
            whole = {**whole, "history": [*before.get("history", []), one]}
        super().record(whole)

    def finding(self, run: Result) -> str:
        """The verdict that is said: the rule's, or what the checks leave of it."""
        return next((check.verdict for check in self.checks(run) if check.verdict), run["verdict"])

    def heading(self, result: Result) -> str:
        """The sentence, and whether it was found true."""
        return f"“{self.sentence.rstrip('.')}” {self.finding(result)}"

    def beside(self, run: Result) -> Iterator[str]:
        """What stands beside the verdict: what the checks found, and other verdicts that were recorded before."""
        found = list(self.checks(run))
        yield from (f"{capital(check.sentence)}." for check in found)
        if any(check.verdict for check in found):
            yield f"By its rule alone: {run['verdict']}."
        before = [one for one in run.get("history", []) if one["verdict"] != run["verdict"]]
        for one in before[-1:]:
            yield (
                f"The rule's verdict changed when it was recorded again: at commit {one['commit']} it was "
                f"“{one['verdict']}”, at {run['commit']} it is “{run['verdict']}”."
            )

    def said(self, run: Result) -> Iterator[str]:
        number = Number.of(run["number"]).words(run["unit"])
        yield f"**{capital(self.finding(run))}.** {capital(run['measured'])}: {number}."
        for sentence in self.beside(run):
            yield from ("", sentence)
        if self.image.is_file():
            yield from ("", f"![{run['measured']}](pictures/{self.image.name})")
        yield from ("", *self.lines(run), "", f"Rule, fixed before the run: {run['rule']}", "", origin(run))

    def row(self) -> Sequence[str]:
        """Its line in the table of all claims."""
        run = recorded(self.key)
        if run is None:
            return (self.sentence, self.measured, "not recorded yet", "")
        changed = any(one["verdict"] != run["verdict"] for one in run.get("history", []))
        verdict = f"{self.finding(run)}{' (another verdict was recorded before)' if changed else ''}"
        return (run["sentence"], run["measured"], Number.of(run["number"]).words(run["unit"]), verdict)


def numbers(found: Mapping[str, Number]) -> dict[str, dict[str, float]]:
    """As they are recorded."""
    return {name: asdict(number) for name, number in found.items()}
