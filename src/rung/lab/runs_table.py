"""Runs as rows of a table: what each is, how far it came, how good it is, and what is wrong with it.

Whole folders of runs are searched. Only what a row needs is read, so that hundreds of runs take seconds; a file that is
damaged is what is wrong with its run, and no error of the table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rung.errors import DataError, SettingsError, did_you_mean
from rung.lab.diagnosis.rules import warnings_in
from rung.lab.diagnosis.stored import in_use
from rung.lab.run_page.summary import set_to, summary
from rung.runs.folder import SETTINGS, is_finished
from rung.runs.metrics import shown
from rung.runs.record.console import duration
from rung.runs.record.files import Row, read_rows
from rung.runs.record.visible import visible

LARGEST = 2**18
"""Characters of settings.yaml that are read."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run."""

    run: str
    method: str
    task: str
    steps: int
    asked: int | None
    """Steps that the run was set to; None: not known."""
    score: float | None
    """The last held-out score."""
    low: float | None
    high: float | None
    state: Literal["finished", "running", "stopped"]
    seconds: float
    """Seconds of its steps, evaluations not counted."""
    wrong: tuple[str, ...]
    """The warnings that hold at its last step, in a word or two, and files that cannot be read."""

    def cells(self) -> tuple[str, ...]:
        """The row in words."""
        steps = f"{self.steps:,}" + (f"/{self.asked:,}" if self.asked and self.asked != self.steps else "")
        score = "" if self.score is None else shown("held_out/score", self.score)
        if self.score is not None and self.low is not None and self.high is not None:
            score += f" ({shown('held_out/score', self.low)} to {shown('held_out/score', self.high)})"
        wrong = "; ".join(self.wrong)
        return (self.run, self.method, self.task, steps, score, self.state, duration(self.seconds), wrong)


HEAD = ("run", "method", "task", "steps", "score", "state", "time", "what is wrong")
_SORTS: Mapping[str, Callable[[RunRow], Any]] = {
    "run": lambda row: row.run,
    "method": lambda row: row.method,
    "task": lambda row: row.task,
    "steps": lambda row: -row.steps,
    "score": lambda row: (row.score is None, -(row.score or 0.0)),
    "state": lambda row: row.state,
    "time": lambda row: -row.seconds,
    "wrong": lambda row: -len(row.wrong),
}
"""Numbers begin with the largest."""


def runs_table(folders: Sequence[Path], sort: str = "run", *, reverse: bool = False) -> list[RunRow]:
    """The runs in these folders. SettingsError where a folder holds none, or for a column that there is not."""
    if sort not in _SORTS:
        near = did_you_mean(sort, _SORTS)
        raise SettingsError(f"--sort: got {sort!r:.80}, expected one of {', '.join(_SORTS)}{near}")
    found: dict[Path, RunRow] = {}
    problems: list[str] = []
    for folder in folders:
        runs = list(runs_in(folder))
        if not runs:
            what = "holds no run, nor does a folder in it" if folder.is_dir() else "is no folder"
            problems.append(f"RUNS: {folder} {what}; expected the folder of a run, or one with runs in it")
        found |= {run.resolve(): _row(run) for run in runs}
    if problems:
        raise SettingsError(problems)
    return sorted(found.values(), key=_SORTS[sort], reverse=reverse)


def lines_of(rows: Sequence[RunRow]) -> Iterator[str]:
    """The table as text, its columns aligned."""
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(HEAD))]
    for row in cells:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def runs_in(folder: Path) -> Iterator[Path]:
    """The runs in a folder, or that folder. Links to folders are not followed, and runs hold no runs."""
    for place, below, files in os.walk(folder):
        if SETTINGS in files or "metrics.jsonl" in files:
            below.clear()
            yield Path(place)
        below.sort()


def _row(folder: Path) -> RunRow:
    wrong: list[str] = []
    settings = _settings(folder / SETTINGS, wrong)
    metrics, timings = (_rows(folder / f"{name}.jsonl", wrong) for name in ("metrics", "timings"))
    finished, asked = is_finished(folder), set_to(settings, "steps")
    told = summary(settings, metrics, timings, None, finished=finished)
    wrong = [*dict.fromkeys(one.name.replace("_", " ") for one in warnings_in(metrics)), *wrong] if metrics else wrong
    return RunRow(
        run=visible(str(folder), limit=120),
        method=told["method"] or "unknown",
        task=told["task"] or "unknown",
        steps=told["step"],
        asked=int(asked) if asked.isdecimal() else None,
        score=told["score"],
        low=told["low"],
        high=told["high"],
        state="finished" if finished else "running" if in_use(folder) else "stopped",
        seconds=told["seconds"],
        wrong=tuple(wrong),
    )


def _settings(path: Path, wrong: list[str]) -> str:
    try:
        with path.open(encoding="utf-8", errors="backslashreplace") as file:
            return file.read(LARGEST)
    except OSError:
        wrong.append(f"{path.name} cannot be read")
        return ""


def _rows(path: Path, wrong: list[str]) -> list[Row]:
    try:
        return read_rows(path).rows
    except (DataError, OSError):
        wrong.append(f"{path.name} cannot be read")
        return []
