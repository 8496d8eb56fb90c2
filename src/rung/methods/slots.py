"""Slots: what may fill each of them, checked when a method is made."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, cast

from rung.errors import SettingsError
from rung.methods.parts.shipped import PARTS

SHIPPED: dict[str, type[Any]] = {part.__name__: part for parts in PARTS.values() for part in parts}
"""Every shipped part by its name."""


@functools.cache
def hints_of(cls: type[Any]) -> dict[str, Any]:
    """The type of each field of a method or a part, without its range."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def choices(hint: Any) -> tuple[Any, ...]:
    """The members of a union; of any other type itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def shipped_for(hint: Any) -> list[type[Any]]:
    """The shipped parts that can fill a slot of this type; none where it takes a plain value.

    >>> from rung.methods import PolicyGradient
    >>> [part.__name__ for part in shipped_for(hints_of(PolicyGradient)["whiten"])]
    ['Whiten']
    """
    own = {one: (cast("type[Any]", one),) for one in choices(hint) if is_dataclass(one)}
    return [part for one in choices(hint) for part in PARTS.get(one, own.get(one, ()))]


def is_open(hint: Any) -> bool:
    """Whether a part of one's own can fill a slot of this type."""
    return any(getattr(one, "_is_protocol", False) for one in choices(hint))


def check_slots(method: Any) -> None:
    """Raises SettingsError that names every slot whose part does not satisfy the slot's protocol, and what it lacks."""
    problems = list(_misfits(method, "method"))
    if problems:
        raise SettingsError(problems)


def _misfits(owner: Any, path: str) -> Iterator[str]:
    for name, hint in hints_of(cast("type[Any]", type(owner))).items():
        value, where = getattr(owner, name), f"{path}.{name}"
        shipped = shipped_for(hint)
        if not (shipped or is_open(hint)) or (value is None and types.NoneType in choices(hint)):
            continue
        if type(value) not in shipped:
            wrong = _misfit(value, hint)
            if wrong:
                names = ", ".join(part.__name__ for part in shipped)
                yield f"{where}: got {wrong}; expected one of {names}{_own(hint)}"
                continue
        yield from _misfits(value, where)


def _misfit(value: Any, hint: Any) -> str:
    """What is wrong with a part that is not one of the slot's shipped ones; empty when it satisfies the protocol."""
    if isinstance(value, type):
        name = cast("type[Any]", value).__name__
        return f"the class {name}, not a part made from it: write {name}(...)"
    cls = cast("type[Any]", type(value))
    frozen: bool | None = getattr(getattr(cls, "__dataclass_params__", None), "frozen", None)
    if frozen is None:
        return f"{value!r}, no dataclass"
    if not frozen:
        return f"{cls.__name__}, which can change: write @dataclass(frozen=True) above it"
    if SHIPPED.get(cls.__name__) is cls or not is_open(hint):
        return f"{cls.__name__}, a part of another slot"
    lacking = [lacks(cls, one) for one in choices(hint) if getattr(one, "_is_protocol", False)]
    return "" if [] in lacking else f"{cls.__name__}, which lacks {', '.join(lacking[0])}"


def _own(hint: Any) -> str:
    own = [one for one in choices(hint) if getattr(one, "_is_protocol", False)]
    return "".join(f", or a frozen dataclass of your own with {', '.join(members(one).values())}" for one in own)


class _Nothing(typing.Protocol):
    pass


@functools.cache
def members(protocol: type[Any]) -> dict[str, str]:
    """What a protocol asks for, by name: attributes, and methods with what they are called with.

    >>> from rung.methods.parts.protocols import Objective
    >>> members(Objective)
    {'__call__': '__call__(batch, log_probs_BT)'}
    """
    above = [one for one in protocol.__mro__ if getattr(one, "_is_protocol", False)]
    names = [*dir(protocol), *(name for one in above for name in vars(one).get("__annotations__", {}))]
    own = [name for name in names if name not in (*dir(_Nothing), "__annotations__") and not name.startswith("_abc")]
    return {name: name + _called_with(getattr(protocol, name, None)) for name in own}


def _called_with(member: Any) -> str:
    if not inspect.isfunction(member):
        return ""
    return f"({', '.join([*inspect.signature(member).parameters][1:])})"


@functools.cache
def lacks(cls: type[Any], protocol: type[Any]) -> list[str]:
    """What a part's class lacks of a protocol: members, and methods that cannot be called as the slot calls them."""
    there = {f.name for f in fields(cls)} | set(dir(cls))
    return [text for name, text in members(protocol).items() if name not in there or not _alike(cls, protocol, name)]


def _alike(cls: type[Any], protocol: type[Any], name: str) -> bool:
    wanted, own = getattr(protocol, name), getattr(cls, name, None)
    if not (inspect.isfunction(wanted) and inspect.isfunction(own)):
        return True
    try:
        inspect.signature(own).bind(*inspect.signature(wanted).parameters)
    except TypeError:
        return False
    return True
