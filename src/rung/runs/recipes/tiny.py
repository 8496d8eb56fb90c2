"""The tiny model of a task: made from scratch, warmed up on the task's worked examples, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rung.errors import SettingsError
from rung.models.language.gguf import made_in_cache
from rung.random import draws
from rung.settings.objects import GIVEN
from rung.tasks.task import Example, TextTask
from rung.tasks.turns import checked_step, episode_start
from rung.whole_files import cache_folder

if TYPE_CHECKING:
    from rung.settings import TaskSettings

PRACTICE, MOST_SEEN = 1000, 5000
RECIPE = 2
"""Counts up whenever the tiny model, its warm-up or a built-in task changes, so that no stale one is used."""


def tiny_for(task: TaskSettings, given: TextTask | None = None) -> Path:
    """The folder of the tiny model for a task; built once, in well under a minute, when it is not in the cache.

    The cache knows tasks by their names, and an environment from Python, which is `given`, by its examples.
    Raises SettingsError when the task has no worked examples to warm it up with, or is another object from Python.
    """
    plays = None if given is None else given.plays
    if task.name.startswith(GIVEN) and plays is None:
        raise SettingsError(
            f"model: 'tiny' is made for a task that has a name, and {task.name.removeprefix(GIVEN)} is an object; give "
            "a model's folder, a hub id or (model, tokenizer), for example the tiny model that rung sft saved"
        )
    from rung.runs.recipes.sft import sft
    from rung.settings import SFTSettings

    settings = SFTSettings(model="tiny", task=task)
    own = None
    if given is not None and plays is not None and task.name.startswith(GIVEN):
        own = given if len(given.examples) else replace(given, examples=tuple(practice(given)))
    seen = [] if own is None else [[e.prompt, e.completion] for e in own.examples[:MOST_SEEN]]
    key = json.dumps([RECIPE, settings.model_dump(mode="json"), *seen], sort_keys=True)
    folder = cache_folder() / "tiny" / f"{task.slug()}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with made_in_cache(folder) as to_make:
        if to_make:
            print(f"making the tiny model for '{task.name}' once (kept in {folder})", file=sys.stderr)  # noqa: T201
            sft(settings, folder, task=own, say=lambda line: print(f"  {line}", file=sys.stderr))  # noqa: T201
    return folder / "final"


def practice(task: TextTask) -> Iterator[Example]:
    """Examples for an environment that has none: whole numbers, said at random, after what it answers to them.

    They teach the tiny model to say something short and to end its turn, nothing of the task.
    """
    for index in range(PRACTICE):
        said = next(draws("practice", index, width=4))
        item, environment = task.train[index % len(task.train)], task.plays() if task.plays is not None else None
        try:
            history = episode_start(environment, item, index)
            for number in said[: 1 + index % 4]:
                if not isinstance(history, str):
                    return
                reply = f"{number % 21}"
                yield Example(prompt=history, completion=f"{reply}{task.stop[0] if task.stop else ''}")
                step = checked_step(environment.step(reply))
                if step.done:
                    break
                history += f"{reply}{task.stop[0] if task.stop else ''}{step.text}"
        except Exception as error:
            raise SettingsError([f"task: {task.name}: {type(error).__name__}: {error}"]) from error


def model_of(model: str, task: TaskSettings, given: TextTask | None = None) -> str:
    """What `load_policy` takes for a model's name: the folder of the task's own tiny model for `tiny`."""
    return str(tiny_for(task, given)) if model == "tiny" else model
