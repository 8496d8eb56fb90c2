"""Scores of a method over several seeds: interquartile mean, intervals, and one method against another.

`scores_SN` has a row for each seed's run and a column for each held-out item: the item's mean over its samples, NaN
where none could be judged. Two things vary: the seed (what is drawn, in which order) and the items. Items are either
the same for all seeds (a data file) or each seed's own (problems made from the seed, start states); which of the two
is `common_items`.

    own items      a run's score holds the chance of its items already, so the spread of the runs is all of it
    common items   what all runs owe to the items that happened to be chosen shows in no spread between runs:
                   s²(item means)/N less the part of it that the samples explain, s²(rest)/(S·N), is added

An interval reaches √( (t_{S-1} · seeds' error)² + (t_{N-1} · items' error)² ), with Student's t of either. It covers
what it says where scores of seeds are normal, however few there are, and rather more than less where items are common.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from rung.random import generator
from rung.runs.statistics import are_shares, reach, reach_of_many, standard_error, within

Array = npt.NDArray[np.float64]

DRAWS = 40_000
"""Draws of a normal distribution by which the interquartile mean's interval is made to cover what it says."""
MOST_SEEDS = 1000
POWER = 0.8
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
    """The interquartile mean over runs with its 95 % interval; of one seed, the interval over its items alone.

    How many standard errors the interval reaches is taken from the same mean of normal numbers; for fewer than four
    seeds that is Student's t.
    """
    means_S = run_means(scores_SN)
    seeds, value = len(means_S), interquartile_mean(means_S)
    if seeds < 2:
        seeds_width, items = 0.0, _error_of_all(scores_SN)
    else:
        seeds_width, items = middle_reach(seeds) * standard_error(means_S), _items_error(scores_SN, common_items)
    width = math.hypot(seeds_width, reach_of_many(LEVEL, scores_SN.shape[1]) * items)
    return _interval(value, width, shares=are_shares(scores_SN))


def chance_better(after_SN: Array, before_SN: Array) -> Array:
    """[S,N] 1 where `after` scored more on the item, 1/2 where both scored the same, 0 where less; NaN: not scored."""
    found = (np.sign(after_SN - before_SN) + 1) / 2
    return np.where(np.isnan(after_SN) | np.isnan(before_SN), np.nan, found)


def probability_better(after_SN: Array, before_SN: Array, *, common_items: bool) -> Interval:
    """P(after beats before) on an item of a run, ties one half: the mean of `chance_better`, with its interval.

    >>> probability_better(np.array([[1.0, 0.5]]), np.array([[0.0, 0.5]]), common_items=False).value
    0.75
    """
    chance_SN = chance_better(after_SN, before_SN)
    spread = _spread(chance_SN, common_items)
    return _interval(float(run_means(chance_SN).mean()), spread.width(LEVEL), shares=True)


@dataclass(frozen=True, kw_only=True)
class SeedDifference:
    """How much more `after` scores than `before`, paired by seed and item."""

    value: float
    low: float
    high: float
    """The ends of the 95 % interval of this one difference."""
    standard_error: float
    p: float
    """Two-sided: the highest level at which the interval still ends at 0; before any correction for several
    comparisons."""
    seeds: int
    won: int
    """Seeds on which `after` scored more."""
    seeds_needed: int | None
    """Seeds with which a difference and a spread like these are told apart four times in five; None: more than 1,000,
    or the items are too few."""


def seed_difference(
    after_SN: Array, before_SN: Array, *, common_items: bool, comparisons: int = 1
) -> SeedDifference | None:
    """The mean over seeds of the paired differences; None with fewer than two seeds, where nothing tells how much a
    seed matters. `comparisons` are made at once, which `seeds_needed` takes into account."""
    seeds = len(after_SN)
    if seeds < 2:
        return None
    difference_SN = after_SN - before_SN
    means_S, spread = run_means(difference_SN), _spread(difference_SN, common_items)
    value = float(means_S.mean())
    width = spread.width(LEVEL)
    return SeedDifference(
        value=value,
        low=value - width,
        high=value + width,
        standard_error=math.hypot(spread.seeds_error, spread.items_error),
        p=_p(abs(value), spread),
        seeds=seeds,
        won=int((means_S > 0).sum()),
        seeds_needed=_needed(abs(value), spread, 1 - (1 - LEVEL) / comparisons),
    )


