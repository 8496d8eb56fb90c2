"""Draw until there are enough different ones."""

from __future__ import annotations

from collections.abc import Callable
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
