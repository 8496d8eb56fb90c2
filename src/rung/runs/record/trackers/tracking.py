"""A run's tracker. When it fails, the run says so once and goes on without it."""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rung.errors import MissingExtra
from rung.runs.record.json_lines import Row, Say
from rung.runs.record.trackers.tensorboard import TensorBoardTracker
from rung.runs.record.trackers.tracker import Told, TrackedRun, Tracker
from rung.runs.record.trackers.trackio import TrackioTracker
from rung.runs.record.trackers.wandb import WandbTracker
from rung.whole_files import write_whole

TRACKERS: Mapping[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "trackio": TrackioTracker,
}
"""By name, which is also the name of the library and of rung's extra that installs it."""
ID = "tracker_id"
"""The file in a run's folder that keeps its name with trackers."""


def require_tracker(name: str | None) -> None:
    """Raises MissingExtra, with what to install, when the tracker's package is not here. None needs nothing."""
    if name is not None and importlib.util.find_spec(name) is None:
        raise MissingExtra(f"the tracker '{name}' (reporting.tracker)", name)


class Tracking:
    """Tells a tracker what a run writes; `name` None tells nobody.

    Whatever a tracker raises is said once through `say`; the run goes on without it.

    >>> # tracking = Tracking("tensorboard", Path("runs/a"), settings, metrics=[], timings=[], say=console.warn)
    >>> # tracking.row({"step": 1, "reward/mean": 0.5})
    """

    def __init__(
        self,
        name: str | None,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        metrics: Sequence[Row],
        timings: Sequence[Row],
        say: Say,
    ) -> None:
        """`metrics` and `timings` are the rows so far."""
        self.name, self.say = name, say
        self.where = ""
        self._tracker: Tracker | None = None
        if name is not None:
            self._try(lambda: self._open(name, folder, settings, _joined(metrics, timings)))

    def _open(self, name: str, folder: Path, settings: Mapping[str, Any], history: list[Told]) -> None:
        self._tracker = TRACKERS[name](TrackedRun(folder=folder, id=_id(folder), settings=settings, history=history))
        self.where = self._tracker.where

    def row(self, metrics: Row, timings: Row | None = None) -> None:
        """One step's rows, as in metrics.jsonl and timings.jsonl."""
        tracker = self._tracker
        if tracker is not None:
            step, numbers = _told({**metrics, **(timings or {})})
            self._try(lambda: tracker.row(step, numbers))

    def close(self) -> None:
        tracker = self._tracker
        if tracker is not None:
            self._try(tracker.close)
        self._tracker = None

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001  a tracker raises what it likes, and is no reason to end a run
            self._tracker = None
            reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
            self.say(f"the tracker '{self.name}' failed and is left out from here on; the run goes on ({reason})")


def _joined(metrics: Sequence[Row], timings: Sequence[Row]) -> list[Told]:
    beside = {row.get("step"): row for row in timings}
    return [_told({**row, **beside.get(row.get("step"), {})}) for row in metrics]


def _told(row: Row) -> Told:
    numbers = {name: float(value) for name, value in row.items() if value is not None and name != "step"}
    return int(row.get("step") or 0), numbers


def _id(folder: Path) -> str:
    """The run's id, made at its first start; a later run in the same folder gets another."""
    path = folder / ID
    if path.is_file():
        found = path.read_text(encoding="ascii").strip()
        if len(found) == 32 and set(found) <= set("0123456789abcdef"):
            return found
    made = uuid.uuid4().hex
    write_whole(path, made.encode())
    return made
