"""Methods as plain data: to JSON and back, slot by slot, with every problem named at once.

A part is written `{"part": "ClippedSurrogate", "low": 0.2, "high": 0.28}`. Only the parts that a slot's own type
names can fill it, so nothing is ever imported by a name found in a file.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from rung.errors import SettingsError, did_you_mean
from rung.methods.kind import KINDS, Method

IDENTITY = ("name", "paper", "summary", "parent", "deviations")
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
        return [as_data(item) for item in typing.cast("tuple[Any, ...]", value)]
    if not is_dataclass(value):
        return value
    content = {f.name: as_data(getattr(value, f.name)) for f in fields(value)}
    return {"kind" if isinstance(value, KINDS) else "part": type(value).__name__, **content}


def from_data(data: Mapping[str, Any]) -> Method:
    """The method that `as_data` wrote; data without a kind is a PolicyGradient's.

    Raises SettingsError listing every unknown kind, slot, part or type.
    """
    kinds = {kind.__name__: kind for kind in KINDS}
    kind = data.get("kind", KINDS[0].__name__)
    if not isinstance(kind, str) or kind not in kinds:
        raise SettingsError([f"method.kind: got {kind!r}{did_you_mean(str(kind), kinds)}; valid: {', '.join(kinds)}"])
    problems: list[str] = []
    method = _build(kinds[kind], {key: value for key, value in data.items() if key != "kind"}, "method", problems)
    if problems or method is None:
        raise SettingsError(problems)
    return method


def with_settings(method: Method, overrides: Mapping[str, Any]) -> Method:
    """The method with some slots set from a user's settings, nested like `as_data`'s result.

    A part's name alone fills a slot with that part's defaults: `{"reference_kl": "KLInLoss"}`; None empties it.
    Raises SettingsError with every problem, each naming the nearest valid name.

    >>> from rung.methods.grpo import GRPO
    >>> with_settings(GRPO, {"objective": {"high": 0.28}}).objective
    ClippedSurrogate(low=0.2, high=0.28, dual=None)
    """
    merged = _merged(typing.cast("dict[str, Any]", as_data(method)), overrides)
    return from_data(merged)


def _merged(data: Any, overrides: Any) -> Any:
    if not isinstance(overrides, Mapping):
        return overrides
    given = typing.cast("Mapping[str, Any]", overrides)
    below = typing.cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    if "part" in below and given.get("part", below["part"]) != below["part"]:
        below = {}
    return {**below, **{key: _merged(below.get(key), value) for key, value in given.items()}}


def _build(cls: type[Any], data: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key == "part" and cls not in KINDS:
            continue
        if key not in known:
            valid = [name for name in known if name not in IDENTITY]
            listed = f"valid: {', '.join(valid)}" if valid else f"{cls.__name__} has no settings"
            problems.append(f"{where}.{key}: unknown key{did_you_mean(str(key), valid)}; {listed}")
            continue
        values[key] = _value(hints[key], value, f"{where}.{key}", problems)
    required = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in required if name not in data]
    problems.extend(f"{where}.{name}: missing" for name in missing)
    return None if missing or problems else cls(**values)


def _choices(hint: Any) -> list[Any]:
    return list(typing.get_args(hint)) if isinstance(hint, types.UnionType) else [hint]


def _value(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    choices = _choices(hint)
    if value is None and type(None) in choices:
        return None
    parts: dict[str, type[Any]] = {choice.__name__: choice for choice in choices if is_dataclass(choice)}  # pyright: ignore
    if parts:
        return _part(parts, value, where, problems)
    plain = [choice for choice in choices if choice is not type(None)]
    return _plain(plain[0], value, where, problems)


def _part(parts: Mapping[str, type[Any]], value: Any, where: str, problems: list[str]) -> Any:
    content = {"part": value} if isinstance(value, str) else value
    if not isinstance(content, Mapping):
        problems.append(f"{where}: got {value!r}, expected one of {', '.join(parts)}, with its settings")
        return None
    content = typing.cast("Mapping[str, Any]", content)
    name = content.get("part", next(iter(parts)) if len(parts) == 1 else None)
    if not isinstance(name, str) or name not in parts:
        problems.append(
            f"{where}: got part {name!r}{did_you_mean(str(name), parts)}, expected one of {', '.join(parts)}"
        )
        return None
    return _build(parts[name], content, where, problems)


def _plain(kind: Any, value: Any, where: str, problems: list[str]) -> Any:
    if typing.get_origin(kind) is tuple:
        return _texts(value, where, problems)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wrong_kind = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    if wrong_kind or (isinstance(value, float) and not math.isfinite(value)):
        words = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}
        problems.append(f"{where}: got {value!r}, expected {words.get(kind, kind.__name__)}")
        return None
    return value


def _texts(value: Any, where: str, problems: list[str]) -> tuple[str, ...] | None:
    items = typing.cast("list[Any] | tuple[Any, ...]", value) if isinstance(value, (list, tuple)) else (None,)
    texts = tuple(item for item in items if isinstance(item, str))
    if len(texts) == len(items):
        return texts
    problems.append(f"{where}: got {value!r}, expected a list of texts")
    return None
