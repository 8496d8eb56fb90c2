"""The processes that a test's own work left behind."""

from __future__ import annotations

from contextlib import suppress

import psutil


def left_behind() -> list[str]:
    """The command lines of the children there are, Python's own helper of `multiprocessing` left out."""
    found: list[str] = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found.append(" ".join(child.cmdline()))
    return [command for command in found if "multiprocessing.resource_tracker" not in command]
