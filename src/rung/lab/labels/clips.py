"""Clips of episodes: GIF files in the folder of the pairs or below it, shown side by side and repeated."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

LARGEST_CLIP = 16 * 2**20
LARGEST_SIDE = 2048
_MARKS = (b"GIF87a", b"GIF89a")


def is_clip(completion: Any) -> bool:
    """Whether a completion names a clip."""
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
