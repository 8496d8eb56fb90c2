"""What comes of reading settings: the settings or every problem, and where each value was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rung.errors import SettingsError
from rung.settings.given import NOWHERE, Given
from rung.settings.schema import Section

S = TypeVar("S", bound=Section)


@dataclass(frozen=True, kw_only=True)
class Reading(Generic[S]):
    """What the layers say, where each value is from, and everything that is wrong with it."""

    settings: S | None
    """None when there are problems."""
    problems: tuple[str, ...]
    """One line each, beginning with the place: `run.yaml:3: steps: got 'ten', expected a whole number`."""
    tree: Given
    """Every value that somebody wrote, with its place."""
    notes: tuple[str, ...] = ()
    """What was read otherwise than it was written: a short key, a value that another one replaced."""
    recipe: str | None = None
    """The recipe in use."""

    def required(self, more: Sequence[str] = ()) -> S:
        """The settings; SettingsError with all problems, and with `more`, when there are any."""
        if self.settings is None or more:
            raise SettingsError([*self.problems, *more])
        return self.settings


def placed(problem: str, tree: Given) -> str:
    """A sentence that begins with a setting's path, after the place where that setting was written.

    >>> from rung.settings.given import Origin
    >>> placed("steps: got 'ten'", Given({"steps": Given("ten", Origin("run.yaml", 3))}))
    "run.yaml:3: steps: got 'ten'"
    """
    path, colon, rest = problem.partition(": ")
    origin = tree.origin_of(path.split(" ")[0], missing=rest.startswith("missing"))
    if origin is None or origin == NOWHERE:
        return problem
    if origin.names(path):
        return f"{origin.place}{colon}{rest}"
    return f"{origin.place}: {problem}"
