"""Scores of an evaluation, with intervals: mean@k, pass@k, maj@k and the paired difference.

An evaluation is an array `scores_NK`: N items, K samples of each, values in [0, 1], NaN where a sample could not be
judged (it is left out, it is not a zero). Items are the unit that varies: K samples of one item are not K independent
facts, so every interval is over items. No random numbers are used: the same scores give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.errors import SettingsError

Array = npt.NDArray[np.float64]


def quantile(level: float) -> float:
    """Half the width of a two-sided interval, in standard errors: 1.96 for a level of 0.95."""
    return NormalDist().inv_cdf((1 + level) / 2)


Z = quantile(0.95)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score with its uncertainty.

    Example: 90 of 128 items right once each: `value=0.703, low=0.619, high=0.775, standard_error=0.041, items=128`.
    """

    value: float
    low: float
    high: float
    """The ends of the 95 % interval."""
    standard_error: float
    """Over items; NaN for a single item."""
    items: int
    """How many items could be scored."""


def mean_at_k(scores_NK: npt.ArrayLike) -> Estimate:
    """mean@k: the mean accuracy of a sample, 1/N ∑_i 1/K ∑_j a_ij.

    >>> mean_at_k([[1, 0], [1, 1]]).value
    0.75
    """
    scores_NK = _checked(scores_NK)
    return estimate(item_means(scores_NK), samples=scores_NK.shape[1])


