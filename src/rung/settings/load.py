"""Settings from their layers: recipe, file, named flags, `--set`. Every problem is found before any is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rung.settings.command_line import Assignment, read_assignments, read_flags, read_rewards
from rung.settings.given import NOWHERE, Given, Origin, given, plain
from rung.settings.layers import merged, read_file, usable
from rung.settings.messages import keys_of
from rung.settings.paths import anchored
from rung.settings.reading import Reading, placed
from rung.settings.recipes import NONE, read_recipe
from rung.settings.schema import SAMPLES, EvalSettings, PairsSettings, Section, Settings, SFTSettings

FEW_STEPS = 64
"""A rollout of fewer steps than this needs many environments."""
Flags = Mapping[str, object]
S = TypeVar("S", bound=Section)


def read_run(
    *,
    recipe: str | None = None,
    config: Path | None = None,
    flags: Flags | None = None,
    rewards: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Reading[Settings]:
    """A run's settings. Later layers win: recipe, `config`, `flags` and `rewards`, `sets`.

    The model `tiny` brings the recipe `tiny`, unless another recipe or `none` is named.

    >>> read_run(flags={"model": "tiny", "method": "grpo", "task": "arithmetic"}, sets=["steps=5"]).settings.steps
    5
    """
    problems: list[str] = []
    more: list[str] = []
    file = _file(config, more)
    first = usable([file, read_flags(flags or {}, more), read_rewards(rewards, more)], more)
    keys = run_keys(_named(first, "method"))
    assignments = read_assignments(sets, keys, problems)
    problems += more
    layers = [*first, *usable([one.layer for one in assignments], problems)]
    chosen = recipe or _environments_recipe(layers) or _tinys_recipe(layers) or NONE
    if chosen != NONE:
        from rung.settings.method_layers import fitted

        recipe_layers = usable([read_recipe(chosen, problems)], problems)
        layers = [*(fitted(layer, _named(layers, "method")) for layer in recipe_layers), *layers]
    return _run(layers, keys, problems, _notes(assignments), None if chosen == NONE else chosen)


def _file(config: Path | None, problems: list[str]) -> Given | None:
    """A settings file's layer; its relative paths are looked for beside it first."""
    file = read_file(config, problems) if config is not None else None
    return None if config is None or file is None else anchored(file, config.parent)


def read_sft(
    *, config: Path | None = None, flags: Flags | None = None, sets: Sequence[str] = ()
) -> Reading[SFTSettings]:
    """The settings of `rung sft`. Later layers win: `config`, `flags`, `sets`."""
    problems: list[str] = []
    file = _file(config, problems)
    return _read(SFTSettings, [file, read_flags(flags or {}, problems)], sets, problems)


