"""Every setting with its type, range, default and a sentence, made of the schema and of the methods' slots."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, fields, replace
from itertools import pairwise
from typing import Any

from pydantic.fields import FieldInfo

from rung.methods import METHODS
from rung.methods.data import IDENTITY, KINDS
from rung.methods.ranges import ranges_of
from rung.methods.slots import choices, hints_of, shipped_for
from rung.settings.listing import Setting
from rung.settings.schema import EvalSettings, PairsSettings, Settings, SFTSettings
from rung.settings.section import Section, members, sections

OF_COMMANDS = {"train": Settings, "sft": SFTSettings, "pairs": PairsSettings, "eval": EvalSettings}
"""By the command that reads it: the schema."""
METHODS_OWN = "the method's"


def as_json() -> str:
    """What listed.json holds, made anew; empty fields are left out."""
    rows = [{key: value for key, value in asdict(one).items() if value} for one in every_setting()]
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


def every_setting() -> Iterator[Setting]:
    """All settings of all commands, the method's slots and their parts' numbers included."""
    for command, schema in OF_COMMANDS.items():
        for one in _of_schema(schema, "", command):
            if one.key != "method":
                yield one
            else:
                yield replace(one, range=", ".join(METHODS))
                yield from dict.fromkeys(one for kind in KINDS for one in _of_slots(kind, "method", ""))


def _of_schema(schema: type[Section], above: str, command: str) -> Iterator[Setting]:
    docs = field_docs(schema)
    for name, field in schema.model_fields.items():
        key, held = f"{above}{name}", list(sections(field.annotation))
        default = "" if isinstance(field.default, Section) else _shown(field.default)
        default = "none: it must be given" if field.is_required() else default
        many = any(typing.get_origin(one) is tuple for one in members(field.annotation)) and held
        yield Setting(
            key=key,
            type="list of them" if many else _type_words(field.annotation),
            range=_range_words(_marks(field)),
            default=default,
            about=docs.get(name) or _first_sentence(held[0] if held else schema),
            command=command,
        )
        for section in held:
            yield from _of_schema(section, f"{key}[]." if many else f"{key}.", command)


def _of_slots(cls: type[Any], path: str, part: str) -> Iterator[Setting]:
    docs, ranges, hints = field_docs(cls), ranges_of(cls), hints_of(cls)
    for field in fields(cls):
        if field.name in IDENTITY:
            continue
        hint, key = hints[field.name], f"{path}.{field.name}"
        parts = shipped_for(hint)
        null = " or null" if types.NoneType in choices(hint) else ""
        limits = ranges.get(field.name)
        # what a slot is for is said by its protocol, or by the only part that can fill it
        protocols = [one for one in choices(hint) if getattr(one, "_is_protocol", False)]
        says = cls if part else next(iter([*protocols, *(parts if len(parts) == 1 else ()), cls]))
        yield Setting(
            key=key,
            type=" or ".join(one.__name__ for one in parts) + null if parts else _type_words(hint),
            range=limits.words if limits is not None and limits.words != "a number" else "",
            default=_shown(field.default) if part and field.default is not MISSING else METHODS_OWN,
            about=docs.get(field.name) or _first_sentence(says),
            part=part,
        )
        for inner in parts:
            yield from _of_slots(inner, key, inner.__name__)


@functools.cache
def field_docs(cls: type[Any]) -> dict[str, str]:
    """The docstring under each field of a class or of those it stands on, in one line."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        if one.__module__.partition(".")[0] != "rung":
            continue
        body = typing.cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]).body
        for field, below in pairwise(body):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, str):
                found[field.target.id] = " ".join(text.split())
    return found


def _first_sentence(cls: type[Any]) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", types.NoneType: "null"}


def _type_words(hint: Any) -> str:
    return " or ".join(dict.fromkeys(_type_word(one) for one in members(hint)))


def _type_word(one: Any) -> str:
    if typing.get_origin(one) is typing.Literal:
        return " or ".join(typing.get_args(one))
    if typing.get_origin(one) is tuple:
        return f"list of {_type_words(typing.get_args(one)[0])}s"
    if isinstance(one, type) and issubclass(one, Section):
        return "a name, or keys with values" if "name" in one.model_fields else "keys with values"
    return _WORDS.get(one) or one.__name__


def _marks(field: FieldInfo) -> Iterator[Any]:
    yield from field.metadata
    hints = [field.annotation]
    while hints:
        hint = hints.pop()
        if typing.get_origin(hint) is typing.Annotated:
            for mark in typing.get_args(hint)[1:]:
                yield from mark.metadata if isinstance(mark, FieldInfo) else [mark]
        hints += [inner for inner in typing.get_args(hint) if typing.get_origin(hint) is not typing.Literal]


def _range_words(marks: Iterable[Any]) -> str:
    said: list[str] = []
    words = {"gt": "more than {}", "ge": "{} or more", "lt": "less than {}", "le": "{} or less"}
    for mark in marks:
        limits = [(getattr(mark, name), text) for name, text in words.items() if hasattr(mark, name)]
        said += [text.format("2^63 - 1" if limit == 2**63 - 1 else f"{limit:g}") for limit, text in limits]
        if getattr(mark, "min_length", None):
            said.append("not empty")
    return ", ".join(dict.fromkeys(said))


def _shown(value: Any) -> str:
    """A default as YAML writes it; a part by its name."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(one) for one in typing.cast('tuple[Any, ...]', value))}]"
    if isinstance(value, str | int):
        return str(value)
    return f"{value:g}" if isinstance(value, float) else type(value).__name__
