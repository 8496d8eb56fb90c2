"""A run's folder: the metrics, the timings and the samples, written so that a kill or a full disk loses nothing.

runs/NAME/metrics.jsonl      one row a step; deterministic, synced to the disk at every step
runs/NAME/timings.jsonl      one row a step; whatever depends on the clock
runs/NAME/samples/           step_000001.parquet, ... one part a step, gathered to larger ones while the run goes on
runs/NAME/samples.parquet    all of them, at the end

A line of JSON is deterministic: keys sorted, floats by their shortest exact form, no clock. A value that is not finite
is written as null and named beside it: `{"grad/norm": null, "nonfinite/grad/norm": 1, ...}`."""

from __future__ import annotations

import json
import logging
import math
import numbers
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import DataError, SettingsError
from rung.runs.record import sample_rows, samples
from rung.whole_files import renamed, sync, write_whole

if TYPE_CHECKING:
    from rung.batch import Batch, Episode

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

    def write_samples(
        self,
        step: int,
        episodes: Sequence[Episode],
        *,
        prompts: Sequence[str | None] | None = None,
        advantages: Sequence[Any] | None = None,
        learnt: Batch | None = None,
    ) -> None:
        """Writes a step's part (see `sample_rows.samples_table`), replacing one of the same step."""
        table = sample_rows.samples_table(step, episodes, prompts=prompts, advantages=advantages, learnt=learnt)
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
            kept, removed = cut_rows(lines.path, step)
            lines.reopen()
            if removed:
                said.append(f"{lines.path.name}: {removed} rows after step {step} removed, {len(kept)} kept")
            missing = sorted(set(range(1, step + 1)) - set(kept))
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


Row = dict[str, float | None]
Say = Callable[[str], None]

log = logging.getLogger("rung")


def plain_row(row: Mapping[str, Any]) -> Row:
    """The row as it is written: plain numbers, and null with a name beside it for what is not finite.

    >>> plain_row({"step": 1, "loss": float("nan")})
    {'step': 1, 'loss': None, 'nonfinite/loss': 1}
    """
    assert isinstance(row.get("step"), numbers.Integral), ("a row needs a whole step", row.get("step"))
    plain: dict[str, float | None] = {}
    for name, value in row.items():
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        assert isinstance(name, str) and (value is None or real), (name, type(value))
        if value is None or not math.isfinite(value):
            plain |= {name: None} if value is None else {name: None, f"nonfinite/{name}": 1}
        else:
            plain[name] = int(value) if isinstance(value, numbers.Integral) else float(value)
    return plain


