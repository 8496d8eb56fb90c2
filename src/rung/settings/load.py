"""Settings from their layers: recipe, file, named flags, `--set`. Every problem is found before any is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rung.settings.given import NOWHERE, Given, Origin, Reading, S, given, leaves, nested, placed, plain, read_yaml
from rung.settings.layers import (
    NONE,
    Parts,
    anchored,
    merged,
    read_file,
    read_layers,
    read_recipe,
    run_keys,
    settled,
    usable,
)
from rung.settings.names import ELSEWHERE, suggestion, todays
from rung.settings.objects import taken_apart
from rung.settings.schema import SAMPLES, EvalSettings, PairsSettings, Settings, SFTSettings
from rung.settings.section import keys_of

if TYPE_CHECKING:
    from rung.methods import Method


Flags = Mapping[str, object]
ADAPTED = "adapted"
"""Begins the note on what was changed because of a run's sizes."""


class Adapted(Protocol):
    """Settings that take the place of a definition's numbers, and why."""

    @property
    def values(self) -> Mapping[str, Any]: ...
    def words(self) -> str: ...


class Kinds(Protocol):
    """The kinds of methods, which stand above the settings: the recipes they bring, and what cannot go together."""

    def recipe_for(
        self, method: Method | None, *, model: str | None, task: str | None, draws_pairs: bool
    ) -> str | None:
        """The recipe that these names bring by themselves."""

    def adapted(self, settings: Settings, method: Method, written: Container[str]) -> Iterable[Adapted]:
        """Numbers of the method's definition that cannot work at these sizes; none that is `written`."""

    def problems(self, settings: Settings, method: Method | None) -> Iterator[str]:
        """Settings that are each valid and cannot go together; `method` None: it has problems of its own."""


def read_run(
    *,
    recipe: str | None = None,
    config: Path | None = None,
    flags: Flags | None = None,
    rewards: Sequence[str] = (),
    sets: Sequence[str] = (),
    kinds: Kinds | None = None,
    parts: Parts = (),
    methods: Mapping[str, Method] | None = None,
) -> Reading[Settings]:
    """A run's settings. Later layers win: recipe, `config`, `flags` and `rewards`, `sets`.

    Args:
        recipe: packaged settings below all others; None: those that go with the model and the task; `none`: the
            method's definition as it is, adapted to nothing.
        kinds: bring recipes by the names of method, model and task, and know what cannot go together.
        parts: classes of the user's own parts, which may fill slots.
        methods: the user's own methods, by the name under which the layers speak of them.

    >>> read_run(flags={"model": "tiny", "method": "grpo", "task": "arithmetic"}, sets=["steps=5"]).settings.steps
    5
    """
    problems: list[str] = []
    more: list[str] = []
    file = read_file(config, more)
    first = usable([file, read_flags(flags or {}, more), read_rewards(rewards, more)], more)
    from rung.methods.data import own_classes

    own = methods or {}
    parts = [*parts, *(part for method in own.values() for part in own_classes(method))]
    keys = run_keys(Settings, _named(first, "method"))
    assignments = read_assignments(sets, keys, problems, _own_keys(first, own, parts))
    problems += more
    layers = [*first, *usable([one.layer for one in assignments], problems)]
    return _over_recipe(layers, recipe, keys, problems, _notes(assignments), parts, own, kinds)


