"""Large numbers as people write them: `200K`, `2M`, `1.5G`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

SUFFIXES = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}


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


Count = Annotated[int, BeforeValidator(_count), Field(ge=1)]
"""A whole number from 1; `200K` and `2M` are understood."""
Amount = Annotated[float, BeforeValidator(_amount), Field(gt=0)]
"""A number above 0; `200K` and `2M` are understood."""
