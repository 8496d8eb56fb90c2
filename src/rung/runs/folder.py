"""A run's folder, as its files tell: whether it holds a run, is taken or finished; its model's kind; and its lock."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.settings import Settings, TaskSettings, read_settings
from rung.tasks.own_environment import commands_in_data
from rung.whole_files import SUFFIX, held

RUNS = Path("runs")
SETTINGS = "settings.yaml"
"""What makes a folder a run's."""


def require_run(folder: Path) -> None:
    """SettingsError when a folder holds no run."""
    if not (folder / SETTINGS).is_file():
        raise SettingsError([f"{folder}: holds no run (there is no {folder / SETTINGS})"])


def run_settings(folder: Path, parts: Sequence[type[Any]] = ()) -> Settings:
    """The settings of the run in a folder. SettingsError when it holds none."""
    require_run(folder)
    settings = read_settings(folder / SETTINGS, parts)
    commands_in_data(settings.tools)
    return settings


def model_in(folder: Path) -> str | None:
    """The name of the file that tells which kind of model a folder holds, as `config` or `small_policy`; None: none."""
    from rung.models.language.folder import ACTORS

    return next((name for name in ("config", *ACTORS) if (folder / f"{name}.json").is_file()), None)


LOCK = ".lock"
UNFINISHED = ".unfinished"
"""In a run's folder from before it begins until the last of it is written: with this, `final` alone is no end."""
BEGINNING = (LOCK, UNFINISHED, "method.json", "inputs.json")
"""What may lie in a folder before settings.yaml makes it a run."""


def holds_something(folder: Path) -> bool:
    """Whether a folder has more in it than what a process leaves that was killed before its run had begun."""
    return folder.is_dir() and any(
        path.name not in BEGINNING and not path.name.endswith(SUFFIX) for path in folder.iterdir()
    )


def is_finished(folder: Path) -> bool:
    """Whether a run came to its end with everything written: model, samples, report."""
    return (folder / "final").is_dir() and not (folder / UNFINISHED).exists()


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
    """Holds a run's folder while the context lasts.

    Raises SettingsError, saying who holds it, when another process does, or when nobody could.
    """

    def __init__(self, folder: Path, work: str = "run is being trained") -> None:
        self.path, self.work = folder / LOCK, work

    def __enter__(self) -> RunLock:
        self._held = held(self.path, wait=False)
        try:
            handle = self._held.__enter__()
        except BlockingIOError as error:
            holder = self.path.read_text("utf-8", "replace").strip()[:200] or "another process"
            raise SettingsError(f"{self.path.parent}: this {self.work} by {holder}") from error
        except OSError as error:
            raise SettingsError(
                f"{self.path}: cannot be held ({error.strerror}); a run writes it into its folder, so the folder must "
                "be writable and nothing else may bear that name"
            ) from error
        os.truncate(handle, 0)
        os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        return self

    def __exit__(self, *error: Any) -> None:
        self._held.__exit__(None, None, None)


def new_folder(name: str, task: TaskSettings) -> Path:
    """`runs/grpo-arithmetic-3` when `-1` and `-2` are there. Nothing is made yet."""
    stem = f"{name}-{task.slug()}"
    taken = [path.name for path in RUNS.iterdir()] if RUNS.is_dir() else []
    numbers = [int(found[1]) for one in taken if (found := re.fullmatch(re.escape(stem) + r"-(\d+)", one))]
    return RUNS / f"{stem}-{max(numbers, default=0) + 1}"
