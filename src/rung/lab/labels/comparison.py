"""Comparisons and votes: what a person is asked, and what the person said.

A completion may be a clip of an episode: a GIF in the folder of the pairs or below it, shown and repeated.

The two completions of a comparison are `first` and `second`, in the order of the file. Which of them stands on the
left is drawn for each person and comparison, and kept with each vote. So a vote says what was preferred and where it
stood.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from rung.tasks.task import Prompt

Which = Literal["first", "second"]
Answer = Literal["first", "second", "tie", "unsure"]
"""`unsure` is "can't tell": no judgement at all, where `tie` is the judgement that both are as good."""

LONGEST_NAME = 80
"""Characters of a person's name."""
ANSWERS: tuple[Answer, ...] = ("first", "second", "tie", "unsure")


def other(which: Which) -> Which:
    """The other one of the two."""
    return "second" if which == "first" else "first"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two completions of one prompt, each a text, a list of messages, or `{"clip": "walk-3.gif"}`."""

    id: str
    prompt: Prompt
    completions: tuple[Any, Any]
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The row's other columns; an export writes them again."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One answer of one person. Votes are never deleted."""

    submit: str
    """An id that the page makes before it first sends the vote, so that a vote sent twice counts once."""
    pair: str
    """The comparison's id."""
    labeller: str
    answer: Answer
    left: Which
    """Which completion stood on the left."""
    at: float
    """When, in seconds since 1970, UTC."""
    seconds: float | None = None
    """How long the person looked."""
    undone: bool = False

    @property
    def side(self) -> Literal["left", "right"] | None:
        """Where the preferred completion stood, None when none was preferred."""
        if self.answer not in ("first", "second"):
            return None
        return "left" if self.answer == self.left else "right"


LARGEST_CLIP = 16 * 2**20
LARGEST_SIDE = 2048
_MARKS = (b"GIF87a", b"GIF89a")


def is_clip(completion: Any) -> bool:
    return isinstance(completion, dict)


def clip_problem(completion: Any, folder: Path) -> str | None:
    """What is wrong with a clip as a sentence, None when it can be shown.

    >>> clip_problem({"clip": "../../etc/passwd"}, Path("."))
    "clip '../../etc/passwd': expected a path inside the folder of the pairs"
    """
    if set(completion) != {"clip"} or not isinstance(completion["clip"], str):
        return f'has {", ".join(map(repr, completion)) or "nothing"}, expected {{"clip": "FILE.gif"}}'
    name = completion["clip"]
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        return f"clip {name!r}: expected a path inside the folder of the pairs"
    if path.suffix.lower() != ".gif":
        return f"clip {name!r}: expected a .gif file"
    try:
        read_clip(name, folder)
    except ValueError as error:
        return f"clip {name!r}: {error}"
    return None


def read_clip(name: str, folder: Path) -> bytes:
    """The bytes of a clip. Raises ValueError when it is no GIF, too large, or outside the folder (by a link, say)."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError("leads out of the folder of the pairs")
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_CLIP + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_CLIP:
        raise ValueError(f"is larger than {LARGEST_CLIP >> 20} MiB; make it shorter or smaller")
    if data[:6] not in _MARKS or len(data) < 13:
        raise ValueError("is no GIF")
    width, height = (int.from_bytes(data[at : at + 2], "little") for at in (6, 8))
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise ValueError(f"is {width} x {height} pixels, expected at most {LARGEST_SIDE} a side")
    return data


def clip_digest(completion: Any, folder: Path) -> str:
    """A hash of a clip's content, so that another clip under the same name is noticed."""
    return hashlib.sha256(read_clip(completion["clip"], folder)).hexdigest()
