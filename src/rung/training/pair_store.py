"""Pairs drawn round by round into one file, which several runs may share: each round is drawn once.

A line is a round: its pairs, what it took (prompts, tokens, seconds), why prompts gave none. Which rounds there are is
decided by what draws them, so the file's name has a hash of all of that; a killed process leaves whole lines, and at
most half of one, which is cut off before the next is written. Who draws holds a lock, and the others wait: nobody
draws a round twice, and a run that finds one pays for it as if it had drawn it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from rung.errors import DataError
from rung.training.faults import reach
from rung.training.pair_drawing import PairsMade


@dataclass(frozen=True, kw_only=True)
class Round:
    """Some prompts' pairs, and what they cost.

    Example: `Round(rows=[{"id": ...}], made=PairsMade(prompts=16, rows=9, tokens=210), seconds={"sample": 0.3})`.
    """

    rows: list[dict[str, Any]]
    made: PairsMade
    seconds: Mapping[str, float]
    """By phase."""


class Draws(Protocol):
    """What draws a round: a function of its number alone, but for the seconds."""

    def __call__(self, number: int) -> Round: ...


def store_name(what: Mapping[str, Any]) -> str:
    """The file's name for rounds that are decided by `what`: JSON-like data.

    >>> store_name({"seed": 3, "k": 4}) == store_name({"k": 4, "seed": 3}) != store_name({"k": 4, "seed": 4})
    True
    """
    written = json.dumps(what, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return f"seed-{what['seed']}-{hashlib.sha256(written.encode()).hexdigest()[:16]}.jsonl"


class PairStore:
    """The rounds of one file, and who draws the missing ones.

    Raises DataError where a whole line is none of ours.
    """

    def __init__(self, path: Path, draw: Draws) -> None:
        self.path, self.draw = path, draw
        self._rounds: list[Round] = []
        self._read = 0
        """Bytes of the file that are known."""

    def at(self, number: int) -> Round:
        """Round 0, 1, ...; the first time anybody asks for it, it is drawn."""
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
        """Reads what others have written since; cuts off the half line that one of them may have left."""
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
            os.fsync(file.fileno())
        self._rounds.append(_parsed(line, self.path, len(self._rounds)))
        self._read += len(line)
        reach("pairs.round")


def _parsed(line: bytes, path: Path, number: int) -> Round:
    try:
        content = json.loads(line)
        return Round(rows=content["rows"], made=PairsMade(**content["made"]), seconds=content["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            [f"{path}:{number + 1}: is no round of drawn pairs ({error}); remove the file, and it is drawn anew"]
        ) from error