def encode_row(row: Row) -> bytes:
    """The line for a plain row.

    >>> encode_row({"step": 1, "loss": 0.1})
    b'{"loss": 0.1, "step": 1}\\n'
    """
    return json.dumps(row, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"


@dataclass(frozen=True)
class Rows:
    """What a file of lines holds, and what had to be left out (a half-written last line), in words."""

    rows: list[Row]
    problems: list[str]


def read_rows(path: Path) -> Rows:
    """The rows of a metrics or timings file; a missing file has none.

    A last line without its newline was cut off in mid-write: it is left out and `problems` says so. Any other line
    that is not an object of numbers raises `DataError` with file and line.
    """
    if not path.exists():
        return Rows([], [])
    lines, half = _lines(path)
    rows = [parse_row(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]
    problems = [f"{path.name}: the last line was only half written ({len(half)} bytes) and is left out"] if half else []
    return Rows(rows, problems)


def cut_rows(path: Path, step: int) -> tuple[list[int], int]:
    """Takes away every row of a later step than `step`, and a half-written last line; kept bytes stay as they are.

    Returns the steps of the rows that stay, and how many were taken away (a half-written line counts as one). A kill
    leaves the old file or the new one. Raises `DataError` as `read_rows` does.
    """
    lines, half = _lines(path) if path.exists() else ([], b"")
    kept: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines, start=1):
        row_step = parse_row(line, f"{path}:{number}").get("step")
        if not isinstance(row_step, int):
            raise DataError(f"{path}:{number}: got step {row_step!r}, expected a whole number")
        if row_step <= step:
            kept.append((row_step, line))
    removed = len(lines) - len(kept) + bool(half)
    if removed:
        write_whole(path, b"".join(line for _, line in kept))
    return [of for of, _ in kept], removed


class JsonLines:
    """Appends rows to one file. A row that cannot be written waits in memory and is tried again at the next write.

    The file never holds a partial line: what a failed write left behind is cut off, at once or before the next
    write. Raises OSError only when the file cannot be opened at the start.
    """

    def __init__(self, path: Path, *, sync: bool, say: Say = log.warning) -> None:
        self.path, self.sync, self.say = path, sync, say
        self.waiting: list[bytes] = []
        self.not_finite = Counter[str]()
        """How many rows held a value that was not finite, by metric."""
        self.failures = 0
        """How many writes failed since the start; 0 in an ordinary run."""
        self._refused = False
        self._size = 0
        self.reopen()

    def reopen(self) -> None:
        """Looks at the file again, after another hand (`cut_rows`) changed it; cuts a half-written last line."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        os.close(handle)
        _, half = _lines(self.path)
        self._size = self.path.stat().st_size - len(half)
        if half:
            os.truncate(self.path, self._size)
            self.say(f"{self.path.name}: the last line was only half written ({len(half)} bytes) and was removed")

    def append(self, row: Mapping[str, Any]) -> Row:
        """Writes one row, or keeps it waiting when the disk refuses (said once); returns the row as it is written."""
        plain = plain_row(row)
        self.not_finite.update(name.removeprefix("nonfinite/") for name in plain if name.startswith("nonfinite/"))
        self.waiting.append(encode_row(plain))
        self.flush()
        return plain

    def flush(self) -> bool:
        """Tries to write what waits; True when nothing waits any more."""
        if not self.waiting:
            return True
        try:
            self._append_bytes(b"".join(self.waiting))
        except OSError as error:
            if not self._refused:
                self.say(
                    f"{self.path.name}: cannot be written ({error.strerror or error}); training goes on, rows wait in"
                    " memory and are tried again at every step. Free some space on the disk."
                )
            self._refused = True
            self.failures += 1
            return False
        if self._refused:
            self.say(f"{self.path.name}: can be written again; no row is missing")
        self._refused = False
        self.waiting.clear()
        return True

    def problems(self) -> list[str]:
        """For the run's summary: what was not finite, what is still not on the disk."""
        found = [
            f"{name} was not finite in {count} step{'s' * (count != 1)} and is null there in {self.path.name}"
            for name, count in sorted(self.not_finite.items())
        ]
        if self.waiting:
            found.append(f"{self.path.name}: the last {len(self.waiting)} rows could not be written to the disk")
        elif self.failures:
            found.append(f"{self.path.name}: {self.failures} writes failed; every row was written later")
        return found

    def _append_bytes(self, data: bytes) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            end = min(os.fstat(handle).st_size, self._size)
            os.ftruncate(handle, end)
            os.lseek(handle, end, os.SEEK_SET)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(handle, rest) :]
                if self.sync:
                    sync(handle)
            except OSError:
                os.ftruncate(handle, end)
                raise
            self._size = end + len(data)
        finally:
            os.close(handle)


def _lines(path: Path) -> tuple[list[bytes], bytes]:
    """The complete lines, newline included, and what follows the last newline."""
    *lines, half = path.read_bytes().split(b"\n")
    return [line + b"\n" for line in lines], half


def parse_row(line: bytes, where: str) -> Row:
    """The row that a line holds; DataError, naming `where`, when it is no object of finite numbers."""
    try:
        value = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not a line of metrics: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: got {type(value).__name__}, expected an object of numbers")
    for name, number in value.items():
        numeric = isinstance(number, int | float) and not isinstance(number, bool)
        if number is not None and not (numeric and abs(number) < math.inf):
            raise DataError(f"{where}: '{name}': got {str(number)[:40]!r}, expected a finite number or null")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number in JSON")
