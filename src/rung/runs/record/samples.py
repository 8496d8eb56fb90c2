"""The completions of every step, with their rewards, as Parquet.

One part a step, `samples/step_000012.parquet`, written whole or not at all. As a run goes on, `gather` makes one file
of 64 parts, `samples/steps_000001_000064.parquet`, and one of 64 such files; at its end `merge` makes `samples.parquet`
of all, which then is the only one. The bytes depend on the samples alone (and on pyarrow's version), so a resumed run
ends with the same file.

The columns are those of `rung.runs.record.sample_rows`. Parts written before a column was there are read, and merged,
with nulls in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rung.errors import DataError
from rung.runs.record.sample_rows import EARLIER, ONE_TURN, SCHEMA
from rung.whole_files import SUFFIX, renamed, written_aside

ROWS_A_GROUP = 1024
"""Merged parts are gathered to row groups of about this many rows: few enough that one step reads fast, and all do."""
SPANS = (64, 4096)
"""Steps in a gathered file, and in one of gathered files."""

_PART = re.compile(r"step_(\d{6,9})\.parquet")
_GATHERED = re.compile(r"steps_(\d{6,9})_(\d{6,9})\.parquet")


def part_name(step: int) -> str:
    """`step_000012.parquet`."""
    return f"step_{step:06d}.parquet"


def encode_part(table: pa.Table) -> bytes:
    """The part's file; the same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=3)
    return sink.getvalue().to_pybytes()


def parts(folder: Path) -> dict[int, Path]:
    """The file of a run's samples folder that holds each step's rows, by step, in order; other files are no parts.

    Of a gathered file that cannot be read all steps are listed that its name tells: reading one says what is wrong.
    """
    found = {int(match[1]): path for path, match in _named(folder, _PART)}
    for path, match in _named(folder, _GATHERED):
        try:
            steps = merged_steps(path)
        except DataError:
            steps = range(int(match[1]), int(match[2]) + 1)
        found |= dict.fromkeys(steps, path)
    return dict(sorted(found.items()))


