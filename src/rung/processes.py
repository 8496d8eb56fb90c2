"""What a process asks of the kernel: to end with its parent, to have no network, to end all that bear a mark; and what
another one printed last."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 4096
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def kill_marked(mark: bytes) -> bool:
    """Kills every other process that bears the mark; whether there was one."""
    found = False
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone, or somebody else's
            if int(place.name) != os.getpid() and mark in (place / "environ").read_bytes().split(b"\0"):
                os.kill(int(place.name), signal.SIGKILL)
                found = True
    return found


def last_lines(log: Path, most: int) -> list[str]:
    """The last lines that are not empty of a file that a process prints to; none where there is no such file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][-most:]


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Get a signal when the parent dies, however it dies. Linux only; elsewhere the closed pipe ends an idle worker."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent and number == signal.SIGKILL:
        os._exit(0)  # it died before we asked


def leave_network() -> None:
    """Go where there is no network: a user and network namespace of our own. Linux only, and only where the kernel
    lets users do so; nothing is said where it does not. A second wall: the first is that no text becomes code."""
    if sys.platform != "linux":
        return
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with suppress(OSError):
                Path("/proc/self", name).write_text(line, "ascii")
