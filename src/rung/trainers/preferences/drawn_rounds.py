"""Rounds of drawn pairs, kept in a file that runs share: each is drawn once, whoever asks for it."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rung.errors import DataError
from rung.faults import fault_point
from rung.trainers.preferences.drawing import PairsMade
from rung.whole_files import sync


@dataclass(frozen=True, kw_only=True)
class Round:
    """The pairs of some prompts, and what drawing them cost.

    Example: `Round(rows=[{"id": ...}], made=PairsMade(prompts=16, rows=9, tokens=210), seconds={"sample": 0.3})`.
    """

    rows: list[dict[str, Any]]
    made: PairsMade
    seconds: Mapping[str, float]
    """By phase."""


def rounds_name(what: Mapping[str, Any]) -> str:
    """The name of the file of all rounds that `what` decides: JSON-like data.

    >>> rounds_name({"seed": 3, "k": 4}) == rounds_name({"k": 4, "seed": 3}) != rounds_name({"k": 4, "seed": 4})
    True
    """
    written = json.dumps(what, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return f"seed-{what['seed']}-{hashlib.sha256(written.encode()).hexdigest()[:16]}.jsonl"


class DrawnRounds:
    """The rounds in one file; a missing one is drawn and appended.

    `draw` makes a round, which depends on its number alone, but for the seconds. Raises DataError for a complete line
    that is no round.
    """

    def __init__(self, path: Path, draw: Callable[[int], Round]) -> None:
        self.path, self.draw = path, draw
        self._rounds: list[Round] = []
        self._read = 0
        """How many bytes of the file have been read."""

    def at(self, number: int) -> Round:
        """Round 0, 1, ...; it is drawn when somebody first asks for it."""
        if number >= len(self._rounds):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._held():
                self._catch_up()
                while number >= len(self._rounds):
                    self._append(self.draw(len(self._rounds)))
        return self._rounds[number]

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self.path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the operating system lets go of it when the process dies
            yield

    def _catch_up(self) -> None:
        """Reads what others have written since; cuts off the half line that a killed process may have left."""
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            file.seek(self._read)
            lines = file.read().split(b"\n")
            for line in lines[:-1]:
                self._rounds.append(_parsed(line, self.path, len(self._rounds)))
                self._read += len(line) + 1
            file.truncate(self._read)

    def _append(self, drawn: Round) -> None:
        line = json.dumps({"made": asdict(drawn.made), "seconds": drawn.seconds, "rows": drawn.rows}).encode() + b"\n"
        with self.path.open("ab") as file:
            file.write(line)
            file.flush()
            sync(file.fileno())
        self._rounds.append(_parsed(line, self.path, len(self._rounds)))
        self._read += len(line)
        fault_point("pairs.round")


def _parsed(line: bytes, path: Path, number: int) -> Round:
    try:
        content = json.loads(line)
        return Round(rows=content["rows"], made=PairsMade(**content["made"]), seconds=content["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            [f"{path}:{number + 1}: is no round of drawn pairs ({error}); remove the file, and it is drawn anew"]
        ) from error