def file_of(folder: Path, step: int) -> Path | None:
    """The file in a run's samples folder that should hold a step's rows; None when there is none."""
    own = folder / part_name(step)
    if own.is_file() and not own.is_symlink():
        return own
    spans = ((path, int(match[1]), int(match[2])) for path, match in _named(folder, _GATHERED))
    return next((path for path, first, last in spans if first <= step <= last), None)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[tuple[Path, re.Match[str]]]:
    """The files of a folder whose names are of a pattern, in order; links are none."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [(path, match) for path in paths if (match := pattern.fullmatch(path.name)) and not path.is_symlink()]


def read_part(path: Path, columns: Sequence[str] | None = None, *, step: int | None = None) -> list[dict[str, Any]]:
    """The rows of a part, of a gathered file or of samples.parquet, or those of one step; `reward_parts` is a dict.

    Raises `DataError` when the file is unreadable.
    """
    wanted = None if columns is None else list(dict.fromkeys(["step", *columns]))
    with _opened(path) as file:
        groups = [number for number in range(file.num_row_groups) if step is None or step in _range_of(file, number)]
        rows = _read(file, path, groups, wanted).to_pylist()
    for row in rows:
        if row.get("reward_parts") is not None:
            row["reward_parts"] = dict(row["reward_parts"])
    return rows if step is None else [row for row in rows if row["step"] == step]


def merged_steps(path: Path) -> list[int]:
    """The steps that a gathered file or samples.parquet holds, in order. Raises `DataError` when it is unreadable."""
    now = path.stat()
    return _steps_in(path, (now.st_ino, now.st_mtime_ns, now.st_size))


@lru_cache(maxsize=512)
def _steps_in(path: Path, seal: object) -> list[int]:
    with _opened(path) as file:
        column = _read(file, path, range(file.num_row_groups), ["step"]).column("step")
    return sorted({int(step) for step in column.unique().to_pylist() if step is not None})


class StoredSamples:
    """The samples in a run's folder: the parts in samples/ while it goes on, or samples.parquet alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.merged = folder / "samples", folder / "samples.parquet"

    def steps(self) -> list[int]:
        """The steps with samples, in order. Raises DataError when only the merged file is there and cannot be read."""
        merged = self.merged.is_file() and not self.merged.is_symlink()
        return list(parts(self.folder)) or (merged_steps(self.merged) if merged else [])

    def seal(self, step: int) -> object:
        """Changes whenever the step's rows are written anew; 0 once they lie in a file with others."""
        try:
            now = (self.folder / part_name(step)).stat()
        except FileNotFoundError:
            return 0
        return now.st_ino, now.st_mtime_ns, now.st_size

    def read(self, step: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The step's rows, a missing column as null. Raises DataError when they cannot be read."""
        rows = read_part(file_of(self.folder, step) or self.merged, columns, step=step)
        return [{name: row.get(name) for name in (columns or SCHEMA.names)} for row in rows]


def cut_parts(folder: Path, step: int) -> list[int]:
    """Removes the rows of later steps, what lies in two files, and what was half written; returns the later steps."""
    found = parts(folder)
    later = [one for one in found if one > step]
    for path, match in _named(folder, _GATHERED):
        if int(match[2]) > step and any(found.get(one) == path for one in later):
            kept = [one for one in found if one <= step and found[one] == path]
            if kept:
                _write_gathered(folder, [path], kept[0], step)
            path.unlink()
    for path, match in _named(folder, _PART):
        if int(match[1]) > step or found.get(int(match[1])) != path:
            path.unlink()
    for left in folder.glob(f"*{SUFFIX}"):
        left.unlink()
    return later


def take_back(merged: Path, folder: Path) -> None:
    """Makes a run's samples.parquet one of its gathered files, so that the run can go on. Raises `DataError`."""
    steps = merged_steps(merged)
    if steps:
        renamed(merged, folder / f"steps_{steps[0]:06d}_{steps[-1]:06d}.parquet")
    else:
        merged.unlink()


def gather(folder: Path, step: int) -> None:
    """Makes one file of many parts, for every span of steps that ended before `step`. What is damaged stays."""
    for span in SPANS:
        blocks: dict[int, list[Path]] = {}
        for path, match in [*_named(folder, _PART), *_named(folder, _GATHERED)]:
            first, last = int(match[1]), int(match[match.lastindex or 1])
            if last - first + 1 < span and last <= (step - 1) // span * span:
                blocks.setdefault((last - 1) // span, []).append(path)
        damaged = damage(folder) if blocks else {}
        for block, paths in blocks.items():
            good = [path for path in paths if path not in damaged]
            if len(good) > 1:
                _write_gathered(folder, good, block * span + 1, block * span + span)
                for path in good:
                    path.unlink()


def _write_gathered(folder: Path, paths: Sequence[Path], first: int, last: int) -> None:
    """One file of these files' steps up to `last`, a row group a step."""
    target = folder / f"steps_{first:06d}_{last:06d}.parquet"
    tables = {step: table for path in paths for step, table in _tables(path) if step <= last}
    with written_aside(target) as aside, pq.ParquetWriter(aside, _schema_of(paths), compression="zstd") as writer:
        for step in sorted(tables):
            writer.write_table(tables[step].select(writer.schema.names), row_group_size=len(tables[step]))


def merge(folder: Path, target: Path, *, without: Collection[Path] = ()) -> int:
    """Writes `target` from all parts but those, some in memory at a time; returns the number of rows.

    The same samples give the same bytes, in however many files they lie. Raises `DataError` naming a part that cannot
    be read, OSError when the disk refuses; `target` is then as it was.
    """
    count = 0
    paths = [path for path in dict.fromkeys(parts(folder).values()) if path not in without]
    with written_aside(target) as aside, pq.ParquetWriter(aside, _schema_of(paths), compression="zstd") as writer:
        for table in _row_groups(paths):
            writer.write_table(table.select(writer.schema.names), row_group_size=len(table))
            count += len(table)
    return count


def damage(folder: Path) -> dict[Path, str]:
    """What is wrong with a samples folder's files, by file."""
    found: dict[Path, str] = {}
    for path in dict.fromkeys(parts(folder).values()):
        try:
            merged_steps(path)
        except DataError as error:
            found[path] = str(error)
    return found


def _schema_of(paths: Sequence[Path]) -> pa.Schema:
    for path in paths:
        with _opened(path) as file:
            if "turns" in file.schema_arrow.names:
                return SCHEMA
    return ONE_TURN


def _row_groups(paths: Sequence[Path]) -> Iterator[pa.Table]:
    gathered: list[pa.Table] = []
    for path in paths:
        for _, table in _tables(path):
            gathered.append(table)
            if sum(map(len, gathered)) >= ROWS_A_GROUP:
                yield pa.concat_tables(gathered).combine_chunks()
                gathered = []
    if gathered:
        yield pa.concat_tables(gathered).combine_chunks()


def _tables(path: Path) -> Iterator[tuple[int, pa.Table]]:
    """Each step's rows, columns that an earlier rung did not write as null."""
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            group = _read(file, path, [number])
            for field in SCHEMA:
                if field.name not in group.column_names:
                    group = group.append_column(field, pa.nulls(len(group), field.type))
            group = group.select(SCHEMA.names)
            steps_N = group.column("step").to_numpy()
            begins = np.flatnonzero(np.diff(steps_N, prepend=steps_N[:1] - 1))
            for begin, end in zip(begins, [*begins[1:], len(steps_N)], strict=True):
                yield int(steps_N[begin]), group.slice(int(begin), int(end - begin))


def _range_of(file: pq.ParquetFile, group: int) -> range:
    """The steps from the first to the last of a row group."""
    told = file.metadata.row_group(group).column(0).statistics
    return range(told.min, told.max + 1) if told is not None and told.has_min_max else range(10**9)


def _read(file: pq.ParquetFile, path: Path, groups: Iterable[int], columns: list[str] | None = None) -> pa.Table:
    try:
        return file.read_row_groups(list(groups), columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable part of the samples: {error}") from error


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable part of the samples: {error}") from error
    found = file.schema_arrow
    known = pa.schema([field for field in SCHEMA if field.name in found.names])
    if not (found.equals(known) and set(EARLIER.names) <= set(found.names)):
        raise DataError(f"{path}: its columns are not those of rung's samples: {found.names}")
    return file
