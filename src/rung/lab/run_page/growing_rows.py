"""What grows in a run's folder while somebody else writes it: metrics, timings, which prompts were solved when.

Whoever follows says how far they are and gets what came since. A resumed run takes rows back: then a new epoch begins,
and whoever followed the old one gets its rows from the start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rung.batch import OK
from rung.errors import DataError
from rung.lab.run_page.step_shown import finite
from rung.lab.run_page.stored_samples import StoredSamples
from rung.runs.record.json_lines import Row, parse_row
from rung.runs.record.visible import visible

MOST_AT_ONCE = 1000
"""Rows in one answer; whoever follows asks again at once while there are more."""


class Follow:
    """Rows that grow, and the epoch they belong to.

    >>> rows = Follow()
    >>> rows.rows += ["a", "b"]
    >>> rows.since(0, 1)
    {'epoch': 0, 'from': 1, 'rows': ['b'], 'more': False}
    >>> rows.restart()
    >>> rows.since(0, 2)
    {'epoch': 1, 'from': 0, 'rows': [], 'more': False}
    """

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.epoch = 0

    def restart(self) -> None:
        """Begins a new epoch without rows: a resume took the old ones back."""
        self.rows, self.epoch = [], self.epoch + 1

    def since(self, epoch: int, begin: int) -> dict[str, Any]:
        """What came after the first `begin` rows of that epoch; everything when the epoch is over."""
        start = min(begin, len(self.rows)) if epoch == self.epoch else 0
        rows = self.rows[start : start + MOST_AT_ONCE]
        return {"epoch": self.epoch, "from": start, "rows": rows, "more": start + len(rows) < len(self.rows)}


MOST_BYTES = 64 * 2**20
"""Read at one look; a longer file takes several."""


class GrowingRows:
    """Reads on from where the last look ended, whole lines only.

    A file that was replaced, got shorter, or whose last line read is not there any more was cut back by a resume:
    it is read anew. A damaged line ends the reading, and `problem` names it; the rows before it are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._found = path, Follow()
        self._file, self._end, self._last, self._half, self.problem = 0, 0, b"", 0, ""

    def since(self, epoch: int, begin: int) -> dict[str, Any]:
        """Looks at the file, then what came after the first `begin` rows of that epoch."""
        self._look()
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
            self._look()
        return list(self._found.rows)

    def half_line(self) -> str:
        """What is said of a last line without an end, once nobody writes the file any more."""
        if not self._half:
            return ""
        return f"{self.path.name}: the last line was only half written ({self._half} bytes) and is left out"

    def _look(self) -> None:
        try:
            with self.path.open("rb") as file:
                now = os.fstat(file.fileno())
                file.seek(max(self._end - len(self._last), 0))
                if now.st_ino != self._file or now.st_size < self._end or file.read(len(self._last)) != self._last:
                    self._begin_anew(now.st_ino)
                file.seek(self._end)
                self._take(file.read(MOST_BYTES))
        except FileNotFoundError:
            self._begin_anew(0)
        except OSError as error:
            self.problem = f"{self.path.name}: cannot be read ({error.strerror or error})"

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
        self._found.rows += rows


PARTS_AT_ONCE = 100
"""Parts read for one answer, so that the first answer of a long run comes soon."""


class Solved:
    """Rows `{"step": 3, "items": [["add-7", 0.25, 8], ...]}`: item, share solved, answers judged.

    The share is the mean accuracy, null where no answer had one. A part that is written anew, or is gone, begins a new
    epoch.
    """

    def __init__(self, stored: StoredSamples) -> None:
        self.stored = stored
        self.problem = ""
        self._found = Follow()
        self._seals: dict[int, object] = {}

    def since(self, epoch: int, begin: int) -> dict[str, Any]:
        """Reads parts that are new, then what came after the first `begin` rows of that epoch."""
        more = False
        try:
            more = self._look()
        except DataError as error:
            self.problem = visible(str(error), limit=300)
        answer = self._found.since(epoch, begin)
        return {**answer, "more": answer["more"] or more, "problem": self.problem}

    def _look(self) -> bool:
        """True when there are more parts than were read now."""
        steps = self.stored.steps()
        known = [step for step in self._seals if step in set(steps)]
        anew = any(self.stored.seal(step) not in (self._seals[step], 0) for step in known[-50:])
        if len(known) < len(self._seals) or anew:
            self._found.restart()
            self._seals, self.problem = {}, ""
        new = [step for step in steps if step not in self._seals]
        for step in new[:PARTS_AT_ONCE]:
            self._seals[step] = self.stored.seal(step)
            try:
                rows = self.stored.read(step, ("item", "status", "accuracy"))
            except DataError as error:  # the other steps are still worth seeing
                self.problem = visible(str(error), limit=300)
                continue
            self._found.rows += [{"step": step, "items": solved_items(rows)}]
        return len(new) > PARTS_AT_ONCE


def solved_items(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Item, share solved, answers judged, in the order of the rows.

    >>> solved_items([{"item": "a", "status": "ok", "accuracy": x} for x in (1.0, 0.0)])
    [['a', 0.5, 2]]
    """
    found: dict[str, list[float | None]] = {}
    for row in rows:
        values = found.setdefault(visible(row["item"] or "", limit=200), [])
        if row["status"] == OK:
            values.append(finite(row["accuracy"]))
    scores = {item: [value for value in values if value is not None] for item, values in found.items()}
    return [[item, fmean(own) if own else None, len(found[item])] for item, own in scores.items()]
