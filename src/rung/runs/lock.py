"""The lock of a run folder, which one process holds at a time."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from rung.errors import SettingsError

LOCK = ".lock"


def holds_something(folder: Path) -> bool:
    """Whether a folder has more in it than the lock that a killed process left before it wrote anything."""
    return folder.is_dir() and any(path.name != LOCK for path in folder.iterdir())


def problems_with(folder: Path, *, resumable: bool) -> list[str]:
    """Why a new run cannot go into this folder."""
    try:
        above = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        if not above.is_dir():
            return [f"--out: {above} is a file, expected a folder that is new or empty"]
        if not os.access(above, os.W_OK | os.X_OK):
            return [f"--out: {folder} cannot be written: {above} is read-only for you; choose another folder"]
        if holds_something(folder):
            on = f"to go on with the run in it: rung resume {folder}; else " if resumable else ""
            return [f"--out: {folder} is not empty; {on}choose another folder"]
    except OSError as error:
        return [f"--out: {folder!s:.120} cannot be a run's folder: {error.strerror}; choose another one"]
    return []


class RunLock:
    """Holds a run's folder while the process lives; the operating system lets go of it when the process dies.

    Raises SettingsError, saying who holds it, when another process does.
    """

    def __init__(self, folder: Path, work: str = "run is being trained") -> None:
        self.path, self.work = folder / LOCK, work

    def __enter__(self) -> RunLock:
        self._file = self.path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise SettingsError(f"{self.path.parent}: this {self.work} by {holder}") from error
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)
        self._file.close()
