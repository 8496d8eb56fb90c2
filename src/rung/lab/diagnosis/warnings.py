"""Warnings while a run trains: the rules that need metrics alone, asked of the rows so far.

They follow from the rows alone, so a resumed run gives the same warnings. `warnings_in` gives those that
hold now, `new_warnings` those that did not hold one step ago (for the console), `WarningLog` each one with the step
at which it came up (for the run's page).
"""

from __future__ import annotations

from collections.abc import Sequence

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.observed import ObservedRun, Row
from rung.lab.diagnosis.rules import found_in


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
    """Every warning of a run as (step, warning), at the step where it came up; each row of a growing run is asked once.

    Example: `WarningLog().after(metrics)` is `[(12, Finding(...)), ...]`.
    """

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
