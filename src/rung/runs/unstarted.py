"""A run that is not started: it is built as it would be, passes the gate, and is thrown away.

`rung check` asks for it, and so does a comparison before the first of its runs.
"""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rung.settings import Settings, TaskSettings
from rung.settings.objects import GIVEN
from rung.tasks.task import TextTask
from rung.trainers.choose import build, is_environment
from rung.trainers.handed import Handed

if TYPE_CHECKING:
    from rung.runs.plan import Plan


def checked(plan: Plan, handed: Handed) -> Plan:
    """The plan with what the gate says. SettingsError or DataError with what must not begin.

    A model that is not on this machine, or does not fit into its memory, is not loaded; the plan then says so.
    """
    return replace(plan, notes=(*plan.notes, *(_not_loaded(plan) or gated(plan.settings, handed))))


def gated(settings: Settings, handed: Handed) -> tuple[str, ...]:
    """What the gate says of a run with these settings; the tiny model stands there untrained."""
    if is_environment(settings.model, settings.task.name):
        return ()
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the rows: the plan has said it
        handed = replace(handed, tiny=lambda task, given: _untrained(task, given, Path(folder)))
        with closing(build(settings, handed)) as trainer:
            return trainer.notes


def _untrained(named: TaskSettings, given: TextTask | None, folder: Path) -> Path:
    """A tiny model of the task that has learnt nothing: what it can be tried with is there."""
    from rung.models.language.tiny import CHARACTERS, tiny_model
    from rung.tasks.load import load_text_task

    task = given or load_text_task(named.name, **named.options())
    tiny_model(0, characters=task.characters or CHARACTERS).save(folder)
    return folder


def _not_loaded(plan: Plan) -> tuple[str, ...]:
    """Why the model of a plan is not looked into, in a sentence; nothing where it is."""
    name = plan.settings.model
    needed = 4 * plan.network.parameters * (2 if plan.keeps_copy else 1)
    if plan.free_bytes is not None and needed > plan.free_bytes:
        return (f"model: {name} was not loaded for want of memory, so whether it runs and is saved is not known",)
    if name in ("tiny", "small") or name.startswith(GIVEN) or Path(name).expanduser().exists():
        return ()
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "model.safetensors.index.json")
    if any(isinstance(try_to_load_from_cache(name, file), str) for file in files):
        return ()
    return (f"model: {name} is not on this machine yet; whether it runs and is saved is tried when a run fetches it",)
