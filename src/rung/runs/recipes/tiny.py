"""The tiny model of a task: made from scratch, warmed up on the task's worked examples, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rung.errors import SettingsError
from rung.models.language.gguf import made_in_cache
from rung.settings.objects import GIVEN
from rung.whole_files import cache_folder

if TYPE_CHECKING:
    from rung.settings import TaskSettings

RECIPE = 2
"""Counts up whenever the tiny model, its warm-up or a built-in task changes, so that no stale one is used."""


def tiny_for(task: TaskSettings) -> Path:
    """The folder of the tiny model for a task; built once, in well under a minute, when it is not in the cache.

    Raises SettingsError when the task has no worked examples to warm it up with, or is an object from Python: the
    cache knows tasks by their names.
    """
    if task.name.startswith(GIVEN):
        raise SettingsError(
            f"model: 'tiny' is made for a task that has a name, and {task.name.removeprefix(GIVEN)} is an object; give "
            "a model's folder, a hub id or (model, tokenizer), for example the tiny model that rung sft saved"
        )
    from rung.runs.recipes.sft import sft
    from rung.settings import SFTSettings

    settings = SFTSettings(model="tiny", task=task)
    key = json.dumps([RECIPE, settings.model_dump(mode="json")], sort_keys=True)
    folder = cache_folder() / "tiny" / f"{task.slug()}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with made_in_cache(folder) as to_make:
        if to_make:
            print(f"making the tiny model for '{task.name}' once (kept in {folder})", file=sys.stderr)  # noqa: T201
            sft(settings, folder, say=lambda line: print(f"  {line}", file=sys.stderr))  # noqa: T201
    return folder / "final"


def model_of(model: str, task: TaskSettings) -> str:
    """What `load_policy` takes for a model's name: the folder of the task's own tiny model for `tiny`."""
    return str(tiny_for(task)) if model == "tiny" else model