def read_pairs(
    *,
    config: Path | None = None,
    flags: Flags | None = None,
    rewards: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Reading[PairsSettings]:
    """The settings of `rung pairs`. Later layers win: `config`, `flags` and `rewards`, `sets`."""
    problems: list[str] = []
    file = read_file(config, problems) if config is not None else None
    return _read(
        PairsSettings, [file, read_flags(flags or {}, problems), read_rewards(rewards, problems)], sets, problems
    )


def read_eval(
    *,
    run: Settings | None = None,
    flags: Flags | None = None,
    rewards: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Reading[EvalSettings]:
    """The settings of `rung eval`. Task, limits and seed are the run's, unless `flags` or `sets` say otherwise.

    Its rewards are the run's too where the task is the run's own.
    """
    problems: list[str] = []
    layer = None
    if run is not None:
        body = run.as_data()
        of_run = {key: body[key] for key in ("task", "max_new_tokens", "seed")}
        if of_values(run):
            of_run["temperature"] = run.evaluation.temperature
        layer = given({**of_run, "items": run.evaluation.num_items}, Origin("the run's settings"))
    given_rewards = read_rewards(rewards, problems)
    reading = _read(EvalSettings, [layer, read_flags(flags or {}, problems), given_rewards], sets, problems)
    asked = reading.settings
    if run is None or asked is None or asked.rewards or asked.task.name != run.task.name:
        return reading
    return replace(reading, settings=asked.model_copy(update={"rewards": run.rewards}))


def of_values(run: Settings) -> bool:
    """Whether a run's language model has learnt values, which are no distribution to draw from."""
    from rung.methods import ValueLearning
    from rung.settings.network import SMALL

    return run.model != SMALL and isinstance(run.resolved_method(), ValueLearning)


def _read(schema: type[S], first: Sequence[Given | None], sets: Sequence[str], problems: list[str]) -> Reading[S]:
    """Settings without a method: these layers, lowest first, and the `--set` texts on top."""
    from rung.settings.validate import validated

    keys = list(keys_of(schema))
    assignments = read_assignments(sets, keys, problems)
    notes = _notes(assignments)
    tree = merged(usable([*first, *(one.layer for one in assignments)], problems), notes)
    settings, found = validated(tree, schema, keys)
    problems += [placed(sentence, tree) for _, sentence in found]
    return Reading(settings=None if problems else settings, problems=tuple(problems), tree=tree, notes=tuple(notes))


def read_settings(path: Path) -> Settings:
    """The settings of a run's settings.yaml, or of any complete settings file. SettingsError with every problem."""
    return read_run(recipe=NONE, config=path).required()


def settings_from(data: Mapping[str, Any]) -> Settings:
    """Settings from plain nested data. SettingsError with every problem.

    >>> settings_from({"model": "tiny", "method": "grpo", "task": "arithmetic", "seed": 3}).seed
    3
    """
    return _plain_layers([given(data, NOWHERE)])


def with_whole_paths(settings: Settings, folder: Path) -> Settings:
    """The settings with relative paths that exist under `folder` made absolute, as a run's record keeps them."""
    return settings_from(plain(anchored(given(settings.as_data(), NOWHERE), folder)))


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with other values at dotted keys. SettingsError with every problem."""
    assignments = [Assignment(key, given(value, Origin(key)), key) for key, value in changes.items()]
    return _plain_layers([given(settings.as_data(), NOWHERE), *(one.layer for one in assignments)])


def read_changes(settings: Settings, sets: Sequence[str]) -> dict[str, Any]:
    """`--set` texts for settings that exist, as dotted keys and values.

    SettingsError with every problem, those of the settings that would result included.
    """
    problems: list[str] = []
    keys = run_keys(settings.method.name)
    assignments = read_assignments(sets, keys, problems)
    layers = usable([given(settings.as_data(), NOWHERE), *(one.layer for one in assignments)], problems)
    _run(layers, keys, problems, []).required()
    return {one.key: plain(one.value) for one in assignments}


def run_keys(method: str | None = None) -> list[str]:
    """Every dotted key that a run's settings can have: those of this method's kind included, or of any kind's."""
    from rung.methods import METHODS
    from rung.methods.data import KINDS
    from rung.settings.method_layers import method_keys

    kinds = [type(METHODS[method])] if method in METHODS else KINDS
    return list(dict.fromkeys([*keys_of(Settings), *(key for kind in kinds for key in method_keys(kind))]))


def _plain_layers(layers: Sequence[Given]) -> Settings:
    problems: list[str] = []
    return _run(usable(layers, problems), run_keys(), problems, []).required()


def _run(
    layers: Sequence[Given], keys: Sequence[str], problems: list[str], notes: list[str], recipe: str | None = None
) -> Reading[Settings]:
    from rung.settings.method_layers import read_method
    from rung.settings.validate import validated_run

    method = read_method([layer.value["method"] for layer in layers if "method" in layer.value])
    tree = merged([_without_method(layer) for layer in layers], notes)
    settings, found = validated_run(tree, method, keys)
    tree = Given({**tree.value, "method": method.written}, tree.origin)
    problems = [*problems, *(placed(sentence, tree) for sentence in found)]
    return Reading(
        settings=None if problems else settings,
        problems=tuple(problems),
        tree=tree,
        notes=(*notes, *method.notes),
        recipe=recipe,
    )


def _without_method(layer: Given) -> Given:
    return Given({key: inner for key, inner in layer.value.items() if key != "method"}, layer.origin)


def _named(layers: Sequence[Given], key: str) -> str | None:
    """The model's, method's or task's name, by the highest layer that says one."""
    said = [layer.value[key] for layer in layers if key in layer.value]
    names = [one if isinstance(one.value, str) else one.at("name") for one in said]
    found = [name.value for name in names if name is not None]
    return found[-1] if found and isinstance(found[-1], str) else None


def _environments_recipe(layers: Sequence[Given]) -> str | None:
    """The recipe that an environment brings: for groups, whole episodes, short stretches of many, one for long."""
    from rung.methods import METHODS, PolicyGradient, ValueLearning
    from rung.tasks.cart_pole import NAME
    from rung.tasks.environment import is_atari, looks_like_environment

    task = _named(layers, "task")
    if task == NAME:
        return "trials"
    if task is None or not looks_like_environment(task):
        return None
    method = METHODS.get(_named(layers, "method") or "")
    if isinstance(method, ValueLearning) and is_atari(task):
        return "environment_atari"
    if isinstance(method, ValueLearning):
        return "environment_values_as_published" if "@" in method.name else "environment_values"
    if not isinstance(method, PolicyGradient) or method.horizon is None:
        groups = isinstance(method, PolicyGradient) and method.samples_per_prompt > 1
        return "environment_groups" if groups else "environment_episodes"
    if method.horizon >= FEW_STEPS:
        return "environment"
    return "environment_workers_as_published" if "@" in method.name else "environment_workers"


def _tinys_recipe(layers: Sequence[Given]) -> str | None:
    """The tiny model's recipe; it has other numbers where it learns from pairs, or the values of tokens."""
    from rung.methods import METHODS, PreferenceLearning, ValueLearning

    if _named(layers, "model") != "tiny":
        return None
    method = METHODS.get(_named(layers, "method") or "")
    if isinstance(method, ValueLearning):
        return "tiny_values"
    if not isinstance(method, PreferenceLearning):
        return "tiny"
    sources = [source.value for layer in layers if (source := layer.at("pairs.source")) is not None]
    return "tiny_drawn_pairs" if sources and sources[-1] == SAMPLES else "tiny_pairs"


def _notes(assignments: Sequence[Assignment]) -> list[str]:
    notes = [f"--set {one.typed} means {one.key}" for one in assignments if one.typed != one.key]
    last = {one.key: one for one in assignments}
    notes += [
        f"--set {one.key} is given more than once; the last one counts"
        for one in assignments
        if last[one.key] is not one
    ]
    return list(dict.fromkeys(notes))
