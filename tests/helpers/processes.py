"""The processes that a test's own work left behind."""

from __future__ import annotations

from contextlib import suppress

import psutil

from rung.models.language.chat_template import chat_templates


def left_behind() -> list[str]:
    """The command lines of the children there are; Python's own helper of `multiprocessing` and the one child that
    renders chat templates for the whole process are left out, and so is the one that forks the runs of other tests."""
    me = psutil.Process()
    shared = _family(chat_templates()._child.pid) if chat_templates.cache_info().currsize else set[int]()
    found: list[str] = []
    for child in me.children(recursive=True):
        if child.pid not in shared:
            with suppress(psutil.NoSuchProcess):
                found.append(" ".join(child.cmdline()))
    return [command for command in found if "resource_tracker" not in command and "forked_runs.py" not in command]


def _family(pid: int | None) -> set[int]:
    """A child, what it started, and the guard of this process that started it."""
    if pid is None:
        return set()
    child, me = psutil.Process(pid), psutil.Process()
    above = {one.pid for one in child.parents()} & {one.pid for one in me.children(recursive=True)}
    return {pid, *above, *(one.pid for one in child.children(recursive=True))}
