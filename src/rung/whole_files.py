"""A file appears whole or not at all: written aside, synced, renamed once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".aside"
"""What a file is called while it is being written; a killed process may leave one, and nobody reads it."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives the path to write to; on success it is synced and becomes `path`, on any error it is removed.

    >>> # with written_aside(Path("report.html")) as aside:
    >>> #     aside.write_bytes(b"...")
    """
    aside = path.with_name(path.name + SUFFIX)
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Replaces `path` by these bytes; whoever reads sees the old file or the new one. Raises OSError."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """Makes a rename or a removal in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
