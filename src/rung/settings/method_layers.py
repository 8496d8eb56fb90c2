"""A method's slots as settings: layers laid over the method's own definition, and the tree of its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from rung.errors import SettingsError
from rung.methods import METHODS, Method, unknown
from rung.methods.data import IDENTITY, as_data, classes_by_name, from_data
from rung.methods.data import slots as slots_of
from rung.methods.grpo import GRPO
from rung.methods.ranges import out_of_range
from rung.methods.slots import hints_of, shipped_for
from rung.settings.given import NOWHERE, Given, given, leaves, only_written, overlay, plain, replaced, without
from rung.settings.names import suggestion
from rung.settings.objects import method_text


def read_method(
    layers: Sequence[Given], parts: Sequence[type[Any]] = ()
) -> tuple[Method | None, Given, Given, list[str], list[str]]:
    """The layers of `method`, lowest first, laid over the definition of the method that the highest one names.

    Gives the method, None when it has problems; its name and the slots that somebody wrote; `Settings.method`, which is
    what was written, or all of the user's own method; the problems, sentences that begin with the setting's path; and
    notes on a name that a higher layer replaced.

    A layer that says its `kind` is a definition itself; the other layers lie over it. With an unknown name the other
    keys are still checked, against GRPO: the names of the slots are common to all.
    """
    problems: list[str] = []
    notes: list[str] = []
    named, own = own_definition(layers)
    sound = [_sound(layer, problems) for layer in named]
    name = _name(sound, problems, notes, known=own is not None)
    known = METHODS.get(name) if name is not None and own is None else None
    merged = own or given(as_data(known or GRPO), None)
    for layer in sound:
        merged = overlay(merged, layer, parts=True)
    written = only_written(merged) or Given({})
    data = plain(merged) if own is not None else {**plain(merged), "name": (known or GRPO).name}
    method: Method | None = None
    try:
        problems += out_of_range(data, classes_by_name(parts))
        method = from_data(data, parts)
    except SettingsError as error:
        problems += [_with_hint(problem, data, kind=type(known or GRPO)) for problem in error.problems]
    if method is not None and (known is not None or own is not None):
        problems += method.problems()
    problems = list(dict.fromkeys(problems))
    return None if problems else method, written, written if own is None else merged, problems, notes


def _with_hint(problem: str, data: dict[str, Any], kind: type[Method]) -> str:
    """The sentence about an unknown slot, with what another library's name stands for among the keys of its kind."""
    path, unknown_key, rest = problem.partition(": unknown key; valid")
    if not unknown_key:
        return problem
    hint = suggestion(path.removeprefix("method."), method_keys(kind), keys_in(data))
    return f"{path}: unknown key{hint}; valid{rest}"


def fitted(recipe: Given, method: Method | None) -> Given:
    """The recipe without the slots and numbers that the method does not have, so that one recipe serves them all."""
    if method is None:
        return without(recipe, "method")

    def fits(name: str, content: Given) -> Given | None:
        if name not in slots_of(method) or not isinstance(content.value, dict) or "part" in content.value:
            return content if name in slots_of(method) else None
        part = getattr(method, name)
        known = {field.name for field in fields(part)} if is_dataclass(part) else set[str]()
        numbers = content.holding((key, inner) for key, inner in content.inside() if key in known)
        return numbers if numbers.value else None

    return replaced(recipe, "method", lambda slots: slots.holding((k, fits(k, one)) for k, one in slots.inside()))


def _sound(layer: Given, problems: list[str]) -> Given:
    """The layer less what only describes the method."""
    fixed = {key: inner for key, inner in layer.inside() if key in (*IDENTITY, "kind") and key != "name"}
    for key, inner in fixed.items():
        problems.append(inner.problem(f"method.{key}", "says what the method is and cannot be set"))
    return layer.holding((key, inner) for key, inner in layer.inside() if key not in fixed)


