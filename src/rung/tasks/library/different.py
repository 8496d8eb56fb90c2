"""What the tasks of the library share: options within a range, and draws that are all different."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from rung.errors import SettingsError

T = TypeVar("T")


def different(draw: Callable[[int], T], count: int) -> list[T]:
    """The first `count` different values of draw(0), draw(1), ...

    >>> different(lambda i: i // 2, 3)
    [0, 1, 2]

    Raises:
        SettingsError: after 20 draws for each there are still fewer: the held-out problems have run out.
    """
    found: dict[T, None] = {}
    for index in range(20 * count + 400):
        found[draw(index)] = None
        if len(found) == count:
            return list(found)
    raise SettingsError(
        [f"held_out: got {count}, but there are about {len(found)} different held-out problems; ask for fewer"]
    )


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
