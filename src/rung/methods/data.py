"""Methods as plain data: to JSON and back, slot by slot, with every problem named at once.

A part is written `{"part": "ClippedSurrogate", "low": 0.2, "high": 0.28}`. What can be named are the slot's shipped
parts and the classes that the caller hands in, so nothing is ever imported by a name found in a file.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, cast

from rung.errors import SettingsError, did_you_mean
from rung.methods.adaptive_elements import AdaptiveElements
from rung.methods.kind import Method
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.preference_learning import PreferenceLearning
from rung.methods.slots import SHIPPED, choices, hints_of, protocol_of, shipped_for
from rung.methods.value_learning import ValueLearning

Classes = Mapping[str, type[Any]]
"""Parts by name."""

KINDS: tuple[type[Method], ...] = (PolicyGradient, AdaptiveElements, ValueLearning, PreferenceLearning)
"""Every shipped kind of method; a method's data names its kind."""
IDENTITY = tuple(f.name for f in fields(Method))
"""Fields that say what a method is called; every other field is a slot."""


def slots(method: Method) -> list[str]:
    """The names of a method's slots, in the order of its definition."""
    return [f.name for f in fields(method) if f.name not in IDENTITY]


def as_data(value: Any) -> Any:
    """A method or a part as JSON-like data.

    >>> from rung.methods.parts.objectives import ClippedSurrogate
    >>> as_data(ClippedSurrogate())
    {'part': 'ClippedSurrogate', 'low': 0.2, 'high': 0.2, 'dual': None}
    """
    if isinstance(value, tuple):
        return [as_data(item) for item in cast("tuple[Any, ...]", value)]
    if not is_dataclass(value):
        return value
    content = {f.name: as_data(getattr(value, f.name)) for f in fields(value)}
    return {"kind" if isinstance(value, Method) else "part": type(value).__name__, **content}


def own_parts(parts: Sequence[type[Any]]) -> dict[str, type[Any]]:
    """Handed-in classes by name; SettingsError where two parts would have one name."""
    found: dict[str, type[Any]] = {}
    problems: list[str] = []
    for part in parts:
        name, taken = part.__name__, {**SHIPPED, **found}
        if not is_dataclass(part):
            problems.append(f"parts: got {name}, expected a frozen dataclass: write @dataclass(frozen=True) above it")
        elif taken.get(name, part) is not part:
            problems.append(f"parts: got a class named {name}, the name of another part; give yours a name of its own")
        found[name] = part
    if problems:
        raise SettingsError(problems)
    return found


def classes_by_name(parts: Sequence[type[Any]] = ()) -> dict[str, type[Any]]:
    """Every kind of method, every shipped part and every handed-in one, by name."""
    return {**{kind.__name__: kind for kind in KINDS}, **SHIPPED, **own_parts(parts)}


def from_data(data: Mapping[str, Any], parts: Sequence[type[Any]] = ()) -> Method:
    """The method that `as_data` wrote; data without a kind is a PolicyGradient's.

    Args:
        parts: classes of parts, or of a kind of method, that rung does not ship.

    Raises SettingsError listing every unknown kind, slot, part or type.
    """
    own_kinds = [part for part in parts if issubclass(part, Method)]
    kinds = {kind.__name__: kind for kind in (*KINDS, *own_kinds)}
    kind = data.get("kind", KINDS[0].__name__)
    if not isinstance(kind, str) or kind not in kinds:
        raise SettingsError([f"method.kind: got {kind!r}{did_you_mean(str(kind), kinds)}; valid: {', '.join(kinds)}"])
    reading = _Reading(own_parts([part for part in parts if part not in own_kinds]))
    method = reading.build(kinds[kind], {key: value for key, value in data.items() if key != "kind"}, "method")
    if reading.problems or method is None:
        raise SettingsError(reading.problems)
    return method


def with_settings(method: Method, overrides: Mapping[str, Any], parts: Sequence[type[Any]] = ()) -> Method:
    """The method with some slots set from a user's settings, nested like `as_data`'s result.

    A part's name alone fills a slot with that part's defaults: `{"reference_kl": "KLInLoss"}`; None empties it.
    Raises SettingsError with every problem, each naming the nearest valid name.

    >>> from rung.methods.grpo import GRPO
    >>> with_settings(GRPO, {"objective": {"high": 0.28}}).objective
    ClippedSurrogate(low=0.2, high=0.28, dual=None)
    """
    merged = _merged(cast("dict[str, Any]", as_data(method)), overrides)
    return from_data(merged, [*dict.fromkeys([*own_classes(method), *parts])])


