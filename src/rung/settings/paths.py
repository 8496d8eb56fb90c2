"""Relative paths in settings are looked up where they were given, wherever the run is resumed later; `~` is home."""

from __future__ import annotations

import os
from pathlib import Path

from rung.settings.given import Given
from rung.settings.objects import TASKS_OWN

_MADE_HERE = ("tiny", "small")
"""Models that are no path, even where a folder has such a name."""
_DATA = (".jsonl", ".parquet")


def anchored(tree: Given, folder: Path | None) -> Given:
    """The tree of settings with each relative path that exists under `folder` made absolute, and `~` replaced.

    None: only `~` is replaced.

    Paths are the task where it is a data file, its `held_out_file`, the files and folders of rewards, and `model` and
    `teacher` where they name something there: a hub id looks like a path too.
    """
    if not isinstance(tree.value, dict):
        return tree
    changed = dict(tree.value)
    for key in ("model", "teacher"):
        if key in changed and changed[key].value not in _MADE_HERE:
            changed[key] = _whole(changed[key], folder)
    if "task" in changed:
        changed["task"] = _task(changed["task"], folder)
    if "rewards" in changed and isinstance(changed["rewards"].value, list | str):
        written = changed["rewards"].value
        rewards = [_reward(part, folder) for part in (written if isinstance(written, list) else [changed["rewards"]])]
        changed["rewards"] = Given(rewards, changed["rewards"].origin)
    return Given(changed, tree.origin)


def _task(task: Given, folder: Path | None) -> Given:
    if isinstance(task.value, str):
        return _whole(task, folder) if task.value.endswith(_DATA) else task
    if not isinstance(task.value, dict):
        return task
    named = {key: _task(inner, folder) for key, inner in task.value.items() if key in ("name", "held_out_file")}
    return Given({**task.value, **named}, task.origin)


def _reward(part: Given, folder: Path | None) -> Given:
    if isinstance(part.value, str):
        part = Given({"function": part}, part.origin)
    function = part.at("function")
    if function is None or not isinstance(function.value, str):
        return part
    file, _, name = function.value.rpartition(":")
    if function.value == TASKS_OWN:
        return part
    whole = _whole(Given(file if file else function.value), folder).value + (f":{name}" if file else "")
    return Given({**part.value, "function": Given(whole, function.origin)}, part.origin)


def _whole(path: Given, folder: Path | None) -> Given:
    if not isinstance(path.value, str):
        return path
    whole = os.path.expanduser(path.value) if path.value.startswith("~") else path.value  # noqa: PTH111  no RuntimeError
    if folder is not None and not os.path.isabs(whole) and (folder / whole).exists():  # noqa: PTH117
        whole = str((folder / whole).resolve())
    return Given(whole, path.origin)
