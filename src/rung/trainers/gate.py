"""The gate: what a run goes through before its first step, so that nothing is found late that can be known now.

`choose.build` passes every trainer through it, fine-tuning goes through it too, and `rung check` is this gate without
the run. A check is a function of a `Start`: it gives sentences for the plan and raises what must not begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rung.errors import DataError, RewardError, SettingsError


@dataclass(frozen=True, kw_only=True)
class Start:
    """A run that is built and has not begun."""

    policy: Any
    """What is trained."""
    task: Any
    settings: Any
    """Of the run, or of a fine-tuning."""
    judges: Callable[[], object] | None = None
    """Draws a few answers and has them judged. None: nothing is judged, or it is before the first step anyway."""


def model(start: Start) -> Iterable[str]:
    """What is trained can be run, written and read again."""
    tried = getattr(start.policy, "tried", None)
    return () if tried is None else tried()


def rewards(start: Start) -> Iterable[str]:
    """Rewards answer on a sample: at least one of a few answers can be judged."""
    if start.judges is not None:
        try:
            start.judges()
        except RewardError as error:
            raise SettingsError(f"rewards: tried on two answers before the first step: {error}") from error
    return ()


Check = Callable[[Start], Iterable[str]]
CHECKS: tuple[Check, ...] = (model, rewards)
"""In the order in which their sentences stand in the plan."""


def gate(start: Start) -> tuple[str, ...]:
    """Sentences for the plan. SettingsError with the problems of all checks together."""
    sentences: list[str] = []
    problems: list[str] = []
    for check in CHECKS:
        try:
            sentences += check(start)
        except (SettingsError, DataError) as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return tuple(sentences)
