"""Student's t: how far an interval of few numbers must reach, and how unlikely a difference is."""

from __future__ import annotations

import math
from functools import cache


def within(t: float, degrees: int) -> float:
    """P(|T| ≤ t): Abramowitz and Stegun 26.7.3 and 26.7.4, a finite sum in θ = atan(t/√ν).

    >>> round(within(12.706, 1), 4), round(within(2.776, 4), 4)
    (0.95, 0.95)
    """
    assert degrees >= 1 and t >= 0, (t, degrees)
    theta = math.atan2(t, math.sqrt(degrees))
    sine, square = math.sin(theta), math.cos(theta) ** 2
    odd = degrees % 2 == 1
    term = math.cos(theta) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for power in range(2 if not odd else 3, degrees - 1, 2):
        term *= square * (power - 1) / power
        total += term
    found = 2 / math.pi * (theta + sine * total) if odd else sine * total
    return min(1.0, max(0.0, found))


@cache
def reach(level: float, degrees: int) -> float:
    """How many standard errors a two-sided interval of that level reaches: 4.30 for 0.95 and 2 degrees.

    >>> round(reach(0.95, 2), 2)
    4.3
    """
    low, high = 0.0, 1.0
    while within(high, degrees) < level:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, degrees) < level else (low, middle)
    return high


def reach_of_many(level: float, count: int) -> float:
    """`reach` for a mean of so many numbers: count - 1 degrees, 199 at most, beyond which nothing changes that anybody
    would see."""
    return reach(level, max(1, min(count, 200) - 1))