def settings_of(
    keywords: Mapping[str, Any], recipe: str | None = None, *, parts: Parts = (), kinds: Kinds | None = None
) -> Reading[Settings]:
    """A run's settings from Python, over the recipe that the command line would take.

    Keywords are settings: `steps=5`, `evaluation={"every": 1}`, or the unique end of one, `learning_rate=1e-4`.
    `settings` holds more of them by dotted keys, or is a whole Settings, over which the other keywords lie and no
    recipe is laid. Objects stand in the result by name (see `rung.settings.objects`).

    >>> settings_of({"model": "tiny", "method": "grpo", "task": "arithmetic", "num_items": 5}).notes
    ('num_items means evaluation.num_items',)
    """
    problems: list[str] = []
    notes: list[str] = []
    more = keywords.get("settings") or {}
    below: Settings | None = None
    if isinstance(more, Settings):
        below, more, recipe = more, {}, NONE
        parts = [*parts, *below.method.parts]
    elif not isinstance(more, Mapping):
        problems.append(f"settings: got {more!r}, expected a Settings, or values by dotted keys")
        more = {}
    data, objects = taken_apart({key: value for key, value in keywords.items() if key != "settings"}, parts)
    further, more_objects = taken_apart(more, objects.parts)
    method = data.get("method", further.get("method"))
    keys = run_keys(Settings, method if isinstance(method, str) else None)
    layers = [] if below is None else [given(below.as_data(), NOWHERE)]
    own = _own_keys([*layers, *([Given({"method": given(method, NOWHERE)})] if method else [])], {}, more_objects.parts)
    for typed, value in [*data.items(), *further.items()]:
        key = whole_key(todays(typed), keys, problems, typed, own)
        if key is not None:
            layers.append(Assignment(key, given(value, NOWHERE), typed).layer)
            notes += [f"{typed} means {key}"] if key != typed else []
    return _over_recipe(usable(layers, problems), recipe, keys, problems, notes, more_objects.parts, {}, kinds)


def _over_recipe(
    layers: Sequence[Given],
    recipe: str | None,
    keys: Sequence[str],
    problems: list[str],
    notes: list[str],
    parts: Parts,
    methods: Mapping[str, Method],
    kinds: Kinds | None,
) -> Reading[Settings]:
    """The layers over the recipe that was named, or that the task or the model brings."""
    from rung.settings.method_layers import definition, fitted, with_own_methods

    layers = [with_own_methods(layer, methods) for layer in layers]
    method = definition(layers, parts)
    sources = [source.value for layer in layers if (source := layer.at("pairs.source")) is not None]
    named = {"model": _named(layers, "model"), "task": _named(layers, "task")}
    drawn = sources[-1:] == [SAMPLES]
    brought = None if kinds is None else kinds.recipe_for(method, **named, draws_pairs=drawn)
    chosen = recipe or brought or NONE
    if chosen != NONE:
        recipe_layers = usable([read_recipe(chosen, problems)], problems)
        layers = [*(fitted(layer, method) for layer in recipe_layers), *layers]
    if kinds is not None and recipe != NONE:
        layers = [*_adapted(layers, keys, parts, kinds, notes), *layers]
    reading = read_layers(Settings, layers, keys, problems, notes, parts=parts, contradictions=kinds and kinds.problems)
    return reading if chosen == NONE else replace(reading, recipe=chosen)


def _adapted(
    layers: Sequence[Given], keys: Sequence[str], parts: Parts, kinds: Kinds, notes: list[str]
) -> Iterator[Given]:
    """The lowest layers: what these sizes ask for in place of the definition's own numbers. Each is told in `notes`."""
    reading = read_layers(Settings, layers, keys, parts=parts)
    if reading.settings is None:
        return
    written = {key for key, value in leaves(reading.tree) if value.origin is not None}
    for one in kinds.adapted(reading.settings, reading.settings.resolved_method(), written):
        notes.append(f"{ADAPTED}: {one.words()}")
        for key, value in one.values.items():
            yield given(nested(key, value), Origin("the sizes of this run"))


