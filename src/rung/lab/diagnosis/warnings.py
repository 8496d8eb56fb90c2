"""Warnings while a run trains: the rules that need metrics alone, asked of the rows so far.

Every function is pure, so a resumed run needs no state and gives the same warnings. `warnings_in` gives those that
hold now, `new_warnings` those that did not hold one step ago (for the console), `warning_log` each one with the step
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


def warning_log(history: Sequence[Row]) -> list[tuple[int, Finding]]:
    """Every warning of the run as (step, warning), at the step where it came up."""
    log: list[tuple[int, Finding]] = []
    before: set[tuple[str, str]] = set()
    for end, row in enumerate(history, start=1):
        now = warnings_in(history[:end])
        log += [(int(row.get("step") or 0), warning) for warning in now if _key(warning) not in before]
        before = {_key(warning) for warning in now}
    return log


def _key(warning: Finding) -> tuple[str, str]:
    return warning.name, warning.subject
