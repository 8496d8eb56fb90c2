"""Atomic writes: a file or a folder appears whole or not at all.

It is written under another name, synced to disk, renamed once, and the folder around it is synced. So what bears its
name is complete, also after a kill or a power cut. No other file of rung renames or syncs.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".aside"
"""Ends the name of what is being written. A killed process may leave one; nobody reads it."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives the path to write to; on success it is synced and becomes `path`, on any error it is removed.

    >>> # with written_aside(Path("report.html")) as aside:
    >>> #     aside.write_bytes(b"...")
    """
    aside = path.with_name(path.name + SUFFIX)
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Replaces `path` by these bytes; a reader sees the old file or the new one. Raises OSError."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


@contextmanager
def folder_written_aside(path: Path, *, first_wins: bool = False) -> Iterator[Path]:
    """Gives an empty folder to fill; on success all in it is synced and it becomes `path`, in place of an older one.

    Args:
        path: the folder to be; those above it are made.
        first_wins: several processes may make the same folder at once; whoever comes later drops its own.
    """
    own = f".{secrets.token_hex(4)}" if first_wins else ""
    aside = path.with_name(f"{path.name}{own}{SUFFIX}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for inner in (*aside.rglob("*"), aside):
            sync(inner)
        if not first_wins:
            shutil.rmtree(path, ignore_errors=True)
        try:
            aside.rename(path)
        except OSError:
            if not (first_wins and path.is_dir()):
                raise
        sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sync(place: Path | int) -> None:
    """Waits until a file, a folder's list of names, or an open file is on the disk."""
    if isinstance(place, int):
        os.fsync(place)
        return
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
