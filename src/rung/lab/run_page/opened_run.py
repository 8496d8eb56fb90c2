"""One run's folder, open for looking at while somebody else writes it. It reads, it never writes, and it keeps what it
has read of growing files.

Whoever follows says how far they are and gets what came since. A resumed run takes rows back: then a new epoch begins,
and whoever followed the old one gets its rows from the start."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rung.batch import OK
from rung.errors import DataError, SettingsError
from rung.lab.diagnosis.rules import WarningLog
from rung.lab.run_page.shown import STEP_COLUMNS, TOKEN_COLUMNS, overview, shown_step, shown_tokens
from rung.lab.runs_table import runs_in
from rung.runs.record.files import Row, parse_row
from rung.runs.record.samples import StoredSamples
from rung.runs.record.visible import finite, shown_text, visible

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
            below = next(runs_in(folder), None)
            hint = "" if below is None else f"; {below} holds one"
            raise SettingsError([f"RUN: {folder} holds no run: neither settings.yaml nor metrics.jsonl is in it{hint}"])
        self.stored = StoredSamples(folder)
        self._files = {name: GrowingRows(folder / f"{name}.jsonl") for name in ("metrics", "timings")}
        self._growing = {**self._files, "solved": Solved(self.stored)}
        self._warnings = WarningLog()
        self._row: tuple[object, dict[str, Any]] = (None, {})
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
        return overview(self.folder, self._text("settings.yaml"), metrics, timings, warnings)

    def row(self) -> dict[str, Any]:
        """The run in one line, as the table of runs has it; worked out anew only when the run has gone on."""
        with self._lock:
            rows = self._files["metrics"].all_rows()
            now = (self._files["metrics"].epoch, len(rows), (self.folder / "final").is_dir())
        if self._row[0] != now:
            seen = self.overview()
            self._row = (now, {**seen["row"], "warnings": len(seen["warnings"]), "problems": len(seen["problems"])})
        return self._row[1]

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
        self.epoch, self.problem = 0, ""

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


class GrowingRows(Follow):
    """Reads on from where the last look ended, whole lines only.

    A file that was replaced, got shorter, or whose last line read is not there any more was cut back by a resume:
    it is read anew. A damaged line ends the reading, and `problem` names it; the rows before it are kept.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file, self._end, self._last, self._half = 0, 0, b"", 0

    def since(self, epoch: int, begin: int) -> dict[str, Any]:
        """Looks at the file, then what came after the first `begin` rows of that epoch."""
        self._look()
        return {**super().since(epoch, begin), "problem": self.problem}

    def all_rows(self) -> list[Row]:
        """Looks at the file until there is nothing new, then every row."""
        before = -1
        while self._end != before:
            before = self._end
            self._look()
        return list(self.rows)

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
            self.restart()
        self._file, self._end, self._last, self._half, self.problem = file, 0, b"", 0, ""

    def _take(self, data: bytes) -> None:
        rows: list[Row] = []
        *lines, rest = data.split(b"\n")
        self._half = len(rest)
        for line in lines:
            try:
                row = parse_row(line, f"{self.path.name}, row {len(self.rows) + len(rows) + 1}")
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
        self.rows += rows


PARTS_AT_ONCE = 100
"""Parts read for one answer, so that the first answer of a long run comes soon."""


class Solved(Follow):
    """Rows `{"step": 3, "items": [["add-7", 0.25, 8], ...], "prompts": {"add-7": "3+4="}}`: item, share solved,
    answers judged; and how the prompts of items that were not seen before begin and end.

    The share is the mean accuracy, null where no answer had one. A part that is written anew, or is gone, begins a new
    epoch.
    """

    def __init__(self, stored: StoredSamples) -> None:
        super().__init__()
        self.stored = stored
        self._seals: dict[int, object] = {}
        self._named: set[str] = set()

    def since(self, epoch: int, begin: int) -> dict[str, Any]:
        """Reads parts that are new, then what came after the first `begin` rows of that epoch."""
        try:
            more = self._look()
        except DataError as error:
            more, self.problem = False, visible(str(error), limit=300)
        answer = super().since(epoch, begin)
        return {**answer, "more": answer["more"] or more, "problem": self.problem}

    def _look(self) -> bool:
        """True when there are more parts than were read now."""
        steps = self.stored.steps()
        known = [step for step in self._seals if step in set(steps)]
        anew = any(self.stored.seal(step) not in (self._seals[step], 0) for step in known[-50:])
        if len(known) < len(self._seals) or anew:
            self.restart()
            self._seals, self._named, self.problem = {}, set(), ""
        new = [step for step in steps if step not in self._seals]
        for step in new[:PARTS_AT_ONCE]:
            self._seals[step] = self.stored.seal(step)
            try:
                rows = self.stored.read(step, SOLVED_COLUMNS)
            except DataError as error:  # the other steps are still worth seeing
                self.problem = visible(str(error), limit=300)
                continue
            self.rows += [solved_row(step, rows, self._named)]
        return len(new) > PARTS_AT_ONCE


SOLVED_COLUMNS = ("item", "prompt", "status", "accuracy")


def solved_row(step: int, rows: Sequence[Mapping[str, Any]], named: set[str]) -> dict[str, Any]:
    """What a step's samples say of its prompts; the text of those that are not in `named` yet, which takes them in."""
    texts = {visible(row["item"] or "", limit=200): row["prompt"] for row in rows if row["prompt"]}
    new = {item: text if len(text) <= 80 else f"{text[:30]} … {text[-46:]}" for item, text in texts.items()}
    prompts = {item: visible(text, limit=120) for item, text in new.items() if item not in named}
    named.update(prompts)
    return {"step": step, "items": solved_items(rows), "prompts": prompts}


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
