"""Environments of other packages as tasks: `textarena/NAME`, `gymnasium/NAME`, `textworld/GAME`, `openenv/URL`.

Each is a class such as a user's own would be, in the file of its package's name, and is played in child processes
(`rung.tasks.hosted`). `python=PATH` plays it in another interpreter, for packages that do not go together with rung's;
that one needs the package, pydantic and numpy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

OTHERS = {"textarena": "TextArena", "gymnasium": "TextGymnasium", "textworld": "TextWorld", "openenv": "OpenEnv"}
"""The word before the first slash of a task's name, and the class that plays it."""


def is_other(spec: str) -> bool:
    """Whether a task's name is of one of these."""
    package, slash, name = spec.partition("/")
    return bool(slash) and bool(name) and package in OTHERS


def source_of(spec: str) -> str:
    """The file and class that play it, as `rung.tasks.hosted` takes them."""
    package = spec.partition("/")[0]
    return f"{Path(__file__).with_name(package)}.py:{OTHERS[package]}"


def opening(text: str, chat: bool) -> Any:
    """What the policy reads first: a text to be continued, or one message."""
    return [{"role": "user", "content": text}] if chat else text.rstrip("\n") + "\n"
