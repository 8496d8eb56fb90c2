"""pydantic's findings as sentences: what was got, what was expected, the nearest valid name."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rung.errors import SettingsError
from rung.settings.elsewhere import suggestion

EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "too_short": "{min_length} or more of them",
    "bool_type": "true or false",
    "model_type": "keys with values",
    "tuple_type": "a list",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "less_than": "less than {lt}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "json_invalid": "JSON",
}
"""What each kind of finding says was expected; braces are filled from pydantic's own context."""

NEEDED = {
    "model": "expected a folder, a hub id, a .gguf file or 'tiny' (--model)",
    "task": "expected a task's name or a data file (--task)",
}


def problems_in(error: ValidationError, schema: type[BaseModel], keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(dotted path, sentence) of every finding; `keys` are all valid keys, for the nearest name."""
    for detail in error.errors(include_url=False):
        path = ".".join(str(part) for part in detail["loc"])
        ours = detail.get("ctx", {}).get("error")
        if isinstance(ours, SettingsError):  # of a method's slots, which say their own paths
            yield from ((path, problem) for problem in ours.problems)
        else:
            yield path, _sentence(detail, path, schema, keys)


def unknown_key(path: str, valid: Sequence[str], keys: Sequence[str]) -> str:
    """The sentence for a key that does not exist.

    >>> unknown_key("evaluation.evry", ["every", "items"], ["evaluation.every", "evaluation.num_items"])
    "evaluation.evry: unknown key; did you mean 'evaluation.every'?; valid here: every, items"
    """
    return f"{path}: unknown key{suggestion(path, keys)}; valid here: {', '.join(valid)}"


def section_at(schema: type[BaseModel], path: Sequence[Any]) -> type[BaseModel] | None:
    """The section at a path; None where there is none."""
    found: type[BaseModel] | None = schema
    for key in path:
        if isinstance(key, int):
            continue
        if found is None or key not in found.model_fields:
            return None
        found = next(sections(found.model_fields[key].annotation), None)
    return found


def keys_of(schema: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every dotted key of a schema, sections included: `evaluation`, `evaluation.every`, ...

    Lists are set as a whole, so what their entries hold has no key.
    """
    for name, field in schema.model_fields.items():
        yield f"{above}{name}"
        for hint in members(field.annotation):
            if _is_section(hint):
                yield from keys_of(hint, f"{above}{name}.")


def _sentence(detail: ErrorDetails, path: str, schema: type[BaseModel], keys: Sequence[str]) -> str:
    kind, loc = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        section = section_at(schema, loc[:-1])
        return unknown_key(path, list(section.model_fields) if section else [], keys)
    if kind == "missing":
        return f"{path}: missing" + (f"; {NEEDED[path]}" if path in NEEDED else "")
    limits = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in detail.get("ctx", {}).items()
    }
    words = EXPECTED.get(kind, detail["msg"]).format(**limits)
    if kind == "model_type" and (section := section_at(schema, loc)) is not None:
        words = f"a name, or keys with values: {', '.join(section.model_fields)}"
        words = words if path in ("method", "task") else words.removeprefix("a name, or ")
    if _takes_null(schema, loc):
        words += ", or null"
    return f"{path or schema.__name__}: got {shortened(detail['input'])}, expected {words}"


def shortened(value: Any) -> str:
    """A value as Python writes it, at most about a line of it."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _takes_null(schema: type[BaseModel], loc: Sequence[Any]) -> bool:
    section = section_at(schema, loc[:-1])
    if not loc or section is None or loc[-1] not in section.model_fields:
        return False
    return type(None) in members(section.model_fields[loc[-1]].annotation)


def members(hint: Any) -> Iterator[Any]:
    """The members of a union, without what Annotated adds; what a list holds is not looked at."""
    if typing.get_origin(hint) is typing.Annotated:
        yield from members(typing.get_args(hint)[0])
    elif typing.get_origin(hint) in (types.UnionType, typing.Union):
        for inner in typing.get_args(hint):
            yield from members(inner)
    else:
        yield hint


def sections(hint: Any) -> Iterator[type[BaseModel]]:
    """The sections in a type, such as `tuple[RewardSettings, ...]` or `LoraSettings | None`."""
    for one in members(hint):
        inner = typing.get_args(one)[0] if typing.get_origin(one) is tuple else one
        if _is_section(inner):
            yield inner


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)
