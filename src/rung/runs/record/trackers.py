"""Trackers, which are sent a run's numbers as well: TensorBoard, Weights & Biases or trackio, by `reporting.tracker`.

None is on by default. Nothing goes over the network unless the user says so in the library's own way
(WANDB_MODE=online). metrics.jsonl stays the record: a tracker is told from it, and a resumed run tells it anew, so a
step is there once. When a tracker fails, the run says so once and goes on without it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rung.errors import MissingExtra
from rung.runs.record.files import Row, Say
from rung.whole_files import write_whole

Told = tuple[int, Mapping[str, float]]
"""A step with its numbers, those of metrics.jsonl and timings.jsonl together."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """What a tracker is opened with."""

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

    def row(self, step: int, numbers: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class TensorBoardTracker:
    """Writes `RUN/tensorboard/`; a resumed run writes it anew from its metrics, so that no step is there twice."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.where = f"TensorBoard: tensorboard --logdir {folder}"
        self._writer = SummaryWriter(str(folder))
        for step, numbers in run.history:
            self._add(step, numbers)
        self._writer.flush()

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        self._add(step, numbers)
        self._writer.flush()

    def _add(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


PROJECT = "rung"


class TrackioTracker:
    """Rows go straight into the local database. `trackio.init` would do the same from a thread, and would ask the
    Hugging Face hub who is logged in; so its storage is used. `trackio sync` sends a project on."""

    def __init__(self, run: TrackedRun) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        self._storage, self._name, self._id = SQLiteStorage, run.name, run.id
        self.where = f"trackio: trackio show --project {PROJECT}"
        SQLiteStorage.delete_run(PROJECT, run.name, run_id=run.id)
        self._config: dict[str, Any] | None = dict(run.settings)
        self._write(run.history)

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        self._write([(step, numbers)])

    def _write(self, told: Sequence[Told]) -> None:
        """The settings go with the first row."""
        if told:
            steps, rows = [step for step, _ in told], [dict(numbers) for _, numbers in told]
            self._storage.bulk_log(PROJECT, self._name, rows, steps=steps, config=self._config, run_id=self._id)
            self._config = None

    def close(self) -> None:
        """There is nothing to do: every row is written at once."""


PATIENCE_S = 30.0
"""How long the service may keep a run waiting at its start and at its end."""


class WandbTracker:
    """Project WANDB_PROJECT or `rung`. Nothing but the numbers and the settings is told: no code, machine or console.

    Offline, a resumed run is written anew from its metrics. Online, the service knows the steps that it has; they are
    not told again: a resumed run makes the same ones.
    """

    def __init__(self, run: TrackedRun) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # the library's own reports about itself
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        if mode != "online":
            for old in (run.folder / "wandb").glob(f"offline-run-*-{run.id}"):
                shutil.rmtree(old)
        patience = dict.fromkeys(("init_timeout", "login_timeout", "finish_timeout"), PATIENCE_S)
        untold = ("disable_git", "disable_code", "x_disable_stats", "x_disable_meta", "x_disable_machine_info")
        off: dict[str, Any] = {**patience, **dict.fromkeys(untold, True), "save_code": False, "symlink": False}
        settings = wandb.Settings(mode=mode, console="off", silent=True, **off)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "rung"),
            name=run.name,
            id=run.id,
            dir=str(run.folder),
            config=dict(run.settings),
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )
        self._next = self._run.step
        url = self._run.url
        self.where = f"W&B: {url}" if url else f"W&B, offline; to send it: wandb sync {run.folder}/wandb/offline-run-*"
        for step, numbers in run.history:
            self.row(step, numbers)

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        if step >= self._next:
            self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: Mapping[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "trackio": TrackioTracker,
}
"""By name, which is also the name of the library and of rung's extra that installs it."""
Rows = Sequence[Row]
ID = "tracker_id"
"""The file in a run's folder that keeps its name with trackers."""


def require_tracker(name: str | None) -> None:
    """Raises MissingExtra, with what to install, when the tracker's package is not here. None needs nothing."""
    if name is not None and importlib.util.find_spec(name) is None:
        raise MissingExtra(f"the tracker '{name}' (reporting.tracker)", name)


class Tracking:
    """Tells a tracker what a run writes; `name` None tells nobody.

    Whatever a tracker raises is said once through `say`; the run goes on without it.
    """

    def __init__(
        self, name: str | None, folder: Path, settings: Mapping[str, Any], *, metrics: Rows, timings: Rows, say: Say
    ) -> None:
        """`metrics` and `timings` are the rows so far."""
        self.name, self.say, self.where = name, say, ""
        self._tracker: Tracker | None = None
        if name is not None:
            self._try(lambda: self._open(name, folder, settings, metrics, timings))

    def _open(self, name: str, folder: Path, settings: Mapping[str, Any], metrics: Rows, timings: Rows) -> None:
        beside = {row.get("step"): row for row in timings}
        history = [_told({**row, **beside.get(row.get("step"), {})}) for row in metrics]
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
