"""What every group of settings is: frozen, closed, and wrong values are told in rung's words.

Large numbers may be written as people write them: `200K`, `2M`, `1.5G`.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from rung.errors import SettingsError
from rung.settings.names import WORDS, suggestion

SUFFIXES = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}


class _SectionType(type(BaseModel)):
    """A section that is called with wrong values raises SettingsError. Not in `__init__`: pydantic would call that for
    sections within sections too, and lose their paths."""

    if not TYPE_CHECKING:  # a type checker reads the fields, as of any pydantic model

        def __call__(cls, *args: Any, **values: Any) -> Any:
            with _told(cls):
                return super().__call__(*args, **values)


class Section(BaseModel, metaclass=_SectionType):
    """Base of every group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def as_data(self) -> dict[str, Any]:
        """Every key with its value, JSON-like; what settings.yaml holds."""
        return self.model_dump(mode="json")

    @classmethod
    def checked(cls, data: Any, keys: Sequence[str]) -> tuple[Self | None, list[tuple[str, str]]]:
        """The section that plain data describes, or everything that is wrong with it: dotted paths and sentences.

        `keys` are all valid dotted keys, among which the nearest name is looked for.
        """
        try:
            return super().model_validate(data), []
        except ValidationError as error:
            return None, list(problems_in(error, cls, keys))

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The section that plain data describes. SettingsError with every problem."""
        with _told(cls):
            return super().model_validate(obj, **options)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """The section that JSON text describes. SettingsError with every problem."""
        with _told(cls):
            return super().model_validate_json(json_data, **options)

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            if not name.startswith("_"):
                how = f"make a copy: settings.changed({{'{name}': ...}}) on the whole Settings"
                raise SettingsError([f"{name}: settings never change; {how}"])
            super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            setattr(self, name.lstrip("_"), None)


@contextmanager
def _told(section: type[BaseModel]) -> Iterator[None]:
    """What pydantic finds inside, as rung's own error."""
    try:
        yield
    except ValidationError as error:
        raise SettingsError(words for _, words in problems_in(error, section, list(keys_of(section)))) from None


def number(value: Any) -> Any:
    """The number that a text such as `2M` means; whatever is no such text is given back as it is.

    >>> number("2M"), number("1.5k"), number("many"), number(7)
    (2000000.0, 1500.0, 'many', 7)
    """
    found = re.fullmatch(r"([0-9.eE+_-]+)([KMGTP]?)", value, re.IGNORECASE) if isinstance(value, str) else None
    if found is None:
        return value
    try:
        return float(found[1]) * SUFFIXES.get(found[2].upper(), 1)
    except ValueError:
        return value


def _count(value: Any) -> Any:
    found = number(value)
    if isinstance(found, float) and found.is_integer():
        return int(found)
    if isinstance(found, bool) or not isinstance(found, int | None):
        raise PydanticCustomError("count", "a whole number such as 200000, 200K or 2M")
    return found


def _amount(value: Any) -> Any:
    found = number(value)
    if isinstance(found, bool) or not isinstance(found, int | float | None):
        raise PydanticCustomError("amount", "a number such as 90, 200K or 2e12")
    return found


def _data(value: Any) -> Any:
    """What settings.yaml can hold, tuples as lists."""
    if isinstance(value, list | tuple):
        return [_data(inner) for inner in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _data(inner) for key, inner in value.items()}
    if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        raise PydanticCustomError("data", "text, finite numbers, true or false, lists of them or keys with them")
    return value


Data = Annotated[Any, BeforeValidator(_data)]
"""A value that settings.yaml can hold."""
Count = Annotated[int, BeforeValidator(_count), Field(ge=1)]
"""A whole number from 1; `200K` and `2M` are understood."""
Amount = Annotated[float, BeforeValidator(_amount), Field(gt=0)]
"""A number above 0; `200K` and `2M` are understood."""


def problems_in(error: ValidationError, schema: type[BaseModel], keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(dotted path, sentence) of every finding; `keys` are all valid keys, for the nearest name."""
    for detail in error.errors(include_url=False):
        path = ".".join(str(part) for part in detail["loc"])
        ours = detail.get("ctx", {}).get("error")
        if isinstance(ours, SettingsError):  # of a method's slots, which say their own paths
            yield from ((path, problem) for problem in ours.problems)
        else:
            yield path, _sentence(detail, path, schema, keys)


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
        for held in sections(field.annotation):
            if held in members(field.annotation):
                yield from keys_of(held, f"{above}{name}.")


def _sentence(detail: ErrorDetails, path: str, schema: type[BaseModel], keys: Sequence[str]) -> str:
    kind, loc = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        section = section_at(schema, loc[:-1])
        valid = ", ".join(section.model_fields) if section else ""
        return f"{path}: unknown key{suggestion(path, keys)}; valid here: {valid}"
    if kind == "missing":
        needed = WORDS["needed"].get(path)
        return f"{path}: missing" + (f"; {needed}" if needed else "")
    context = detail.get("ctx", {}).items()
    limits = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context}
    words = WORDS["expected"].get(kind, detail["msg"]).format(**limits)
    if kind == "model_type" and (section := section_at(schema, loc)) is not None:
        words = f"a name, or keys with values: {', '.join(section.model_fields)}"
        words = words if path in ("method", "task") else words.removeprefix("a name, or ")
    section = section_at(schema, loc[:-1])
    field = section.model_fields.get(str(loc[-1])) if loc and section is not None else None
    words += ", or null" if field is not None and type(None) in members(field.annotation) else ""
    return f"{path or schema.__name__}: got {shortened(detail['input'])}, expected {words}"


def shortened(value: Any) -> str:
    """A value as Python writes it, at most about a line of it."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


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
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield inner
