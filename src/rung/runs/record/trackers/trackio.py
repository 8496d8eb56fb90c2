"""trackio: its local database, where `trackio show` looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rung.runs.record.trackers.tracker import Told, TrackedRun

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
