"""A run's folder: the metrics, the timings and the samples, written so that a kill or a full disk loses nothing.

runs/NAME/metrics.jsonl      one row a step; deterministic, synced to the disk at every step
runs/NAME/timings.jsonl      one row a step; whatever depends on the clock
runs/NAME/samples/           step_000001.parquet, ... one part a step, gathered to larger ones while the run goes on
runs/NAME/samples.parquet    all of them, at the end
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rung.batch import Batch, Episode
from rung.errors import DataError, SettingsError
from rung.runs.record import samples
from rung.runs.record.json_lines import JsonLines, Row, Say, cut_rows, read_rows
from rung.whole_files import renamed, write_whole

log = logging.getLogger("rung")

WAITING_LIMIT = 512 * 2**20
"""Bytes of samples that may wait in memory while the disk refuses; beyond it the oldest waiting part is given up."""


class RunFiles:
    """Writes a run's metrics, timings and samples, and cuts them back on resume.

    A write that the disk refuses (full, quota, size limit) stops nothing: it waits in memory, is said once through
    `say`, is tried again at the next step, and stands in `problems()` at the end. Raises `SettingsError` when the
    folder cannot be written at the start.
    """

    def __init__(self, folder: Path, *, say: Say = log.warning) -> None:
        self.folder = Path(folder)
        self.say = say
        self.samples_folder = self.folder / "samples"
        self._waiting: dict[int, bytes] = {}
        self._given_up: list[int] = []
        self._refused = False
        for part in ("metrics.jsonl", "timings.jsonl", "samples", "samples.parquet"):
            if (self.folder / part).is_symlink():
                raise SettingsError(f"{self.folder / part}: is a link; a run writes only into its own folder")
        try:
            self.samples_folder.mkdir(parents=True, exist_ok=True)
            self.metrics = JsonLines(self.folder / "metrics.jsonl", sync=True, say=say)
            self.timings = JsonLines(self.folder / "timings.jsonl", sync=False, say=say)
        except OSError as error:
            problem = f"{self.folder}: cannot write here ({error.strerror or error}); choose another folder with --out"
            raise SettingsError(problem) from error

    def write_metrics(self, row: Mapping[str, Any]) -> Row:
        """Appends a step's metrics and returns the row as it is written; what is not finite is null and named in it."""
        return self.metrics.append(row)

    def write_timings(self, row: Mapping[str, Any]) -> Row:
        """Appends a step's timings; returns the row as it is written."""
        return self.timings.append(row)

    def write_samples(
        self,
        step: int,
        episodes: Sequence[Episode],
        *,
        prompts: Sequence[str | None] | None = None,
        advantages: Sequence[Any] | None = None,
        learnt: Batch | None = None,
    ) -> None:
        """Writes a step's part (see `samples.samples_table`), replacing one of the same step."""
        table = samples.samples_table(step, episodes, prompts=prompts, advantages=advantages, learnt=learnt)
        self._waiting[step] = samples.encode_part(table)
        self._write_waiting()

    def flush(self) -> bool:
        """Tries again what waits in memory; True when all of it is on the disk. To be called before a checkpoint."""
        written = [self.metrics.flush(), self.timings.flush(), self._write_waiting()]
        return all(written)

    def history(self) -> list[Row]:
        """The metrics so far, in order, rows that still wait in memory included."""
        return read_rows(self.metrics.path).rows + [json.loads(line) for line in self.metrics.waiting]

    def cut_back(self, step: int) -> list[str]:
        """For resume: takes away every row and part of a step later than `step`, and whatever was half written.

        What stays keeps its exact bytes; samples.parquet becomes a part of samples/ again.
        Returns sentences that say what was done; rows missing before `step` are named. Raises `DataError` when a line
        in the middle of a file is damaged.
        """
        self.metrics.waiting.clear()
        self.timings.waiting.clear()
        self._waiting.clear()
        said: list[str] = []
        for lines in (self.metrics, self.timings):
            cut = cut_rows(lines.path, step)
            lines.reopen()
            if cut.removed:
                said.append(f"{lines.path.name}: {cut.removed} rows after step {step} removed, {cut.kept} kept")
            missing = sorted(set(range(1, step + 1)) - set(cut.steps))
            if missing:
                said.append(f"{lines.path.name}: no row for {_steps(missing)}; they were never written")
        merged = self.folder / "samples.parquet"
        if merged.is_file():
            try:
                samples.take_back(merged, self.samples_folder)
            except DataError as error:
                renamed(merged, merged.with_name("samples.damaged.parquet"))
                said.append(f"{error}; it is samples.damaged.parquet now, and samples.parquet begins without it")
        removed = samples.cut_parts(self.samples_folder, step)
        if removed:
            said.append(f"samples: parts of {_steps(removed)} removed")
        return said

    def merge_samples(self) -> Path | None:
        """Makes samples.parquet of the parts, which are removed; None when there are none or the disk refuses (and says
        so). A part that cannot be read stays where it is, and is named."""
        target = self.folder / "samples.parquet"
        if not samples.parts(self.samples_folder):
            return target if target.is_file() else None
        damaged = samples.damage(self.samples_folder)
        for sentence in damaged.values():
            self.say(f"{sentence}; it is left out of {target.name}")
        try:
            samples.merge(self.samples_folder, target, without=damaged)
        except OSError as error:
            self.say(f"samples.parquet: cannot be written ({error.strerror or error}); samples/ has all of it in parts")
            return None
        for path in {*samples.parts(self.samples_folder).values()} - damaged.keys():
            path.unlink()
        return target

    def problems(self) -> list[str]:
        """For the run's summary: everything that is not as it should be in these files; empty in an ordinary run."""
        found = self.metrics.problems() + self.timings.problems()
        if self._waiting:
            found.append(f"samples: {_steps(sorted(self._waiting))} could not be written to the disk")
        if self._given_up:
            found.append(f"samples: {_steps(self._given_up)} were given up: too much waited in memory for the disk")
        return found

    def _write_waiting(self) -> bool:
        for step in sorted(self._waiting):
            try:
                write_whole(self.samples_folder / samples.part_name(step), self._waiting[step])
            except OSError as error:
                self._refuse(error)
                return False
            del self._waiting[step]
            with suppress(OSError):  # it only tidies: the next step tries again
                samples.gather(self.samples_folder, step)
        if self._refused:
            self.say("samples: can be written again")
        self._refused = False
        return True

    def _refuse(self, error: OSError) -> None:
        if not self._refused:
            self.say(
                f"samples: cannot be written ({error.strerror or error}); training goes on, they wait in memory and"
                " are tried again at every step. Free some space on the disk."
            )
        self._refused = True
        while len(self._waiting) > 1 and sum(map(len, self._waiting.values())) > WAITING_LIMIT:
            oldest = min(self._waiting)
            del self._waiting[oldest]
            self._given_up.append(oldest)


def _steps(steps: Sequence[int]) -> str:
    """`step 3` or `12 steps from 3 to 40`."""
    return f"step {steps[0]}" if len(steps) == 1 else f"{len(steps)} steps from {steps[0]} to {steps[-1]}"
