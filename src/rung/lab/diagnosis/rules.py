"""The rules: everything that rung looks for in a run, in the order of rules.yaml, which is a reader's.

Those that need metrics alone are also warnings while a run trains. They follow from the rows alone, so a resumed run
gives the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from rung.lab.diagnosis import learning, rewards, samples
from rung.lab.diagnosis.observed import Finding, ObservedRun, Row, Seen
from rung.lab.diagnosis.stored import read_stored


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong with a run: the function that looks for it, whose name it has, and what is said."""

    look: Callable[[ObservedRun], Seen | None]
    said: Mapping[str, Any]
    """Its entry of rules.yaml."""

    @property
    def name(self) -> str:
        return self.look.__name__

    @property
    def needs(self) -> Literal["metrics", "folder"]:
        """`metrics`: told from the rows so far, so that it is also a warning while the run trains."""
        return self.said.get("needs", "metrics")

    def finding(self, run: ObservedRun) -> Finding | None:
        """What is wrong, in the words for this run; None: nothing."""
        seen = self.look(run)
        if seen is None:
            return None
        said = dict(self.said)
        said |= said.get("in an environment", {}) if run.in_environment else {}
        said |= said.get("learned", {}) if run.learned else {}
        said |= said["cases"][seen.case] if seen.case else {}
        words = {**vars(run.words), **seen.words}
        return Finding(
            name=self.name,
            subject=seen.subject,
            severity=seen.severity or said["severity"],
            evidence=seen.evidence,
            **{part: said[part].format(**words) for part in ("says", "cause", "change")},
            **(_remedy(run, said.get("set", {})) if seen.remedy is None else seen.remedy),
        )


_CHANGES: Mapping[str, Callable[[Any, int], Any]] = {
    "x": lambda now, by: now * by,
    "/": lambda now, by: float(f"{now / by:.2g}"),
    "//": lambda now, by: max(1, now // by),
}


def _remedy(run: ObservedRun, tries: Mapping[str, Any] | str) -> dict[str, Any]:
    """A finding's `setting`, `value` and `now`, by the `set` of a rule."""
    if isinstance(tries, str):
        return {"setting": tries}
    for key, value in tries.items():
        now, (sign, _, by) = run.setting(key), str(value).partition(" ")
        if sign not in _CHANGES:
            return {"setting": key, "now": now, "value": None if value == "?" else value}
        if now is not None:
            return {"setting": key, "now": now, "value": _CHANGES[sign](now, int(by))}
    return {}


_SAID = yaml.safe_load(files("rung.lab.diagnosis").joinpath("rules.yaml").read_text(encoding="utf-8"))
_LOOKS: Mapping[str, Callable[[ObservedRun], Seen | None]] = {**vars(rewards), **vars(samples), **vars(learning)}
RULES = tuple(Rule(_LOOKS[name], said) for name, said in _SAID.items())

_ORDER = ("serious", "doubtful", "note")


def found_in(run: ObservedRun) -> list[Finding]:
    """What the rules find; of a run that trains, only those that need metrics alone are asked."""
    asked = [rule for rule in RULES if not run.live or rule.needs == "metrics"]
    return [found for rule in asked if (found := rule.finding(run)) is not None]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A run's state in words."""

    run: str
    summary: str
    findings: tuple[Finding, ...]
    """The serious ones first."""

    @property
    def healthy(self) -> bool:
        """Nothing worse than a note."""
        return all(one.severity == "note" for one in self.findings)

    def lines(self) -> list[str]:
        """What `rung diagnose` prints."""
        found = [line for one in self.findings for line in ("", *one.lines())]
        return [f"{self.run}: {self.summary}", self._verdict(), *found]

    def _verdict(self) -> str:
        if self.healthy and any(one.name == "too_short" for one in self.findings):
            return "nothing wrong was seen, but the run is too short to say more"
        if self.healthy:
            notes = ", see the notes" if self.findings else ""
            return f"healthy: {len(RULES)} rules were checked and none found a fault{notes}"
        counts = {kind: sum(one.severity == kind for one in self.findings) for kind in _ORDER}
        return "found: " + ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)

    def as_data(self) -> dict[str, Any]:
        """What `rung diagnose --json` prints."""
        findings = [dict(vars(one)) for one in self.findings]
        return {"run": self.run, "summary": self.summary, "healthy": self.healthy, "findings": findings}


def diagnose(run: ObservedRun | Path) -> Diagnosis:
    """What is wrong with a run. Raises `DataError` when a folder holds nothing to read."""
    if isinstance(run, Path):
        run = read_stored(run)
    found = sorted(found_in(run), key=lambda one: _ORDER.index(one.severity))
    return Diagnosis(run=run.name, summary=_summary(run), findings=tuple(found))


def _summary(run: ObservedRun) -> str:
    """How far it came, and its held-out score."""
    said = [f"{len(run.steps)} steps" if run.steps else "no step of training yet"]
    if len(run.scores) > 1:
        said.append(f"held-out score {run.scores[0].value:.4g} at first, {run.scores[-1].value:.4g} at last")
        if run.gain is not None:
            said.append(f"paired difference {run.gain.value:+.3g} ({run.gain.low:+.3g} to {run.gain.high:+.3g})")
    elif run.scores:
        said.append(f"held-out score {run.scores[0].value:.4g} at step {run.scores[0].step}")
    return "; ".join(said)


def warnings_in(history: Sequence[Row]) -> list[Finding]:
    """The warnings that hold after the last row of `history` (rows of metrics.jsonl, in order).

    >>> [warning.name for warning in warnings_in([{"step": 1, "sampler_gap/mean": 0.2}])]
    ['sampler_gap']
    """
    return found_in(ObservedRun(rows=history, live=True))


def new_warnings(history: Sequence[Row]) -> list[Finding]:
    """The warnings that hold now and did not hold one row ago: each is given once until it clears."""
    before = {_key(warning) for warning in warnings_in(history[:-1])}
    return [warning for warning in warnings_in(history) if _key(warning) not in before]


class WarningLog:
    """Every warning of a run as (step, warning), at the step where it came up; each row of the run is asked once."""

    def __init__(self) -> None:
        self._begin(0)

    def _begin(self, epoch: int) -> None:
        self._epoch, self._seen = epoch, 0
        self._log: list[tuple[int, Finding]] = []
        self._held: set[tuple[str, str]] = set()

    def after(self, rows: Sequence[Row], *, epoch: int = 0) -> list[tuple[int, Finding]]:
        """The log after the last of these rows; a new epoch begins anew."""
        if epoch != self._epoch:
            self._begin(epoch)
        for end in range(self._seen + 1, len(rows) + 1):
            now = warnings_in(rows[:end])
            self._log += [(int(rows[end - 1].get("step") or 0), one) for one in now if _key(one) not in self._held]
            self._held = {_key(warning) for warning in now}
        self._seen = len(rows)
        return self._log


def _key(warning: Finding) -> tuple[str, str]:
    return warning.name, warning.subject
