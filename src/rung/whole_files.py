"""Atomic writes: a file or a folder appears whole or not at all.

It is written under another name, synced to disk, renamed once, and the folder around it is synced. So what bears its
name is complete, also after a kill or a power cut. No other file of rung renames or syncs.

What the operating system refuses is told in words: `storage_in_words` stands around each call of the library and each
command. `require_writable` asks before long work is begun.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rung.errors import RungError, SettingsError, StorageError
from rung.faults import fault_point

SUFFIX = ".aside"
"""Ends the name of what is being written. A killed process may leave one; nobody reads it."""


def cache_folder() -> Path:
    """Where rung keeps what it can make again: $RUNG_CACHE, or ~/.cache/rung."""
    return Path(os.environ.get("RUNG_CACHE") or Path.home() / ".cache" / "rung")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives the path to write to; on success it is synced and becomes `path`, on any error it is removed.

    >>> # with written_aside(Path("report.html")) as aside:
    >>> #     aside.write_bytes(b"...")
    """
    aside = path.with_name(path.name + SUFFIX)
    try:
        fault_point(f"write.{path.name}")
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
def folder_written_aside(path: Path) -> Iterator[Path]:
    """Gives an empty folder to fill; on success all in it is synced and it becomes `path`, in place of an older one.

    The folders above are made. One process may write a folder at a time: see `held`.
    """
    aside = path.with_name(path.name + SUFFIX)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for inner in (*aside.rglob("*"), aside):
            sync(inner)
        shutil.rmtree(path, ignore_errors=True)
        aside.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Holds a lock while the context lasts: the open file `path`, which is made and removed.

    The operating system lets go of it when the process dies. Whoever gets the lock of a file that was removed meanwhile
    asks again: else two could hold it, one of them a file that nobody finds. BlockingIOError where `wait` is False
    and another process holds it.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_still(path, handle):
                try:
                    yield handle
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(handle)


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Whether a folder that several processes may want at once is still to be made, by this one; others wait for it.

    What killed processes left half-made beside it is removed.
    """
    if folder.is_dir():
        yield False
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with held(folder.with_name(f"{folder.name}.lock")):
        for left in [*folder.parent.glob(f"*{SUFFIX}"), *folder.parent.glob("*.writing")]:
            with suppress(BlockingIOError), held(left.with_name(f"{left.stem}.lock"), wait=False):
                shutil.rmtree(left, ignore_errors=True)
        yield not folder.is_dir()


def _is_still(path: Path, handle: int) -> bool:
    """Whether an open file is the one that bears the name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


_NOT_OF_STORAGE = (BrokenPipeError, ConnectionError, ChildProcessError, ProcessLookupError, TimeoutError)


@contextmanager
def storage_in_words(then: str = "") -> Iterator[None]:
    """What the operating system refuses inside becomes a StorageError that says where and why. `then`: what to do."""
    try:
        yield
    except RungError:
        raise
    except Exception as error:
        code = _refusal(error)
        if code is None:
            raise
        places = [str(place) for name in ("filename", "filename2") if (place := getattr(error, name, None)) is not None]
        where = f"{' to '.join(places)}: " if places else ""
        raise StorageError(f"{where}{os.strerror(code)}{then}") from error


def _refusal(error: Exception) -> int | None:
    """The operating system's number for why it refused a file; None for any other error."""
    if isinstance(error, _NOT_OF_STORAGE):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    # safetensors and Arrow write files by themselves and tell the number in their text
    foreign = isinstance(error, OSError) or type(error).__name__ == "SafetensorError"
    told = re.search(r"(?:os error|errno) (\d+)", str(error), re.IGNORECASE) if foreign else None
    return int(told[1]) if told else None


def require_writable(place: Path, option: str, *, folder: bool = False) -> None:
    """SettingsError, naming the option, unless a file (or with `folder` one in that folder) can be written there.

    It is tried, for no right and no number of free bytes says so beforehand. Folders above it are made.
    """
    tried = place / f"tried{SUFFIX}" if folder else place.with_name(place.name + SUFFIX)
    try:
        tried.parent.mkdir(parents=True, exist_ok=True)
        with tried.open("wb") as file:
            file.write(bytes(4096))
            os.fsync(file.fileno())
        tried.unlink()
    except OSError as error:
        with suppress(OSError):
            tried.unlink()
        raise SettingsError(f"{option}: {place} cannot be written ({error.strerror}); choose another place") from error


def renamed(path: Path, target: Path) -> None:
    """Gives a file another name, on the disk too."""
    path.replace(target)
    sync(target.parent)


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
