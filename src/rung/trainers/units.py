"""The units of a step: what one step of a run draws and learns, counted and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Units:
    """One step.

    Example: 8 prompts x 8 samples are `episodes=64`, of at most `new_tokens=1024` together.
    """

    episodes: int
    """Completions that the model draws; 0 for a method that learns from stored ones."""
    new_tokens: int
    """At most, of all of them."""
    items: int
    """Of the task's items, how many it takes: prompts, or pairs."""
    lines: tuple[str, ...]
    """The step in words."""
    data: Mapping[str, int]
    """The step for `rung check --json`."""


def count(number: int, word: str) -> str:
    """`1 step`, `2,000 steps`."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
