"""Numbers with 95 % intervals over seeds, and the correlation of ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from words import short

from rung.lab.compare.seed_statistics import reach
from rung.runs.statistics import wilson


@dataclass(frozen=True)
class Number:
    """A number with a 95 % interval. Example: `Number(3.1, 2.2, 4.4)` times."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(found: Mapping[str, float], times: float = 1.0) -> Number:
        """Out of a recorded result."""
        return Number(*(times * found[name] for name in ("value", "low", "high")))

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2

    def words(self, unit: str = "") -> str:
        """`3.1 times (2.2 to 4.4)`; no interval where the number is exact.

        >>> Number(3.14, 2.2, 4.4).words("times"), Number(0.5, 0.5, 0.5).words()
        ('3.14 times (2.20 to 4.40)', '0.500, exact')
        """
        value = f"{short(self.value)} {unit}".rstrip()
        return f"{value}, exact" if self.low == self.high else f"{value} ({short(self.low)} to {short(self.high)})"


def mean(values: Sequence[float]) -> Number:
    """The mean over seeds with Student's interval. ValueError with fewer than two."""
    center, error, degrees = _spread(values)
    width = reach(0.95, degrees) * error
    return Number(center, center - width, center + width)


def difference(after: Sequence[float], before: Sequence[float]) -> Number:
    """The difference of two means over seeds that are not paired, with Welch's interval.

    >>> difference([3.0, 5.0], [1.0, 1.0]).value
    3.0
    """
    (a, a_error, a_free), (b, b_error, b_free) = _spread(after), _spread(before)
    error = math.hypot(a_error, b_error)
    if error == 0:
        return Number(a - b, a - b, a - b)
    degrees = error**4 / (a_error**4 / a_free + b_error**4 / b_free)  # Welch and Satterthwaite
    width = reach(0.95, max(1, math.floor(degrees))) * error
    return Number(a - b, a - b - width, a - b + width)


def ratio(above: Sequence[float], below: Sequence[float]) -> Number:
    """The ratio of two geometric means over seeds that are not paired: Welch's interval on the logarithms."""
    return exponential(difference([math.log(v) for v in above], [math.log(v) for v in below]))


def geometric_mean(values: Sequence[float]) -> Number:
    """Of ratios that were each taken on one seed.

    >>> round(geometric_mean([2.0, 8.0]).value, 9)
    4.0
    """
    return exponential(mean([math.log(value) for value in values]))


def exponential(number: Number) -> Number:
    """Back from logarithms. An interval that two seeds leave open stays finite."""
    return Number(*(math.exp(min(v, 700.0)) for v in (number.value, number.low, number.high)))


def share(count: int, of: int) -> Number:
    """A share with Wilson's interval.

    >>> share(0, 25).low, round(share(0, 25).high, 3)
    (0.0, 0.133)
    """
    return Number(count / of, *wilson(count / of, of))


def mean_and_error(by_task: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """The mean over tasks and seeds, and its standard error from the spread of seeds within each task.

    >>> mean, error = mean_and_error({"a": [0.0, 1.0], "b": [1.0, 1.0]})
    >>> mean, round(error, 2)
    (0.75, 0.25)
    """
    found = [_spread(values) for values in by_task.values()]
    return float(np.mean([center for center, _, _ in found])), math.hypot(*(e for _, e, _ in found)) / len(found)


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """The correlation of the ranks; equal values share their mean rank. NaN where either does not vary."""

    def ranks(values: Sequence[float]) -> np.ndarray:
        array = np.asarray(values, dtype=np.float64)
        return np.array([(array < value).sum() + ((array == value).sum() - 1) / 2 for value in array])

    varies = len(set(one)) > 1 and len(set(other)) > 1
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1]) if varies else math.nan


def _spread(values: Sequence[float]) -> tuple[float, float, int]:
    """Mean, standard error, degrees of freedom."""
    if len(values) < 2:
        raise ValueError(f"got {len(values)} values, expected at least 2 seeds: one has no interval")
    center = math.fsum(values) / len(values)
    squares = math.fsum((value - center) ** 2 for value in values)
    return center, math.sqrt(squares / (len(values) - 1) / len(values)), len(values) - 1
