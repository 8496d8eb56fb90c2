"""Comparisons and votes: what a person is asked, and what the person said.

The two completions of a comparison are `first` and `second`, in the order of the file. Which of them stands on the
left is drawn for each person and comparison, and kept with each vote. So a vote says what was preferred and where it
stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rung.tasks.task import Prompt

Which = Literal["first", "second"]
Answer = Literal["first", "second", "tie", "unsure"]
"""`unsure` is "can't tell": no judgement at all, where `tie` is the judgement that both are as good."""

LONGEST_NAME = 80
"""Characters of a person's name."""
ANSWERS: tuple[Answer, ...] = ("first", "second", "tie", "unsure")


def other(which: Which) -> Which:
    """The other one of the two."""
    return "second" if which == "first" else "first"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two completions of one prompt, each a text, a list of messages, or `{"clip": "walk-3.gif"}`.

    Example: `Comparison(id="7", prompt="2+2=", completions=("4", "5"))`
    """

    id: str
    prompt: Prompt
    completions: tuple[Any, Any]
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The row's other columns; an export writes them again."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One answer of one person. Votes are never deleted."""

    submit: str
    """An id that the page makes before it first sends the vote, so that a vote sent twice counts once."""
    pair: str
    """The comparison's id."""
    labeller: str
    answer: Answer
    left: Which
    """Which completion stood on the left."""
    at: float
    """When, in seconds since 1970, UTC."""
    seconds: float | None = None
    """How long the person looked."""
    undone: bool = False

    @property
    def side(self) -> Literal["left", "right"] | None:
        """Where the preferred completion stood, None when none was preferred."""
        if self.answer not in ("first", "second"):
            return None
        return "left" if self.answer == self.left else "right"
