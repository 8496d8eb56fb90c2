"""The rows of a metrics.jsonl or timings.jsonl that somebody else is writing: each byte is read once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rung.errors import DataError
from rung.lab.run_page.follow import Follow
from rung.runs.record.json_lines import Row, parse_row
from rung.runs.record.visible import visible

MOST_BYTES = 64 * 2**20
"""Read at one look; a longer file takes several."""


class GrowingRows:
    """Reads on from where the last look ended, whole lines only.

    A file that was replaced, got shorter, or whose last line read is not there any more was cut back by a resume:
    it is read anew. A damaged line ends the reading, and `problem` names it; the rows before it are kept.

    Example: `GrowingRows(Path("runs/a/metrics.jsonl")).since(0, 0)["rows"]` is `[{"step": 0, ...}, ...]`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._found = Follow()
        self._file = 0
        self._end = 0
        self._last = b""
        self._half = 0

    def since(self, epoch: int, begin: int) -> dict[str, Any]:
        """Looks at the file, then what came after the first `begin` rows of that epoch."""
        self._try_to_look()
        return {**self._found.since(epoch, begin), "problem": self.problem}

    @property
    def epoch(self) -> int:
        """It grows by one whenever rows were taken back."""
        return self._found.epoch

    def all_rows(self) -> list[Row]:
        """Looks at the file until there is nothing new, then every row."""
        before = -1
        while self._end != before:
            before = self._end
            self._try_to_look()
        return list(self._found.rows)

    def half_line(self) -> str:
        """What is said of a last line without an end, once nobody writes the file any more."""
        if not self._half:
            return ""
        return f"{self.path.name}: the last line was only half written ({self._half} bytes) and is left out"

    def _try_to_look(self) -> None:
        try:
            self._look()
        except OSError as error:
            self.problem = f"{self.path.name}: cannot be read ({error.strerror or error})"

    def _look(self) -> None:
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            self._begin_anew(0)
            return
        with file:
            now = os.fstat(file.fileno())
            file.seek(max(self._end - len(self._last), 0))
            if now.st_ino != self._file or now.st_size < self._end or file.read(len(self._last)) != self._last:
                self._begin_anew(now.st_ino)
            file.seek(self._end)
            self._take(file.read(MOST_BYTES))

    def _begin_anew(self, file: int) -> None:
        if self._end:
            self._found.restart()
        self._file, self._end, self._last, self._half, self.problem = file, 0, b"", 0, ""

    def _take(self, data: bytes) -> None:
        rows: list[Row] = []
        *lines, rest = data.split(b"\n")
        self._half = len(rest)
        for line in lines:
            try:
                row = parse_row(line, f"{self.path.name}, row {len(self._found.rows) + len(rows) + 1}")
                if not isinstance(row.get("step"), int):
                    raise DataError([f"{self.path.name}: a row has no step"])
            except DataError as error:
                self.problem = f"{visible(str(error), limit=300)}; what follows is not shown"
                break
            rows.append({visible(name, limit=120): value for name, value in row.items()})
            self._end += len(line) + 1
            self._last = line + b"\n"
        else:
            self.problem = ""
        self._found.extend(rows)
