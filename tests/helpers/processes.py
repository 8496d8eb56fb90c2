"""The processes that a test's own work left behind."""

from __future__ import annotations

from contextlib import suppress

import psutil

from rung.models.language.chat_template import chat_templates


def left_behind() -> list[str]:
    """The command lines of the children there are; Python's own helper of `multiprocessing` and the one child that
    renders chat templates for the whole process are left out."""
    found: list[str] = []
    shared = chat_templates()._child.pid if chat_templates.cache_info().currsize else None
    for child in psutil.Process().children(recursive=True):
        if child.pid == shared:
            continue
        with suppress(psutil.NoSuchProcess):
            found.append(" ".join(child.cmdline()))
    return [command for command in found if "multiprocessing.resource_tracker" not in command]
