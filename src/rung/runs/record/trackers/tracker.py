"""What a tracker is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Told = tuple[int, Mapping[str, float]]
"""A step with its numbers, those of metrics.jsonl and timings.jsonl together."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker is opened with.

    Example: `TrackedRun(folder=Path("runs/a"), id="0f3a...", settings={"steps": 100, ...}, history=[])`.
    """

    folder: Path
    id: str
    """The same each time that the run is resumed, and of no other run."""
    settings: Mapping[str, Any]
    history: Sequence[Told]
    """The steps so far. What a tracker holds of the run beyond them was taken back and will be made again."""

    @property
    def name(self) -> str:
        return self.folder.resolve().name


class Tracker(Protocol):
    """Opened as `Tracker(run)`, which tells it the history."""

    where: str
    """How to see it, in one sentence."""

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        """One step's numbers."""
        ...

    def close(self) -> None:
        """Writes what waits."""
        ...
