"""What every group of settings is: frozen, closed, and wrong values are told in rung's words.

Large numbers may be written as people write them: `200K`, `2M`, `1.5G`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from rung.errors import SettingsError
from rung.settings.messages import keys_of, problems_in

SUFFIXES = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}

Problem = tuple[str, str]
"""The dotted path of the setting, and the sentence."""


class _SectionType(type(BaseModel)):
    """Type of the sections: a section that is called with wrong values raises SettingsError.

    Not `__init__`: pydantic would call that for sections within sections too, and lose their paths.
    """

    if not TYPE_CHECKING:  # a type checker reads the fields, as of any pydantic model

        def __call__(cls, *args: Any, **values: Any) -> Any:
            try:
                return super().__call__(*args, **values)
            except ValidationError as error:
                raise _refusal(error, cls) from None


class Section(BaseModel, metaclass=_SectionType):
    """Base of every group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def as_data(self) -> dict[str, Any]:
        """Every key with its value, JSON-like; what settings.yaml holds."""
        return self.model_dump(mode="json")

    @classmethod
    def checked(cls, data: Any, keys: Sequence[str] | None = None) -> tuple[Self | None, list[Problem]]:
        """The section that plain data describes, or everything that is wrong with the data.

        `keys` are all valid dotted keys, among which the nearest name is looked for; None: this section's own.
        """
        try:
            return super().model_validate(data), []
        except ValidationError as error:
            return None, list(problems_in(error, cls, list(keys_of(cls)) if keys is None else keys))

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """The section that plain data describes. SettingsError with every problem."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise _refusal(error, cls) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """The section that JSON text describes. SettingsError with every problem."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise _refusal(error, cls) from None

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                super().__setattr__(name, value)
            else:
                _frozen(name)

        def __delattr__(self, name: str) -> None:
            _frozen(name)


def _refusal(error: ValidationError, section: type[BaseModel]) -> SettingsError:
    return SettingsError(sentence for _, sentence in problems_in(error, section, list(keys_of(section))))


def _frozen(name: str) -> NoReturn:
    raise SettingsError(
        [f"{name}: settings never change; make a copy: settings.changed({{'{name}': ...}}) on the whole Settings"]
    )


def number(value: Any) -> Any:
    """The number that a text such as `2M` means; whatever is no such text is given back as it is.

    >>> number("2M"), number("1.5k"), number("many"), number(7)
    (2000000.0, 1500.0, 'many', 7)
    """
    if not isinstance(value, str) or not value:
        return value
    scale = SUFFIXES.get(value[-1].upper())
    digits = value if scale is None else value[:-1]
    if not all(mark.isascii() and (mark.isdigit() or mark in ".eE+-_") for mark in digits):
        return value
    try:
        return float(digits) * (scale or 1)
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
