"""The layers of settings: files and recipes are read, cleaned, and laid over each other.

Relative paths in them are looked up where they were given, wherever the run is resumed later; `~` is home.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from rung.errors import did_you_mean
from rung.settings.former import renewed
from rung.settings.given import Given, overlay, plain, without
from rung.settings.objects import TASKS_OWN
from rung.settings.section import shortened
from rung.settings.yaml_text import read_yaml

_MADE_HERE = ("tiny", "small")
"""Models that are no path, even where a folder has such a name."""
_DATA = (".jsonl", ".parquet")
NONE = "none"
"""`--recipe none`: not even an automatic one."""


def recipe_names() -> list[str]:
    """The names of all recipes."""
    found = (file.name for file in files("rung.recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def read_recipe(name: str, problems: list[str]) -> Given | None:
    """The recipe's settings with their lines; None, with a sentence in `problems`, when there is no such recipe."""
    names = recipe_names()
    if name not in names:
        problems.append(f"--recipe: got '{name}'{did_you_mean(name, names)}; valid: {', '.join([*names, NONE])}")
        return None
    text = files("rung.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return read_yaml(text, f"recipe {name}", problems)


def read_file(path: Path, problems: list[str]) -> Given | None:
    """A YAML file's values with their lines; None, with a sentence in `problems`, when it cannot be read."""
    if path.suffix.lower() == ".toml":
        problems.append(f"{path}: got a TOML file, expected YAML: write `key = value` as `key: value`, tables indented")
        return None
    try:
        return read_yaml(path.read_text(encoding="utf-8-sig"), str(path), problems)
    except UnicodeDecodeError as error:
        problems.append(f"{path}: byte {error.start} is not UTF-8, expected a text file")
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
    return None


def usable(layers: Iterable[Given | None], problems: list[str]) -> list[Given]:
    """The layers that hold keys, less the values that are no data: NaN, infinities, dates; `grpo@paper` as `grpo`, and
    `~` as the home folder."""
    kept: list[Given] = []
    for layer in layers:
        if layer is None or layer.value is None:
            continue
        if isinstance(layer.value, dict):
            kept.append(_with_own_name(anchored(renewed(_finite(layer, "", problems)), None)))
        else:
            place = layer.origin.place if layer.origin is not None else "settings"
            problems.append(f"{place}: got {shortened(plain(layer))}, expected keys with values")
    return kept


def _with_own_name(layer: Given) -> Given:
    """The layer, in which `method: grpo@paper` is `method: {name: grpo}`."""
    written = layer.value.get("method")
    if written is None:
        return layer
    from rung.methods import own_name

    slots = written.value if isinstance(written.value, dict) else {"name": written}
    name = slots.get("name")
    if name is not None and isinstance(name.value, str):
        slots = {**slots, "name": Given(own_name(name.value), name.origin)}
    return Given({**layer.value, "method": Given(slots, written.origin)}, layer.origin)


def _finite(value: Given, path: str, problems: list[str]) -> Given:
    if isinstance(value.value, dict):
        inside = {key: _finite(inner, f"{path}.{key}".lstrip("."), problems) for key, inner in value.value.items()}
        return Given({key: inner for key, inner in inside.items() if inner is not _NOTHING}, value.origin)
    if isinstance(value.value, list):
        inside_list = [_finite(inner, f"{path}.{index}", problems) for index, inner in enumerate(value.value)]
        return Given([inner for inner in inside_list if inner is not _NOTHING], value.origin)
    if isinstance(value.value, float) and not math.isfinite(value.value):
        problems.append(value.problem(path, f"got {value.value}, expected a finite number"))
        return _NOTHING
    if not isinstance(value.value, str | int | float | None):
        problems.append(value.problem(path, f"got a {type(value.value).__name__}, expected text: write it in quotes"))
        return _NOTHING
    return value


_NOTHING = Given(None)


def merged(layers: Sequence[Given], notes: list[str]) -> Given:
    """All layers as one tree, the last one on top."""
    tree = Given({})
    for layer in layers:
        tree = _laid_over(tree, layer, notes)
    return tree


def _laid_over(tree: Given, layer: Given, notes: list[str]) -> Given:
    """`overlay`, but a task of another name keeps none of the old task's options; `task: NAME` is its name."""
    task = layer.value.get("task")
    if task is None:
        return overlay(tree, layer)
    if isinstance(task.value, str):
        task = Given({"name": task}, task.origin)
        layer = Given({**layer.value, "task": task}, layer.origin)
    old, new = tree.at("task.name"), task.at("name")
    if old is not None and new is not None and old.value != new.value:
        options = [name for name in tree.value["task"].value if name != "name"]
        if options:
            notes.append(f"task: {', '.join(options)} of '{old.value}' left out, because the task is '{new.value}'")
        tree = without(tree, "task")
    return overlay(tree, layer)


def anchored(tree: Given, folder: Path | None) -> Given:
    """The tree of settings with each relative path that exists under `folder` made absolute, and `~` replaced.

    None: only `~` is replaced.

    Paths are the task where it is a data file, its `held_out_file`, the files and folders of rewards, and `model` and
    `teacher` where they name something there: a hub id looks like a path too.
    """
    if not isinstance(tree.value, dict):
        return tree
    changed = dict(tree.value)
    for key in changed.keys() & {"model", "teacher"}:
        if changed[key].value not in _MADE_HERE:
            changed[key] = _whole(changed[key], folder)
    if "task" in changed:
        changed["task"] = _task(changed["task"], folder)
    rewards = changed.get("rewards")
    if rewards is not None and isinstance(rewards.value, list | str):
        listed = rewards.value if isinstance(rewards.value, list) else [rewards]
        changed["rewards"] = Given([_reward(part, folder) for part in listed], rewards.origin)
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
