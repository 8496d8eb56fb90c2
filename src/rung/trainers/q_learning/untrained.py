"""Whether a model is still untrained, as far as its files tell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rung.errors import DataError, RungError
from rung.settings.load import read_settings
from rung.settings.schema import SMALL, Settings, TaskSettings

if TYPE_CHECKING:
    from torch import Tensor


def outputs_that_are_no_values(settings: Settings) -> Iterator[str]:
    """A warning where a method that learns the value of tokens would begin with a model that was trained on text."""
    model, folder = settings.model, Path(settings.model).expanduser()
    if folder.is_dir() and (learnt_values(folder) or is_fresh(folder)):
        return
    trained = "was trained on worked examples" if model == "tiny" else "has been trained, as far as its files tell"
    yield (
        f"model: '{model}' {trained}: its outputs are logits, and read as values of tokens they mean nothing; what it "
        "can do is lost at first and may not come back. Begin with an untrained model of the task's alphabet: "
        f"`rung sft --model tiny {_flags(settings.task)} --set steps=0 --out fresh` makes one; then say --model "
        "fresh/final --recipe tiny_values"
    )


def _flags(task: TaskSettings) -> str:
    """The task as the command line takes it."""
    options = [f"task.{name}={value}" for name, value in task.options().items()]
    return shlex.join(["--task", task.name, *(word for one in options for word in ("--set", one))])


def learnt_values(folder: Path) -> bool:
    """Whether this is the model of a run whose method learns values, which its outputs then are."""
    file = folder.parent / "settings.yaml"
    if not file.is_file():
        return False
    try:
        run = read_settings(file)
        return hasattr(run.resolved_method(), "value_target") and run.model != SMALL
    except RungError:  # no run of this version: then only the norms tell
        return False


def is_fresh(folder: Path) -> bool:
    """Whether nothing has been learnt yet: every norm's scale is still the one number it was made with.

    Norms begin at exactly 1 (or 0) and any training of all weights moves them apart. False where a folder has no
    norms to tell by; a change that left them alone, such as a LoRA, is not seen.
    """
    scales = list(_scales(folder))
    return bool(scales) and all(bool((scale == scale[0]).all()) for scale in scales)


def _scales(folder: Path) -> Iterator[Tensor]:
    """The scales of a model's norms; nothing else is read."""
    from safetensors import safe_open

    from rung.models.language.folder import opened

    try:
        files = opened(folder).weights
    except DataError:
        return  # the plan says why when it counts the weights
    for file in files:
        with safe_open(file, framework="pt") as held:
            for name in held.keys():  # noqa: SIM118 - no mapping
                if ("norm" in name or "ln_" in name) and name.endswith("weight"):
                    yield held.get_tensor(name)
