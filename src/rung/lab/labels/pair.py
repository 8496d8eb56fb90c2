"""What a person is asked, and what the person said.

The two completions of a pair are `first` and `second`, in the order of the file. Which of them stands on the left is
drawn for each person and pair, and kept with each vote; so a vote says both what was preferred and where it stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rung.tasks.task import Prompt

Which = Literal["first", "second"]
Answer = Literal["first", "second", "tie", "unsure"]
"""`unsure` is "can't tell": no judgement at all, where `tie` is the judgement that both are as good."""

ANSWERS: tuple[Answer, ...] = ("first", "second", "tie", "unsure")


def other(which: Which) -> Which:
    """The other one of the two."""
    return "second" if which == "first" else "first"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two completions of one prompt, each a text, a list of messages, or `{"clip": "walk-3.gif"}`.

    Example: `Pair(id="7", prompt="2+2=", completions=("4", "5"))`
    """

    id: str
    prompt: Prompt
    completions: tuple[Any, Any]
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The row's other columns; they go out again with the pair."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One answer of one person, kept for ever."""

    submit: str
    """Made by the page before the first attempt to send, so that a second attempt is known to be one."""
    pair: str
    labeller: str
    answer: Answer
    left: Which
    """Which completion stood on the left."""
    at: float
    """When, in seconds since 1970, UTC."""
    seconds: float | None = None
    """How long the pair was looked at."""
    undone: bool = False

    @property
    def side(self) -> Literal["left", "right"] | None:
        """Where the preferred completion stood, None when none was preferred."""
        if self.answer not in ("first", "second"):
            return None
        return "left" if self.answer == self.left else "right"