def _name(layers: Sequence[Given], problems: list[str], notes: list[str], *, known: bool) -> str | None:
    """The highest layer's name; it must be one of METHODS where no definition of its own is `known`.

    A layer that names another method is replaced; where it sets slots too, it must not be read as settings of this one.
    """
    names = [layer.value["name"] for layer in layers if "name" in layer.value]
    if not names:
        problems.append(f"method.name: missing; expected one of {', '.join(METHODS)}")
        return None
    name = names[-1].value
    if not isinstance(name, str):
        problems.append(f"method.name: got {plain(names[-1])!r}, expected one of {', '.join(METHODS)}")
    elif name not in METHODS and not known:
        problems.append(f"method.name: {unknown(name)}")
    for layer in layers:
        other = layer.value.get("name")
        if other is None or other.value == name:
            continue
        place = other.origin.place or "the settings" if other.origin is not None else "the method's definition"
        if len(layer.value) == 1:
            notes.append(f"method: {name} replaces {other.value} ({place})")
        else:
            sets = f"{place} sets slots of '{other.value}'; leave one of the two names out"
            problems.append(f"method.name: got '{name}', but {sets}")
    return name if isinstance(name, str) else None


def keys_in(data: dict[str, Any]) -> list[str]:
    """Every dotted key of a method that is given as data: `method.objective.high`, ..."""
    return [f"method.{key}" for key, _ in leaves(given(data, None))]


def method_keys(kind: type[Any]) -> list[str]:
    """Every dotted key that a method of this kind can have: `method.objective`, `method.objective.high`, ..."""
    return list(dict.fromkeys(["method", "method.name", *_keys_of(kind, "method")]))


def _keys_of(cls: Any, path: str) -> Iterator[str]:
    for name, hint in hints_of(cls).items():
        if name in IDENTITY:
            continue
        yield f"{path}.{name}"
        parts = shipped_for(hint)
        if parts:
            yield f"{path}.{name}.part"
        for part in parts:
            yield from _keys_of(part, f"{path}.{name}")


def definition(layers: Sequence[Given], parts: Sequence[type[Any]] = ()) -> Method | None:
    """The definition of the method that the highest layer names; None where there is no such method."""
    said = [layer.value["method"] for layer in layers if "method" in layer.value]
    named = [layer for layer in said if "name" in layer.value]
    if not named:
        return None
    if "kind" not in named[-1].value:
        name = named[-1].value["name"].value
        return METHODS.get(name) if isinstance(name, str) else None
    try:
        return from_data(plain(named[-1]), parts)
    except SettingsError:  # told by read_method
        return None


def with_own_methods(layer: Given, methods: Mapping[str, Method]) -> Given:
    """The layer, in which the name of a method that was handed in is replaced by what the method is."""
    name = layer.at("method.name")
    if name is None or not isinstance(name.value, str) or name.value not in methods:
        return layer
    text = given(method_text(methods[name.value]), NOWHERE)
    slots = without(layer.value["method"], "name")
    return Given({**layer.value, "method": overlay(text, slots, parts=True)}, layer.origin)


def own_definition(layers: Sequence[Given]) -> tuple[list[Given], Given | None]:
    """The layers without the whole definition of the user's own method, and that definition; None: rung ships it.

    The name, and the slots that differ from the parent's, stay among the layers: the user chose them, so they count
    more than a recipe. Of a definition that a higher layer's name replaces, only its name stays.
    """
    at = max((index for index, layer in enumerate(layers) if "name" in layer.value), default=None)
    if at is None:
        return list(layers), None
    below_it = [Given({"name": one.value["name"]}, one.origin) if "kind" in one.value else one for one in layers[:at]]
    layers = [*below_it, *layers[at:]]
    if "kind" not in layers[at].value:
        return layers, None
    own = layers[at]
    below = given(plain(own), None) if own.origin == NOWHERE else own
    parent = own.value.get("parent")
    of = METHODS.get(parent.value) if parent is not None and isinstance(parent.value, str) else None
    inherited = as_data(of) if of is not None else {}
    slots = {key: inner for key, inner in own.value.items() if key not in (*IDENTITY, "kind")}
    chosen = {key: inner for key, inner in slots.items() if key not in inherited or inherited[key] != plain(inner)}
    named = Given({"name": own.value["name"], **chosen}, own.origin)
    return [*layers[:at], named, *layers[at + 1 :]], below
