"""Ranges: which values a number of a method or a part takes, written where the number is declared.

learning_rate: Annotated[float, ABOVE_0] = 1e-6
"""

from __future__ import annotations

import functools
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """The values that a number takes, as a test and in words: `got -1, expected {words}`."""

    words: str
    holds: Callable[[float], bool]


ABOVE_0 = Range("more than 0", lambda value: value > 0)
ABOVE_1 = Range("more than 1", lambda value: value > 1)
ABOVE_0_TO_1 = Range("more than 0 and at most 1", lambda value: 0 < value <= 1)
ANY = Range("a number", math.isfinite)
BELOW_1 = Range("at least 0 and below 1", lambda value: 0 <= value < 1)
BELOW_HALF = Range("at least 0 and below 0.5", lambda value: 0 <= value < 0.5)
BETWEEN_0_AND_1 = Range("more than 0 and less than 1", lambda value: 0 < value < 1)
FROM_0 = Range("at least 0", lambda value: value >= 0)
FROM_1 = Range("at least 1", lambda value: value >= 1)
SHARE = Range("between 0 and 1", lambda value: 0 <= value <= 1)
ZERO_OR_ONE = Range("0 or 1", lambda value: value in (0, 1))


@functools.cache
def ranges_of(cls: type[Any]) -> Mapping[str, Range]:
    """The range of each number of a method's or a part's class, by field.

    >>> from rung.methods.parts.advantages import GAE
    >>> ranges_of(GAE)["lam"].words
    'between 0 and 1'
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    noted = {name: (hint, *typing.get_args(hint)) for name, hint in hints.items()}  # Annotated, or Annotated | None
    marks = {name: [mark for one in hint for mark in getattr(one, "__metadata__", ())] for name, hint in noted.items()}
    return {name: mark for name, found in marks.items() for mark in found if isinstance(mark, Range)}


def out_of_range(value: Any, classes: Mapping[str, type[Any]] | None = None, path: str = "method") -> Iterator[str]:
    """A sentence for every number of a method, or of its data, that is out of its range.

    Args:
        classes: kinds and parts by name; read for data, whose wrong names and wrong types are told elsewhere.
    """
    if isinstance(value, Mapping):
        content = typing.cast("Mapping[str, Any]", value)
        cls = (classes or {}).get(str(content.get("part", content.get("kind"))))
    else:
        content, cls = {f.name: getattr(value, f.name) for f in fields(value)}, typing.cast("type[Any]", type(value))
    limits: Mapping[str, Range] = {} if cls is None else ranges_of(cls)
    for key, inner in content.items():
        if isinstance(inner, Mapping) or is_dataclass(inner):
            yield from out_of_range(inner, classes, f"{path}.{key}")
        elif (
            key in limits
            and isinstance(inner, int | float)
            and not (isinstance(inner, bool) or limits[key].holds(inner))
        ):
            got = int(inner) if float(inner).is_integer() else inner
            yield f"{path}.{key}: got {got}, expected {limits[key].words}"
