"""Options of a task that are whole numbers with a least and a greatest value."""

from __future__ import annotations

from collections.abc import Mapping

from rung.errors import SettingsError


def require_within(ranges: Mapping[str, tuple[int, int, int | None]]) -> None:
    """`ranges` holds (value, least, greatest or None) by name. SettingsError with a sentence for each value outside.

    >>> require_within({"length": (3, 1, 15), "size": (20_000, 1, None)})
    """
    problems = [
        f"{name}: got {value}, expected at least {low}" + (f" and at most {high}" if high else "")
        for name, (value, low, high) in ranges.items()
        if value < low or (high is not None and value > high)
    ]
    if problems:
        raise SettingsError(problems)
