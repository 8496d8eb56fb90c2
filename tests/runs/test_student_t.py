"""Student's t against its tables and its limits."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from rung.runs.statistics import reach, within


@pytest.mark.parametrize(
    ("degrees", "level", "t"),
    [
        (1, 0.95, 12.7062047364),
        (2, 0.95, 4.3026527297),
        (3, 0.95, 3.1824463053),
        (4, 0.95, 2.7764451052),
        (5, 0.95, 2.5705818356),
        (9, 0.95, 2.2621571628),
        (30, 0.95, 2.0422724563),
        (2, 0.99, 9.9248432009),
        (7, 0.999, 5.4078825208),
    ],
)
def test_the_tables_quantiles(degrees: int, level: float, t: float) -> None:
    assert reach(level, degrees) == pytest.approx(t, rel=1e-9)
    assert within(t, degrees) == pytest.approx(level, abs=1e-10)


def test_closed_forms() -> None:
    for t in (0.0, 0.3, 1.0, 7.0, 400.0):
        assert within(t, 1) == pytest.approx(2 / math.pi * math.atan(t))  # Cauchy
        assert within(t, 2) == pytest.approx(t / math.sqrt(2 + t * t))


def test_many_degrees_are_a_normal_law() -> None:
    assert within(1.5, 4001) == pytest.approx(2 * NormalDist().cdf(1.5) - 1, abs=2e-4)
