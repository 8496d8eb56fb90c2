"""One run's folder, open for looking at. It reads, it never writes, and it keeps what it has read of growing files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError
from rung.lab.diagnosis.rules import WarningLog
from rung.lab.run_page.growing_rows import GrowingRows, Solved
from rung.lab.run_page.overview import overview
from rung.lab.run_page.step_shown import STEP_COLUMNS, TOKEN_COLUMNS, shown_step, shown_tokens
from rung.lab.run_page.stored_samples import StoredSamples
from rung.runs.record.visible import shown_text, visible

MOST_TEXT = 200_000
"""Characters of settings.yaml and method.json that are shown."""

FIRST_ROWS = 2**16
"""Bytes of metrics.jsonl in which the first rows of training lie."""


class OpenedRun:
    """A run's metrics, timings, samples and settings as JSON values.

    Raises: SettingsError, when the folder holds no run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise SettingsError([f"RUN: there is no folder {folder}; expected the folder of a run, such as runs/NAME"])
        if not any((folder / name).is_file() for name in ("metrics.jsonl", "settings.yaml")):
            raise SettingsError(
                [f"RUN: {folder} holds no run: neither settings.yaml nor metrics.jsonl is in it{_runs_below(folder)}"]
            )
        self.stored = StoredSamples(folder)
        self._files = {name: GrowingRows(folder / f"{name}.jsonl") for name in ("metrics", "timings")}
        self._growing = {**self._files, "solved": Solved(self.stored)}
        self._warnings = WarningLog()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The folder's own name, as text that can be seen."""
        return visible(self.folder.resolve().name, limit=80)

    def grown(self, what: str, epoch: int, begin: int) -> dict[str, Any]:
        """What `metrics`, `timings` or `solved` have since; see `Follow.since`."""
        with self._lock:
            return self._growing[what].since(epoch, begin)

    def rows(self, what: str) -> list[dict[str, Any]]:
        """All rows of `metrics` or `timings` as far as they can be read."""
        with self._lock:
            return self._files[what].all_rows()

    def problem(self, what: str) -> str:
        """What is wrong with the file of `metrics` or `timings` when nobody writes it any more; empty: nothing."""
        with self._lock:
            return self._files[what].problem or self._files[what].half_line()

    def overview(self) -> dict[str, Any]:
        """The run at a glance; see `overview`."""
        with self._lock:
            metrics, timings = (self._files[what].all_rows() for what in ("metrics", "timings"))
            warnings = self._warnings.after(metrics, epoch=self._files["metrics"].epoch)
        return overview(self.folder, metrics, timings, warnings)

    def in_environment(self) -> bool:
        """Whether the run acts in an environment, as far as its first rows tell."""
        try:
            with (self.folder / "metrics.jsonl").open("rb") as file:
                return b'"environment/steps"' in file.read(FIRST_ROWS)
        except OSError:
            return False

    def state(self) -> dict[str, Any]:
        """Whether it is finished, which steps have samples, and what it was set to."""
        problem, steps = "", []
        try:
            steps = self.stored.steps()
        except DataError as error:
            problem = visible(str(error), limit=300)
        return {
            "finished": (self.folder / "final").is_dir(),
            "steps": steps,
            "settings": self._text("settings.yaml"),
            "method": self._text("method.json"),
            "problem": problem,
        }

    def step(self, step: int) -> dict[str, Any]:
        """The samples of a step. Raises DataError when they cannot be read, LookupError when there are none."""
        self._known(step)
        return {"step": step, **shown_step(self.stored.read(step, STEP_COLUMNS))}

    def tokens(self, step: int, row: int) -> dict[str, Any]:
        """The tokens of a step's sample. Raises as `step` does."""
        self._known(step)
        rows = self.stored.read(step, TOKEN_COLUMNS)
        if row >= len(rows):
            raise LookupError(f"step {step} has {len(rows)} samples, not one with the number {row}")
        return shown_tokens(rows[row])

    def _known(self, step: int) -> None:
        if step not in self.stored.steps():
            raise LookupError(f"there are no samples of step {step} in this run")

    def _text(self, name: str) -> str:
        try:
            with (self.folder / name).open(encoding="utf-8", errors="backslashreplace") as file:
                return shown_text(file.read(MOST_TEXT))
        except OSError:
            return ""


def _runs_below(folder: Path) -> str:
    """A hint where the runs lie one folder deeper."""
    try:
        below = sorted(path for path in folder.iterdir() if (path / "settings.yaml").is_file())
    except OSError:
        return ""
    return f"; {below[0]} holds one" if below else ""
