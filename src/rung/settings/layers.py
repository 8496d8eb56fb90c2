"""The layers of settings: files and recipes are read, cleaned, and laid over each other.

Relative paths in them are looked up where they were given, wherever the run is resumed later; `~` is home.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import did_you_mean
from rung.settings.given import NOWHERE, Given, Reading, S, given, overlay, placed, plain, read_yaml, replaced, without
from rung.settings.names import FORMER
from rung.settings.objects import TASKS_OWN, MethodSettings
from rung.settings.section import Section, keys_of, shortened

if TYPE_CHECKING:
    from rung.methods import Method


_MADE_HERE = ("tiny", "small")
"""Models that are no path, even where a folder has such a name."""
_DATA = (".jsonl", ".parquet")
NONE = "none"
"""`--recipe none`: not even an automatic one."""


def recipe_names() -> list[str]:
    """The names of all recipes."""
    return sorted(file.name[:-5] for file in files("rung.recipes").iterdir() if file.name.endswith(".yaml"))


def read_recipe(name: str, problems: list[str]) -> Given | None:
    """The recipe's settings with their lines; None, with a sentence in `problems`, when there is no such recipe."""
    names = recipe_names()
    if name not in names:
        problems.append(f"--recipe: got '{name}'{did_you_mean(name, names)}; valid: {', '.join([*names, NONE])}")
        return None
    text = files("rung.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return read_yaml(text, f"recipe {name}", problems)


def read_file(path: Path | None, problems: list[str]) -> Given | None:
    """A YAML file's values with their lines; its relative paths are looked for beside it first. None, with a sentence
    in `problems`, when it cannot be read."""
    if path is None:
        return None
    if path.suffix.lower() == ".toml":
        problems.append(f"{path}: got a TOML file, expected YAML: write `key = value` as `key: value`, tables indented")
        return None
    try:
        read = read_yaml(path.read_text(encoding="utf-8-sig"), str(path), problems)
        return None if read is None else anchored(read, path.parent)
    except UnicodeDecodeError as error:
        problems.append(f"{path}: byte {error.start} is not UTF-8, expected a text file")
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
    return None


def usable(layers: Iterable[Given | None], problems: list[str]) -> list[Given]:
    """The layers that hold keys, with today's names, less the values that are no data: NaN, infinities, dates;
    `grpo@paper` as `grpo`, and `~` as the home folder."""
    kept: list[Given] = []
    for layer in layers:
        if layer is None or layer.value is None:
            continue
        if isinstance(layer.value, dict):
            kept.append(_with_own_name(anchored(_renewed(_finite(layer, "", problems) or layer), None)))
        else:
            place = layer.origin.place if layer.origin is not None else "settings"
            problems.append(f"{place}: got {shortened(plain(layer))}, expected keys with values")
    return kept


def _renewed(layer: Given) -> Given:
    """A key that stands under both names keeps the former one, which is then refused."""
    for path, name in FORMER.items():
        parent, _, last = path.rpartition(".")

        def renamed(holder: Given, last: str = last, name: str = name) -> Given:
            if not isinstance(holder.value, dict) or name in holder.value:
                return holder
            return holder.holding((name if key == last else key, inner) for key, inner in holder.inside())

        layer = replaced(layer, parent, renamed) if parent else renamed(layer)
    return layer


def _with_own_name(layer: Given) -> Given:
    """The layer, in which `method: grpo@paper` is `method: {name: grpo}`."""
    if "method" not in layer.value:
        return layer
    from rung.methods import own_name

    def own(name: Given) -> Given:
        return Given(own_name(name.value), name.origin) if isinstance(name.value, str) else name

    layer = replaced(layer, "method", lambda m: m if isinstance(m.value, dict) else Given({"name": m}, m.origin))
    return replaced(layer, "method.name", own)


def _finite(value: Given, path: str, problems: list[str]) -> Given | None:
    if isinstance(value.value, dict | list):
        inside = value.inside()
        return value.holding((key, _finite(inner, f"{path}.{key}".lstrip("."), problems)) for key, inner in inside)
    if isinstance(value.value, float) and not math.isfinite(value.value):
        problems.append(value.problem(path, f"got {value.value}, expected a finite number"))
    elif not isinstance(value.value, str | int | float | None):
        problems.append(value.problem(path, f"got a {type(value.value).__name__}, expected text: write it in quotes"))
    else:
        return value
    return None


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

    def data(name: Given) -> Given:
        return _whole(name, folder) if isinstance(name.value, str) and name.value.endswith(_DATA) else name

    def model(name: Given) -> Given:
        return name if name.value in _MADE_HERE else _whole(name, folder)

    for path in ("task", "task.name", "task.held_out_file"):
        tree = replaced(tree, path, data)
    tree = replaced(replaced(tree, "model", model), "teacher", model)
    return replaced(tree, "rewards", lambda listed: _rewards(listed, folder))


def _rewards(listed: Given, folder: Path | None) -> Given:
    if not isinstance(listed.value, list | str):
        return listed

    def whole(function: Given) -> Given:
        if not isinstance(function.value, str) or function.value == TASKS_OWN:
            return function
        file, _, name = function.value.rpartition(":")
        text = _whole(Given(file or function.value), folder).value
        return Given(f"{text}:{name}" if file else text, function.origin)

    parts = listed.value if isinstance(listed.value, list) else [listed]
    parts = [Given({"function": one}, one.origin) if isinstance(one.value, str) else one for one in parts]
    return Given([replaced(part, "function", whole) for part in parts], listed.origin)


def _whole(path: Given, folder: Path | None) -> Given:
    if not isinstance(path.value, str):
        return path
    whole = os.path.expanduser(path.value) if path.value.startswith("~") else path.value  # noqa: PTH111  no RuntimeError
    if folder is not None and not os.path.isabs(whole) and (folder / whole).exists():  # noqa: PTH117
        whole = str((folder / whole).resolve())
    return Given(whole, path.origin)


Parts = Sequence[type[Any]]
Contradictions = Callable[[Any, "Method | None"], Iterable[str]]
"""Sentences about settings that are each valid and cannot go together; the method is None where it has problems."""


def run_keys(schema: type[Section], method: str | None = None) -> list[str]:
    """Every dotted key that a run's settings can have: those of this method's kind included, or of any kind's."""
    from rung.methods import METHODS
    from rung.methods.data import KINDS
    from rung.settings.method_layers import method_keys

    kinds = [type(METHODS[method])] if method in METHODS else KINDS
    return list(dict.fromkeys([*keys_of(schema), *(key for kind in kinds for key in method_keys(kind))]))


def settled(schema: type[S], layers: Iterable[Mapping[str, Any]], parts: Parts = ()) -> S:
    """The settings that these layers of plain data make, lowest first. SettingsError with every problem."""
    problems: list[str] = []
    trees = usable([given(layer, NOWHERE) for layer in layers], problems)
    return read_layers(schema, trees, run_keys(schema), problems, parts=parts).required()


def read_layers(
    schema: type[S],
    layers: Sequence[Given],
    keys: Sequence[str],
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
    *,
    parts: Parts = (),
    contradictions: Contradictions | None = None,
) -> Reading[S]:
    """What the layers say, lowest first. `problems` and `notes` were found on the way here.

    Contradictions are looked for even when some keys are wrong: among the others, with defaults in place of the
    wrong ones, and only those are told that do not concern a wrong key.
    """
    from rung.settings.method_layers import read_method

    notes = list(notes)
    slots = [layer.value["method"] for layer in layers if "method" in layer.value]
    method, written, whole, wrong_slots, more = read_method(slots, parts)
    tree = merged([without(layer, "method") for layer in layers], notes)
    chosen = MethodSettings.model_validate({"name": "grpo"} if method is None else plain(whole)).with_parts(parts)
    settings, wrong = schema.checked({**plain(tree), "method": chosen}, keys)
    found, paths = [*(sentence for _, sentence in wrong), *wrong_slots], [path for path, _ in wrong]
    rest = settings or _salvaged(schema, tree, chosen, paths, keys)
    if rest is not None and contradictions is not None:
        found += [one for one in contradictions(rest, method) if not _concerns(one, paths)]
    tree = Given({**tree.value, "method": written}, tree.origin)
    problems = [*problems, *(placed(sentence, tree) for sentence in found)]
    said = (*notes, *more)
    return Reading(settings=None if problems else settings, problems=tuple(problems), tree=tree, notes=said)


def _salvaged(
    schema: type[S], body: Given, method: MethodSettings, wrong: Sequence[str], keys: Sequence[str]
) -> S | None:
    """The settings with defaults, or a stand-in where there is none, in place of what is wrong."""
    for path in sorted(wrong, reverse=True):
        body = without(body, path)
    for name, needed in (("model", "model"), ("task", "task.name")):
        if body.at(needed) is None:
            body = Given({**body.value, name: Given("?")}, body.origin)
    return schema.checked({**plain(body), "method": method}, keys)[0]


def _concerns(problem: str, wrong: Sequence[str]) -> bool:
    """Whether a contradiction mentions a setting that is wrong already."""
    words = problem.replace(":", " ").replace(",", " ").split()
    return any(path and (path in words or problem.startswith(f"{path}.")) for path in wrong)
