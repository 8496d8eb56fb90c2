"""Scores of a method over several seeds: interquartile mean, intervals, and one method against another.

`scores_SN` has a row for each seed's run and a column for each held-out item: the item's mean over its samples, NaN
where none could be judged. Two things vary: the seed (what is drawn, in which order) and the items. Items are either
the same for all seeds (a data file) or each seed's own (problems made from the seed, start states); which of the two
is `common_items`, and it decides how items are drawn again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rung.random import philox
from rung.runs.statistics import standard_error

Array = npt.NDArray[np.float64]

DRAWS = 2000
"""Bootstrap draws. Their random numbers are fixed: the same scores give the same interval."""
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number with a 95 % interval. Example: `Interval(value=0.74, low=0.70, high=0.78)`."""

    value: float
    low: float
    high: float


def run_means(scores_SN: Array) -> Array:
    """[S] each run's score: the mean over its items."""
    return np.array([row[~np.isnan(row)].mean() if (~np.isnan(row)).any() else np.nan for row in scores_SN])


def interquartile_mean(values: npt.ArrayLike) -> float:
    """The mean of the middle half: as many values as fit into a quarter are left out at either end (Agarwal et al.
    2021, arXiv:2108.13264). Fewer than four values: their mean.

    >>> interquartile_mean([0.0, 0.5, 0.7, 9.0]), interquartile_mean([0.0, 0.6])
    (0.6, 0.3)
    """
    return float(_middle(np.asarray(values, dtype=np.float64)[None])[0])


def score_interval(scores_SN: Array, *, common_items: bool) -> Interval:
    """The interquartile mean over runs, with a percentile bootstrap interval over seeds and items.

    Each draw takes S runs with replacement, and for them N items with replacement: the same items for all runs where
    the items are common, else each run's own. One seed: over its items alone.
    """
    means_DS = _drawn_means(scores_SN, common_items)
    low, high = np.quantile(_middle(means_DS), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=interquartile_mean(run_means(scores_SN)), low=float(low), high=float(high))


def chance_better(after_SN: Array, before_SN: Array) -> Array:
    """[S,N] 1 where `after` scored more on the item, 1/2 where both scored the same, 0 where less; NaN: not scored."""
    found = (np.sign(after_SN - before_SN) + 1) / 2
    return np.where(np.isnan(after_SN) | np.isnan(before_SN), np.nan, found)


def probability_better(after_SN: Array, before_SN: Array, *, common_items: bool) -> Interval:
    """P(after beats before) on an item of a run, ties one half: the mean of `chance_better`, with the bootstrap
    interval over seeds and items.

    >>> probability_better(np.array([[1.0, 0.5]]), np.array([[0.0, 0.5]]), common_items=False).value
    0.75
    """
    chance_SN = chance_better(after_SN, before_SN)
    means_DS = _drawn_means(chance_SN, common_items)
    low, high = np.quantile(means_DS.mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=float(run_means(chance_SN).mean()), low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True)
class SeedDifference:
    """How much more `after` scores than `before`, paired by seed and item.

    Example: three seeds with +0.10, +0.14 and +0.12 on 100 items: `value=0.12, standard_error=0.02, p=0.027`.
    """

    value: float
    low: float
    high: float
    """The ends of the 95 % interval of this one difference."""
    standard_error: float
    p: float
    """Two-sided, by Student's t with seeds - 1 degrees of freedom; before any correction for several comparisons."""
    seeds: int
    won: int
    """Seeds on which `after` scored more."""


def seed_difference(after_SN: Array, before_SN: Array, *, common_items: bool) -> SeedDifference | None:
    """The mean over seeds of the paired differences; None with fewer than two seeds, where nothing tells how much a
    seed matters.

    standard error² = s²(seeds)/S + s²(items)/n: the spread of the runs' differences, and that of the items' (over N
    items where they are common, else over all S·N within their run). Where items are each seed's own the first term
    holds the items' spread already, so the interval is rather too wide than too narrow.
    """
    seeds = len(after_SN)
    if seeds < 2:
        return None
    difference_SN = after_SN - before_SN
    means_S = run_means(difference_SN)
    value = float(means_S.mean())
    error = math.hypot(standard_error(means_S), _items_error(difference_SN, means_S, common_items))
    t = abs(value) / error if error > 0 else (math.inf if value else 0.0)
    width = reach(LEVEL, seeds - 1) * error
    return SeedDifference(
        value=value,
        low=value - width,
        high=value + width,
        standard_error=error,
        p=two_sided_p(t, seeds - 1),
        seeds=seeds,
        won=int((means_S > 0).sum()),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): below α for a pair, with a chance of at most α that any pair is wrongly told
    apart, however the tests depend on each other.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _items_error(difference_SN: Array, means_S: Array, common_items: bool) -> float:
    if common_items:
        counts_N = (~np.isnan(difference_SN)).sum(0)
        per_item_N = np.nansum(difference_SN, axis=0)[counts_N > 0] / counts_N[counts_N > 0]
    else:
        per_item_N = (difference_SN - means_S[:, None])[~np.isnan(difference_SN)]
    error = standard_error(per_item_N)
    return 0.0 if math.isnan(error) else error


def _middle(values_DS: Array) -> Array:
    """[D] the interquartile mean of each row."""
    ordered = np.sort(values_DS, axis=1)
    cut = ordered.shape[1] // 4
    return ordered[:, cut : ordered.shape[1] - cut].mean(1)


def _drawn_means(scores_SN: Array, common_items: bool) -> Array:
    """[D,S] the runs' means in each bootstrap draw."""
    seeds, items = scores_SN.shape
    there_SN = (~np.isnan(scores_SN)).astype(np.float64)
    filled_SN = np.nan_to_num(scores_SN)
    random = philox(seeds | items << 64)
    means_DS = np.empty((DRAWS, seeds))
    for draw in range(DRAWS):
        picked_S = _picks(random, seeds, seeds)
        sets = 1 if common_items else seeds
        counts_SN = np.stack([np.bincount(_picks(random, items, items), minlength=items) for _ in range(sets)])
        judged_S = (counts_SN * there_SN[picked_S]).sum(1)
        sums_S = (counts_SN * filled_SN[picked_S]).sum(1)
        whole_S = run_means(scores_SN[picked_S])  # for a draw that happens to hold no judged item
        means_DS[draw] = np.where(judged_S > 0, sums_S / np.maximum(judged_S, 1), whole_S)
    return means_DS


def _picks(random: np.random.Philox, below: int, count: int) -> npt.NDArray[np.int64]:
    return (np.asarray(random.random_raw(count)) % np.uint64(below)).astype(np.int64)


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


def two_sided_p(t: float, degrees: int) -> float:
    """P(|T| > |t|). Infinite t: 0."""
    return 0.0 if math.isinf(t) else 1.0 - within(abs(t), degrees)


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
