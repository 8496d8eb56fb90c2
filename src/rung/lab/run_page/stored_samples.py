"""The samples in a run's folder: the parts in samples/ while it goes on, or samples.parquet alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rung.runs.record import samples


class StoredSamples:
    """Which steps have samples, and their rows. Only the list of the merged file's steps is kept in memory.

    Example: `StoredSamples(Path("runs/a")).steps()` is `[1, 2, 3]`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.merged = folder / "samples", folder / "samples.parquet"
        self._merged_steps: tuple[object, list[int]] = (None, [])

    def steps(self) -> list[int]:
        """The steps with samples, in order. Raises DataError when only the merged file is there and cannot be read."""
        return list(samples.parts(self.folder)) or self._of_merged()

    def seal(self, step: int) -> object:
        """Changes whenever the step's rows are written anew."""
        path = self._path(step)
        try:
            now = path.stat()
        except FileNotFoundError:
            return None
        return now.st_ino, now.st_mtime_ns, now.st_size

    def read(self, step: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The step's rows, a missing column as null. Raises DataError when they cannot be read."""
        path = self._path(step)
        rows = samples.read_merged(path, step, columns) if path == self.merged else samples.read_part(path, columns)
        names = samples.SCHEMA.names if columns is None else columns
        return [{name: row.get(name) for name in names} for row in rows]

    def _path(self, step: int) -> Path:
        part = self.folder / samples.part_name(step)
        return part if part.is_file() and not part.is_symlink() else self.merged

    def _of_merged(self) -> list[int]:
        if not self.merged.is_file() or self.merged.is_symlink():
            return []
        now = self.merged.stat()
        seal = (now.st_ino, now.st_mtime_ns, now.st_size)
        if self._merged_steps[0] != seal:
            self._merged_steps = seal, samples.merged_steps(self.merged)
        return self._merged_steps[1]