@dataclass(frozen=True)
class _Spread:
    """The two standard errors of a mean over seeds and items, and how many numbers each was taken from."""

    seeds_error: float
    items_error: float
    seeds: int
    items: int

    def width(self, level: float) -> float:
        """Half the width of the interval of a level."""
        of_seeds = reach(level, self.seeds - 1) * self.seeds_error if self.seeds_error else 0.0
        of_items = reach_of_many(level, self.items) * self.items_error if self.items_error else 0.0
        return math.hypot(of_seeds, of_items)


def _spread(values_SN: Array, common_items: bool) -> _Spread:
    means_S = run_means(values_SN)
    seeds = standard_error(means_S) if len(means_S) > 1 else 0.0
    items = _items_error(values_SN, common_items)
    if not seeds and not items:  # runs that agree to the last bit, each on items of its own
        items = _error_of_all(values_SN)
    return _Spread(seeds, items, len(means_S), values_SN.shape[1])


def _error_of_all(values_SN: Array) -> float:
    found = standard_error(values_SN[~np.isnan(values_SN)])
    return 0.0 if math.isnan(found) else found


def _p(size: float, spread: _Spread) -> float:
    if size == 0 or (not spread.seeds_error and not spread.items_error):
        return 0.0 if size else 1.0
    if not spread.items_error:
        return 1 - within(size / spread.seeds_error, spread.seeds - 1)
    low, high = 0.0, 1 - 1e-12  # the level whose interval ends at 0, by halving
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if spread.width(middle) >= size else (middle, high)
    return 1 - high


def _needed(size: float, spread: _Spread, level: float) -> int | None:
    """The fewest seeds S' with ( (t_{S'-1} + z_power) · s / √S' )² + (t · items' error)² ≤ difference²."""
    left = size**2 - (reach_of_many(level, spread.items) * spread.items_error) ** 2
    if left <= 0:
        return None
    seed_spread = spread.seeds_error * math.sqrt(spread.seeds)
    more = reach_of_many(2 * POWER - 1, MOST_SEEDS)
    enough = (n for n in range(2, MOST_SEEDS + 1) if (reach_of_many(level, n) + more) ** 2 * seed_spread**2 / n <= left)
    return next(enough, None)


def _interval(value: float, width: float, *, shares: bool) -> Interval:
    low, high = value - width, value + width
    return Interval(value=value, low=max(0.0, low) if shares else low, high=min(1.0, high) if shares else high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): below α for a pair, with a chance of at most α that any pair is wrongly told
    apart, however the tests depend on each other.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order, largest = sorted(range(len(p_values)), key=lambda index: p_values[index]), 0.0
    adjusted: dict[int, float] = {}
    for rank, index in enumerate(order):
        adjusted[index] = largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
    return [adjusted[index] for index in range(len(p_values))]


def _items_error(values_SN: Array, common_items: bool) -> float:
    """What common items add to the error of a mean: √( s²(item means)/N - s²(rest)/(S·N) ); 0 for own items."""
    seeds, items = values_SN.shape
    if not common_items or items < 2:
        return 0.0
    with np.errstate(invalid="ignore"):
        counts_N = (~np.isnan(values_SN)).sum(0)
        kept_SN = values_SN[:, counts_N > 0]
        of_items_N = np.nansum(kept_SN, axis=0) / counts_N[counts_N > 0]
    variance = standard_error(of_items_N) ** 2 if len(of_items_N) > 1 else 0.0
    if seeds > 1:
        rest_SN = kept_SN - run_means(kept_SN)[:, None] - of_items_N + of_items_N.mean()
        degrees = (seeds - 1) * (kept_SN.shape[1] - 1)
        variance -= float(np.nansum(rest_SN**2)) / degrees / (~np.isnan(kept_SN)).sum()
    return math.sqrt(max(0.0, variance))