def pass_at_k(scores_NK: npt.ArrayLike, k: int, *, right_at: float = 1.0) -> Estimate:
    """pass@k: the chance that at least one of k samples is right, without bias from K ≥ k samples.

    For an item with c right ones among n judged samples: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv:2107.03374).
    A sample is right when its accuracy reaches `right_at`. Items with fewer than k judged samples are left out.
    Raises `SettingsError` when k is not in 1..K.

    >>> pass_at_k([[1, 0, 0, 0]], 2).value
    0.5
    """
    scores_NK = _checked(scores_NK)
    samples = scores_NK.shape[1]
    if not 1 <= k <= samples:
        raise SettingsError(f"k: got {k}, expected 1 to {samples}, the number of samples of each item")
    judged_N = (~np.isnan(scores_NK)).sum(1)
    right_N = (scores_NK >= right_at).sum(1)
    counts = zip(judged_N.tolist(), right_N.tolist(), strict=True)
    passed = [1 - math.comb(n - c, k) / math.comb(n, k) if n >= k else math.nan for n, c in counts]
    return estimate(passed, samples=samples // k)


def majority_at_k(scores_NK: npt.ArrayLike, answers_NK: Sequence[Sequence[str | None]] | None = None) -> Estimate:
    """maj@k: the accuracy of the answer that most of an item's K samples give.

    With `answers_NK` (None: no answer could be read, no vote) the answers vote; a tie gives the mean accuracy of the
    tied answers, which is what drawing one of them would give on average. Without answers an item counts as right
    when its mean accuracy is above one half, and half at exactly one half: as if all wrong samples agreed, so this
    is a lower bound of the vote.

    >>> majority_at_k([[1, 1, 0, 0, 0]], [["4", "4", "5", "6", "7"]]).value, majority_at_k([[1, 1, 0, 0, 0]]).value
    (1.0, 0.0)
    """
    scores_NK = _checked(scores_NK)
    if answers_NK is None:
        means_N = item_means(scores_NK)
        won_N = np.where(np.isnan(means_N), np.nan, (np.sign(means_N - 0.5) + 1) / 2)
    else:
        shapes = (len(answers_NK), {len(row) for row in answers_NK})
        assert shapes == (len(scores_NK), {scores_NK.shape[1]}), (shapes, scores_NK.shape)
        won_N = np.array([_voted(row, answers) for row, answers in zip(scores_NK, answers_NK, strict=True)])
    return estimate(won_N, samples=1)


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """How much better `after` is than `before` on the same items.

    Example: 128 items, 20 won and 4 lost: `value=0.125, standard_error=0.037`, 3.4 standard errors above 0.
    """

    @property
    def in_standard_errors(self) -> float | None:
        """value / standard_error; None where the standard error is 0 or unknown (all differences equal, one item)."""
        return self.value / self.standard_error if self.standard_error > 0 else None


def paired_difference(before: npt.ArrayLike, after: npt.ArrayLike) -> Difference:
    """The mean over items of d_i = after_i - before_i, its standard error s/√N, and an interval.

    `before` and `after` are [N] or [N, K] for the same N items in the same order (K may differ); items that either
    could not score are left out. The interval is Wald's after adding one item that was won and one that was lost
    (Bonett and Price 2012): so it has a width even where no item changed, and it covers well for few items.
    Raises `SettingsError` when the number of items differs or no item is left.

    >>> paired_difference([0, 0, 1, 1], [1, 1, 1, 1]).value
    0.5
    """
    difference_N = _scored(_gains(item_means(_checked(before)), item_means(_checked(after))))
    items = len(difference_N)
    center = difference_N.sum() / (items + 2)
    spread = math.sqrt(max(0.0, ((difference_N**2).sum() + 2) / (items + 2) - center**2))
    width = Z * spread / math.sqrt(items + 2)
    return Difference(
        value=float(difference_N.mean()),
        low=float(max(-1.0, center - width)),
        high=float(min(1.0, center + width)),
        standard_error=standard_error(difference_N),
        items=items,
    )


def estimate(scores_N: npt.ArrayLike, *, samples: int = 1) -> Estimate:
    """The mean of one score an item with a Wilson interval over items; scores in [0, 1], NaN left out.

    Wilson's interval for a share p of n uses n = the number of items that would be as uncertain as these scores:
    n = p(1-p)/se², at least N, at most N·samples (`samples` a score is made from). With one sample an item this is
    Wilson's interval itself; it stays inside [0, 1] and has a width even when every item is right.
    Raises `SettingsError` when no item could be scored.
    """
    scores_N = _scored(np.asarray(scores_N, dtype=np.float64))
    items, mean = len(scores_N), float(scores_N.mean())
    error = standard_error(scores_N)
    most = items * max(1, samples)
    if error > 0:
        effective = min(max(mean * (1 - mean) / error**2, items), most)
    else:  # all items alike (they may be as certain as their samples allow), or one item alone (it is not)
        effective = most if items > 1 and 0 < mean < 1 else items
    low, high = wilson(mean, effective)
    return Estimate(value=mean, low=low, high=high, standard_error=error, items=items)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a share seen among n: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    >>> [round(end, 4) for end in wilson(0.5, 10)]
    [0.2366, 0.7634]
    """
    center = share + Z * Z / (2 * n)
    width = Z * math.sqrt(max(0.0, share * (1 - share)) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    return max(0.0, (center - width) / scale), min(1.0, (center + width) / scale)


def item_means(accuracy: npt.ArrayLike) -> Array:
    """[N] the mean over each item's judged samples; NaN for an item without any. An [N] array is given back."""
    accuracy = np.asarray(accuracy, dtype=np.float64)
    if accuracy.ndim == 1:
        return accuracy
    judged = ~np.isnan(accuracy)
    sums, counts = np.where(judged, accuracy, 0).sum(1), judged.sum(1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _checked(accuracy: npt.ArrayLike) -> Array:
    array = np.asarray(accuracy, dtype=np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise SettingsError(f"scores: got shape {array.shape}, expected [items, samples] with at least one of each")
    array = array[:, None] if array.ndim == 1 else array
    outside = array[~np.isnan(array) & ~((array >= 0) & (array <= 1))]
    if outside.size:
        raise SettingsError(f"scores: got {outside[0]:g}, expected accuracies in 0 to 1 (NaN: not judged)")
    return array


def _scored(scores_N: Array) -> Array:
    kept = scores_N[~np.isnan(scores_N)]
    if not kept.size:
        raise SettingsError(f"scores: none of {scores_N.size} items could be scored")
    return kept


def standard_error(scores_N: Array) -> float:
    """s/√N of one score an item; NaN for a single one."""
    if len(scores_N) < 2:
        return math.nan
    return float(scores_N.std(ddof=1) / math.sqrt(len(scores_N)))


def _voted(accuracy_K: Array, answers: Sequence[str | None]) -> float:
    judged = [(answer, a) for answer, a in zip(answers, accuracy_K, strict=True) if not math.isnan(a)]
    if not judged:
        return math.nan
    votes: dict[str, list[float]] = {}
    for answer, a in judged:
        if answer is not None:
            votes.setdefault(answer, []).append(float(a))
    most = max(map(len, votes.values()), default=0)
    winners = [sum(given) / most for given in votes.values() if len(given) == most]
    return sum(winners) / len(winners) if winners else 0.0


def are_shares(*scores_NK: npt.ArrayLike) -> bool:
    """Whether all scores lie in [0, 1], so that intervals for shares fit them."""
    arrays = [np.asarray(scores, dtype=np.float64) for scores in scores_NK]
    return all(bool(((array >= 0) & (array <= 1) | np.isnan(array)).all()) for array in arrays)


def mean_score(scores_NK: npt.ArrayLike) -> Estimate:
    """The mean of shares by `mean_at_k`, of anything else with Student's interval over items.

    >>> mean_score([[500.0], [400.0]]).value
    450.0
    """
    return mean_at_k(scores_NK) if are_shares(scores_NK) else mean_of_numbers(scores_NK)


def mean_of_numbers(scores_NK: npt.ArrayLike) -> Estimate:
    """The mean of numbers of any size, with Student's interval over items.

    >>> mean_of_numbers([[0.5, 1.5], [0.0, 0.0]]).value
    0.5
    """
    return Estimate(**_normal(item_means(scores_NK)))


def score_difference(before: npt.ArrayLike, after: npt.ArrayLike) -> Difference:
    """How much better `after` is on the same items: `paired_difference` for shares, else with Student's interval.

    >>> score_difference([[10.0], [20.0]], [[30.0], [42.0]]).value
    21.0
    """
    if are_shares(before, after):
        return paired_difference(before, after)
    return Difference(**_normal(_gains(item_means(before), item_means(after))))


def _gains(before_N: Array, after_N: Array) -> Array:
    if len(before_N) != len(after_N):
        raise SettingsError(f"paired difference: got {len(before_N)} and {len(after_N)} items, expected the same")
    return after_N - before_N


def _normal(values_N: Array) -> dict[str, Any]:
    """The fields of an `Estimate` with Student's 95 % interval over items, of no width where the error is not known."""
    values_N = _scored(values_N)
    value, error = float(values_N.mean()), standard_error(values_N)
    width = 0.0 if math.isnan(error) else reach_of_many(0.95, len(values_N)) * error
    return {
        "value": value,
        "low": value - width,
        "high": value + width,
        "standard_error": error,
        "items": len(values_N),
    }


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