def read_command(
    schema: type[S],
    *,
    below: Given | None = None,
    config: Path | None = None,
    flags: Flags | None = None,
    rewards: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Reading[S]:
    """The settings of a command that has no method. Later layers win: `below`, `config`, `flags` and `rewards`,
    `sets`."""
    problems: list[str] = []
    first = [below, read_file(config, problems), read_flags(flags or {}, problems), read_rewards(rewards, problems)]
    keys = list(keys_of(schema))
    assignments = read_assignments(sets, keys, problems)
    notes = _notes(assignments)
    tree = merged(usable([*first, *(one.layer for one in assignments)], problems), notes)
    settings, found = schema.checked(plain(tree), keys)
    problems += [placed(sentence, tree) for _, sentence in found]
    return Reading(settings=None if problems else settings, problems=tuple(problems), tree=tree, notes=tuple(notes))


read_sft = partial(read_command, SFTSettings)
read_pairs = partial(read_command, PairsSettings)


def read_eval(
    *,
    run: Settings | None = None,
    values: bool = False,
    flags: Flags | None = None,
    rewards: Sequence[str] = (),
    sets: Sequence[str] = (),
) -> Reading[EvalSettings]:
    """The settings of `rung eval`. Task, limits and seed are the run's, unless `flags` or `sets` say otherwise.

    Its rewards are the run's too where the task is the run's own. `values`: the run's model gives values, which are no
    distribution to draw from, so it is evaluated as in the run.
    """
    layer = None
    if run is not None:
        body = run.as_data()
        of_run = {key: body[key] for key in ("task", "max_new_tokens", "seed", "tools", "turns")}
        if values:
            of_run["temperature"] = run.evaluation.temperature
        layer = given({**of_run, "items": run.evaluation.num_items}, Origin("the run's settings"))
    reading = read_command(EvalSettings, below=layer, flags=flags, rewards=rewards, sets=sets)
    asked = reading.settings
    if run is None or asked is None or asked.rewards or asked.task.name != run.task.name:
        return reading
    rewarding = asked.rewarding
    if rewarding.accuracy is None:
        rewarding = rewarding.model_copy(update={"accuracy": run.rewarding.accuracy})
    return replace(reading, settings=asked.model_copy(update={"rewards": run.rewards, "rewarding": rewarding}))


def read_settings(path: Path, parts: Parts = ()) -> Settings:
    """The settings of a run's settings.yaml, or of any complete settings file. SettingsError with every problem."""
    return read_run(recipe=NONE, config=path, parts=parts).required()


def settings_from(data: Mapping[str, Any], parts: Parts = ()) -> Settings:
    """Settings from plain nested data. SettingsError with every problem. `parts`: classes of the user's own parts.

    >>> settings_from({"model": "tiny", "method": "grpo", "task": "arithmetic", "seed": 3}).seed
    3
    """
    return settled(Settings, [data], parts)


def with_whole_paths(settings: Settings, folder: Path) -> Settings:
    """The settings with relative paths that exist under `folder` made absolute, as a run's record keeps them."""
    return settings_from(plain(anchored(given(settings.as_data(), NOWHERE), folder)), settings.method.parts)


def read_changes(settings: Settings, sets: Sequence[str], kinds: Kinds | None = None) -> dict[str, Any]:
    """`--set` texts for settings that exist, as dotted keys and values.

    SettingsError with every problem, those of the settings that would result included.
    """
    problems: list[str] = []
    keys = run_keys(Settings, settings.method.name)
    assignments = read_assignments(sets, keys, problems)
    layers = usable([given(settings.as_data(), NOWHERE), *(one.layer for one in assignments)], problems)
    read_layers(
        Settings, layers, keys, problems, parts=settings.method.parts, contradictions=kinds and kinds.problems
    ).required()
    return {one.key: plain(one.value) for one in assignments}


def _named(layers: Sequence[Given], key: str) -> str | None:
    """The model's, method's or task's name, by the highest layer that says one."""
    said = [layer.value[key] for layer in layers if key in layer.value]
    names = [one if isinstance(one.value, str) else one.at("name") for one in said]
    found = [name.value for name in names if name is not None]
    return found[-1] if found and isinstance(found[-1], str) else None


def _own_keys(layers: Sequence[Given], methods: Mapping[str, Method], parts: Parts) -> list[str]:
    """The keys that the method has as these layers define it, its own parts' numbers among them; none: not known."""
    from rung.methods.data import as_data
    from rung.settings.method_layers import definition, keys_in, with_own_methods

    method = definition([with_own_methods(layer, methods) for layer in usable(layers, [])], parts)
    return [] if method is None else keys_in(as_data(method))


def _notes(assignments: Sequence[Assignment]) -> list[str]:
    notes = [f"--set {one.typed} means {one.key}" for one in assignments if one.typed != one.key]
    often = [key for key, count in Counter(one.key for one in assignments).items() if count > 1]
    notes += [f"--set {key} is given more than once; the last one counts" for key in often]
    return list(dict.fromkeys(notes))


NAMES = ("method", "model", "task")
"""Flags whose text is a name, even where it looks like a number."""


@dataclass(frozen=True)
class Assignment:
    """One `--set`. Example: `--set learning_rate=1e-4` has key `method.optimizer.learning_rate`."""

    key: str
    """The whole dotted key."""
    value: Given
    typed: str
    """The key as the user wrote it."""

    @property
    def layer(self) -> Given:
        """The assignment as a tree, to be laid over others."""
        return given(nested(self.key, self.value), self.value.origin)


def read_assignments(
    texts: Sequence[str], keys: Sequence[str], problems: list[str], own: Sequence[str] = ()
) -> list[Assignment]:
    """`--set` texts in their order. Values are YAML scalars (or lists, or mappings), `1e-5` is a number.

    A key that is no setting from the top may be the end of exactly one: `learning_rate` is then
    `method.optimizer.learning_rate`; `own` are the keys that the method has as it is.
    Adds a sentence to `problems` for every text that cannot be read.
    """
    found: list[Assignment] = []
    for text in texts:
        typed, equals, written = text.partition("=")
        typed = typed.strip()
        source = f"--set {typed}"
        if not equals or not typed:
            problems.append(f"--set: got '{text}', expected KEY=VALUE such as steps=50")
        elif not written.strip():
            problems.append(f"{source}: got no value after '='; to empty a setting write {typed}=null")
        else:
            key = whole_key(todays(typed), keys, problems, source, own)
            value = read_yaml(written, source, problems, with_lines=False)
            found += [Assignment(key, value, typed)] if key is not None and value is not None else []
    return found


def whole_key(typed: str, keys: Sequence[str], problems: list[str], source: str, own: Sequence[str] = ()) -> str | None:
    """The dotted key that one means by its unique end; None with a sentence in `problems`, after the `source`."""
    top = {key.partition(".")[0] for key in keys}
    if typed.partition(".")[0] in top:
        return typed
    candidates = [key for key in dict.fromkeys([*keys, *own]) if key.endswith(f".{typed}")]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        hint = suggestion(typed, keys, own) if typed in ELSEWHERE else ""
        problems.append(f"{source}: could be any of {', '.join(candidates)}; write the whole key{hint}")
        return None
    slot, dot, number = typed.partition(".")
    if dot and f"method.{slot}" in keys:  # of a part of one's own
        return f"method.{slot}.{number}"
    valid = f"{', '.join(sorted(top))} and what they hold (an option of the task is task.OPTION)"
    problems.append(f"{source}: unknown key{suggestion(typed, keys, own)}; valid: {valid}")
    return None


def read_rewards(texts: Sequence[str], problems: list[str]) -> Given | None:
    """The `--reward` flags as a layer; None when there are none. They replace a file's `rewards`."""
    parts: list[Given] = []
    for text in texts:
        function, equals, written = text.rpartition("=")
        origin, part = Origin(f"--reward {text}"), {"function": function if equals else text}
        if equals:
            weight = read_yaml(written, origin.source, problems, with_lines=False)
            part["weight"] = weight or Given(written, origin)
        parts.append(given(part, origin))
    return Given({"rewards": Given(parts, Origin("--reward"))}) if parts else None


def read_flags(flags: Mapping[str, object], problems: list[str]) -> Given:
    """The named flags that were given, as a layer: `{"seed": "3"}` is `--seed 3`, `{"method": ...}` the argument.

    Names of models, methods and tasks are text as it stands; the others are read like the values of `--set`. What is
    no text, as in `{"seed": 3}` from Python, is the value itself.
    """
    inside: dict[str, Given] = {}
    for key, text in flags.items():
        if text is None:
            continue
        origin = Origin("METHOD" if key == "method" else f"--{key.replace('_', '-')}")
        as_it_is = not isinstance(text, str) or key in NAMES
        value = given(text, origin) if as_it_is else read_yaml(text, origin.source, problems, with_lines=False)
        if value is not None:
            inside[key] = Given(value.value, origin)
    return Given(inside)