@cache
def middle_reach(seeds: int) -> float:
    """How many standard errors the interval of an interquartile mean of so many normal numbers reaches.

    >>> [round(middle_reach(seeds), 1) for seeds in (3, 4, 10)]
    [4.3, 3.4, 2.4]
    """
    if seeds < 4:
        return reach(LEVEL, seeds - 1)
    normal_DS = generator((seeds,)).standard_normal((DRAWS, seeds))
    errors_D = normal_DS.std(axis=1, ddof=1) / math.sqrt(seeds)
    return float(np.quantile(np.abs(_middle(normal_DS)) / errors_D, LEVEL))


def _middle(values_DS: Array) -> Array:
    """[D] the interquartile mean of each row."""
    ordered = np.sort(values_DS, axis=1)
    cut = ordered.shape[1] // 4
    return ordered[:, cut : ordered.shape[1] - cut].mean(1)


ALPHA = 0.05
RULE = (
    "Two methods are told apart when the mean of their paired differences over seeds is away from 0 by Student's t "
    "(seeds - 1 degrees of freedom; common items add their own spread), with p < 0.05 after "
    "Holm's correction over all pairs of the comparison. So the chance that any two equal methods are told apart is "
    "at most 5 %. With one seed nothing is told apart: nobody knows what another seed would have given."
)


@dataclass(frozen=True)
class Pair:
    """Two methods, as the rule sees them."""

    after: str
    before: str
    difference: float
    """Score of `after` less that of `before`."""
    p_adjusted: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer. `best`: the methods that no other is shown to beat, highest score first; empty: nothing is said."""

    headline: str
    best: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def resolution(seeds: int) -> str:
    """What so many seeds can tell apart at all, in words, before anything has run.

    >>> resolution(2)
    'a difference between two methods must be 12.7 of its standard errors to be told apart, with 5 seeds 2.8'
    """
    if seeds < 2:
        return "one seed tells nothing apart; three or more can"
    here = f"{reach(1 - ALPHA, seeds - 1):.1f}"
    more = "" if seeds >= 5 else f", with 5 seeds {reach(1 - ALPHA, 4):.1f}"
    return f"a difference between two methods must be {here} of its standard errors to be told apart{more}"


def verdict(scores: Mapping[str, float], pairs: Sequence[Pair], *, seeds: int) -> Verdict:
    """The verdict on methods with a score each; `seeds` is the smallest number of seeds that a method has.

    >>> verdict({"a": 0.5, "b": 0.4}, [Pair(after="a", before="b", difference=0.1, p_adjusted=0.2)], seeds=3).headline
    'Not distinguishable at this budget: a, b.'
    """
    ranked = sorted(scores, key=lambda name: (-scores[name], list(scores).index(name)))
    if not ranked:
        return Verdict(headline="No run has finished, so there is nothing to compare.")
    if len(ranked) == 1:
        return Verdict(headline=f"Only {ranked[0]} has a score, so there is nothing to compare it with.")
    if seeds < 2:
        told = f"One seed cannot tell methods apart. The highest score is {ranked[0]}'s; run more seeds."
        return Verdict(headline=told)
    beaten: dict[str, list[str]] = {name: [] for name in ranked}
    for pair in pairs:
        if pair.p_adjusted < ALPHA:
            won, lost = (pair.after, pair.before) if pair.difference > 0 else (pair.before, pair.after)
            beaten[lost].append(won)
    behind = [name for name in ranked if beaten[name]]
    best = [name for name in ranked if not beaten[name]] or ranked[:1]  # no seeds in common may leave a circle
    details = [f"{name} is behind {', '.join(sorted(beaten[name], key=ranked.index))}." for name in behind]
    return Verdict(headline=_headline(ranked, best, behind, beaten), best=tuple(best), details=tuple(details))


def _headline(
    ranked: Sequence[str], best: Sequence[str], behind: Sequence[str], beaten: Mapping[str, Sequence[str]]
) -> str:
    if len(best) == len(ranked):
        return f"Not distinguishable at this budget: {', '.join(ranked)}."
    if len(best) > 1:
        return (
            f"At the top, not distinguishable from one another at this budget: {', '.join(best)}. "
            f"Behind at least one of them: {', '.join(behind)}."
        )
    equal = [name for name in ranked[1:] if best[0] not in beaten[name]]
    if not equal:
        return f"{best[0]} is best at this budget, ahead of every other."
    return (
        f"{best[0]} has the highest score and is beaten by none, but is not distinguishable at this budget from "
        f"{', '.join(equal)}."
    )
