"""Observers: whoever looks at a run while it goes on and takes no part in it, such as warnings and the run page.

A run is handed its observers. It knows no page and no diagnosis, so learning cannot depend on how it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rung.settings import Settings

Row = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that has ended and whose model is saved, as an observer finds it."""

    folder: Path
    metrics: Sequence[Row]
    """The rows of metrics.jsonl."""
    timings: Sequence[Row]


class Observer(Protocol):
    """Looks at a run. What it returns are sentences, which the run says to the user as warnings.

    Example: an observer that says when a step's reward is 0.

        class Silence:
            def stepped(self, metrics):
                return ["no reward at all"] if metrics[-1].get("reward/mean") == 0 else []
            def finished(self, run):
                return []
    """

    def stepped(self, metrics: Sequence[Row]) -> Iterable[str]:
        """After each step: the rows so far, the newest last."""
        ...

    def finished(self, run: Finished) -> Iterable[str]:
        """After the last step, when the model is saved."""
        ...


Observers = Sequence[Observer] | Callable[[Settings], Sequence[Observer]]
"""Observers, or which ones a run of these settings has."""


def chosen(observers: Observers, settings: Settings) -> Sequence[Observer]:
    """The observers of a run."""
    return observers(settings) if callable(observers) else observers
