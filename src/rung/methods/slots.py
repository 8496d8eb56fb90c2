"""Slots: what may fill each of them, checked when a method is made."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
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


def protocol_of(hint: Any) -> type[Any] | None:
    """The protocol of an open slot, which a part of one's own can fill; None for every other type."""
    return next((one for one in choices(hint) if getattr(one, "_is_protocol", False)), None)


def check_slots(method: Any) -> None:
    """Raises SettingsError that names every slot whose part does not satisfy the slot's protocol, and what it lacks."""
    problems = list(_misfits(method, "method"))
    if problems:
        raise SettingsError(problems)


def _misfits(owner: Any, path: str) -> Iterator[str]:
    for name, hint in hints_of(cast("type[Any]", type(owner))).items():
        value, where = getattr(owner, name), f"{path}.{name}"
        shipped, protocol = shipped_for(hint), protocol_of(hint)
        if not (shipped or protocol) or (value is None and types.NoneType in choices(hint)):
            continue
        wrong = "" if type(value) in shipped else _misfit(value, protocol)
        if wrong:
            asked = "" if protocol is None else ", ".join(members(protocol).values())
            own = f", or a dataclass of your own with {asked}" if asked else ""
            yield f"{where}: got {wrong}; expected one of {', '.join(part.__name__ for part in shipped)}{own}"
        else:
            yield from _misfits(value, where)


def _misfit(value: Any, protocol: type[Any] | None) -> str:
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
    if protocol is None:
        return cls.__name__
    if SHIPPED.get(cls.__name__) is cls:
        return f"{cls.__name__}, a part of another slot"
    lacking = lacks(cls, protocol)
    return f"{cls.__name__}, which lacks {', '.join(lacking)}" if lacking else ""


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
    called = {name: member for name in own if inspect.isfunction(member := getattr(protocol, name, None))}
    taken = {name: [*inspect.signature(member).parameters][1:] for name, member in called.items()}
    return {name: f"{name}({', '.join(taken[name])})" if name in taken else name for name in own}


@functools.cache
def lacks(cls: type[Any], protocol: type[Any]) -> list[str]:
    """What a part's class lacks of a protocol: members, and methods that cannot be called as the slot calls them."""
    there = {f.name for f in fields(cls)} | set(dir(cls))
    return [text for name, text in members(protocol).items() if name not in there or not _alike(cls, protocol, name)]


def _alike(cls: type[Any], protocol: type[Any], name: str) -> bool:
    wanted, own = getattr(protocol, name, None), getattr(cls, name, None)
    if not (inspect.isfunction(wanted) and inspect.isfunction(own)):
        return True
    try:
        inspect.signature(own).bind(*inspect.signature(wanted).parameters)
    except TypeError:
        return False
    return True


def own_part_names(data: Any) -> set[str]:
    """The names of parts in a method's data that rung does not ship.

    >>> own_part_names({"advantage": {"part": "Mine"}, "objective": {"part": "ClippedSurrogate"}})
    {'Mine'}
    """
    if not isinstance(data, Mapping):
        return set()
    content = cast("Mapping[str, Any]", data)
    found = {name for value in content.values() for name in own_part_names(value)}
    part = content.get("part")
    return found | {part} if isinstance(part, str) and part not in SHIPPED else found
