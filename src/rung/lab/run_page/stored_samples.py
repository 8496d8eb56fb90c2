"""The samples in a run's folder: the parts in samples/ while it goes on, or samples.parquet alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rung.runs.record import samples


class StoredSamples:
    """Which steps have samples, and their rows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.merged = folder / "samples", folder / "samples.parquet"

    def steps(self) -> list[int]:
        """The steps with samples, in order. Raises DataError when only the merged file is there and cannot be read."""
        merged = self.merged.is_file() and not self.merged.is_symlink()
        return list(samples.parts(self.folder)) or (samples.merged_steps(self.merged) if merged else [])

    def seal(self, step: int) -> object:
        """Changes whenever the step's rows are written anew; 0 once they lie in a file with others."""
        try:
            now = (self.folder / samples.part_name(step)).stat()
        except FileNotFoundError:
            return 0
        return now.st_ino, now.st_mtime_ns, now.st_size

    def read(self, step: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The step's rows, a missing column as null. Raises DataError when they cannot be read."""
        rows = samples.read_merged(samples.file_of(self.folder, step) or self.merged, step, columns)
        names = samples.SCHEMA.names if columns is None else columns
        return [{name: row.get(name) for name in names} for row in rows]
