"""Means of scores that are no shares: returns of episodes, of any sign and size."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rung.errors import SettingsError
from rung.reports.statistics import (
    Difference,
    Estimate,
    item_means,
    mean_at_k,
    paired_difference,
    quantile,
    standard_error,
)


def are_shares(*scores_NK: npt.ArrayLike) -> bool:
    """Whether all scores lie in [0, 1], so that intervals for shares fit them."""
    arrays = [np.asarray(scores, dtype=np.float64) for scores in scores_NK]
    return all(bool(((array >= 0) & (array <= 1) | np.isnan(array)).all()) for array in arrays)


def mean_score(scores_NK: npt.ArrayLike) -> Estimate:
    """The mean of shares by `mean_at_k`, of anything else with a normal interval over items.

    >>> mean_score([[500.0], [400.0]]).value
    450.0
    """
    return mean_at_k(scores_NK) if are_shares(scores_NK) else mean_of_numbers(scores_NK)


def mean_of_numbers(scores_NK: npt.ArrayLike) -> Estimate:
    """The mean of numbers of any size, with a normal interval over items.

    >>> mean_of_numbers([[0.5, 1.5], [0.0, 0.0]]).value
    0.5
    """
    values_N = item_means(scores_NK)
    value, error = float(values_N.mean()), standard_error(values_N)
    reach = _reach(error)
    return Estimate(value=value, low=value - reach, high=value + reach, standard_error=error, items=len(values_N))


def score_difference(before: npt.ArrayLike, after: npt.ArrayLike) -> Difference:
    """How much better `after` is on the same items: `paired_difference` for shares, else with a normal interval.

    >>> score_difference([[10.0], [20.0]], [[30.0], [42.0]]).value
    21.0
    """
    if are_shares(before, after):
        return paired_difference(before, after)
    first_N, second_N = item_means(before), item_means(after)
    if len(first_N) != len(second_N):
        raise SettingsError([f"paired difference: got {len(first_N)} and {len(second_N)} items, expected the same"])
    gains_N = second_N - first_N
    value, error = float(gains_N.mean()), standard_error(gains_N)
    reach = _reach(error)
    return Difference(value=value, low=value - reach, high=value + reach, standard_error=error, items=len(gains_N))


def _reach(error: float) -> float:
    """Half the width of a 95 % interval; 0 where the error is not known."""
    return 0.0 if math.isnan(error) else quantile(0.95) * error