def own_classes(method: Method) -> list[type[Any]]:
    """The classes of a method, of its parts and of their parts that rung does not ship."""
    shipped = classes_by_name()
    return [one for one in dict.fromkeys(_classes_in(method)) if shipped.get(one.__name__) is not one]


def _classes_in(value: Any) -> Iterator[type[Any]]:
    if is_dataclass(value):
        yield cast("type[Any]", type(value))
        for f in fields(value):
            yield from _classes_in(getattr(value, f.name))


def _merged(data: Any, overrides: Any) -> Any:
    if not isinstance(overrides, Mapping):
        return overrides
    given = cast("Mapping[str, Any]", overrides)
    below = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if "part" in below and given.get("part", below["part"]) != below["part"]:
        below = {}
    return {**below, **{key: _merged(below.get(key), value) for key, value in given.items()}}


class _Reading:
    """One reading of data: what may be named, and the problems found so far."""

    def __init__(self, own: Classes) -> None:
        self.own = own
        self.problems: list[str] = []

    def build(self, cls: type[Any], data: Mapping[str, Any], where: str) -> Any:
        hints, known = hints_of(cls), {f.name: f for f in fields(cls)}
        before = len(self.problems)
        values: dict[str, Any] = {}
        for key, value in data.items():
            if key == "part" and not issubclass(cls, Method):
                continue
            if key in known:
                values[key] = self._value(hints[key], value, f"{where}.{key}")
                continue
            valid = [name for name in known if name not in IDENTITY]
            listed = f"valid: {', '.join(valid)}" if valid else f"{cls.__name__} has no settings"
            self.problems.append(f"{where}.{key}: unknown key{did_you_mean(str(key), valid)}; {listed}")
        required = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
        self.problems += [f"{where}.{name}: missing" for name in required if name not in data]
        return None if len(self.problems) > before else cls(**values)

    def _value(self, hint: Any, value: Any, where: str) -> Any:
        if value is None and types.NoneType in choices(hint):
            return None
        shipped, protocol = shipped_for(hint), protocol_of(hint)
        if shipped or protocol:
            return self._part(shipped, self.own if protocol else {}, value, where)
        plain = [choice for choice in choices(hint) if choice is not types.NoneType]
        return self._plain(plain[0], value, where)

    def _part(self, shipped: Sequence[type[Any]], own: Classes, value: Any, where: str) -> Any:
        parts = {**{part.__name__: part for part in shipped}, **own}
        content = {"part": value} if isinstance(value, str) else value
        if not isinstance(content, Mapping):
            self.problems.append(f"{where}: got {value!r}, expected one of {', '.join(parts)}, with its settings")
            return None
        content = cast("Mapping[str, Any]", content)
        name = content.get("part", shipped[0].__name__ if len(shipped) == 1 else None)
        if isinstance(name, str) and name in parts:
            return self.build(parts[name], content, where)
        hand_in = ""
        if isinstance(name, str) and name.isidentifier() and name not in classes_by_name():
            hand_in = f"; is it yours? Hand its class in: resume(folder, parts=[{name}]), or --parts my.py"
        nearest = did_you_mean(str(name), parts)
        self.problems.append(f"{where}: got part {name!r}{nearest}, expected one of {', '.join(parts)}{hand_in}")
        return None

    def _plain(self, kind: Any, value: Any, where: str) -> Any:
        if typing.get_origin(kind) is tuple:
            return self._texts(value, where)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        wrong_kind = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        if wrong_kind or (isinstance(value, float) and not math.isfinite(value)):
            words = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}
            self.problems.append(f"{where}: got {value!r}, expected {words.get(kind, kind.__name__)}")
            return None
        return value

    def _texts(self, value: Any, where: str) -> tuple[str, ...] | None:
        items = cast("list[Any] | tuple[Any, ...]", value) if isinstance(value, (list, tuple)) else (None,)
        texts = tuple(item for item in items if isinstance(item, str))
        if len(texts) == len(items):
            return texts
        self.problems.append(f"{where}: got {value!r}, expected a list of texts")
        return None
