"""A comparison's result without the clock and the machine: equal for two comparisons that are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def without_clock(data: Any) -> Any:
    """The result less everything that depends on the clock.

    >>> without_clock({"score": 0.5, "spent": {"tokens": 10, "seconds": 3.1}})
    {'score': 0.5, 'spent': {'tokens': 10}}
    """
    if isinstance(data, Mapping):
        return {key: without_clock(value) for key, value in data.items() if key not in ("seconds", "clock")}
    return [without_clock(value) for value in data] if isinstance(data, list) else data
