"""Interquartile means, intervals and paired differences: known values, coverage, and what is not claimed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rung.lab.compare.seed_statistics import (
    chance_better,
    holm,
    interquartile_mean,
    probability_better,
    run_means,
    score_interval,
    seed_difference,
)
from rung.runs.statistics import reach


def test_interquartile_mean_by_hand() -> None:
    assert interquartile_mean([5.0]) == 5.0
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0, "three values: nothing is cut"
    assert interquartile_mean([100.0, 1.0, 2.0, -50.0]) == 1.5
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 100]) == pytest.approx(3.5)
    assert interquartile_mean([9, 0, 1, 2, 3]) == 2.0, "five values: the middle three"


def test_one_outlier_does_not_move_it() -> None:
    assert interquartile_mean([0.5, 0.5, 0.5, 0.5, -1000.0]) == 0.5
    assert np.mean([0.5, 0.5, 0.5, 0.5, -1000.0]) < -100


def test_items_that_were_not_judged_are_left_out() -> None:
    assert run_means(np.array([[1.0, np.nan, 0.0], [np.nan, np.nan, 1.0]])).tolist() == [0.5, 1.0]


def test_of_one_seed_it_is_the_interval_over_its_items() -> None:
    items = np.random.default_rng(1).normal(size=400)
    found = score_interval(items[None], common_items=False)
    assert found.value == pytest.approx(items.mean())
    expected = 1.972 * items.std(ddof=1) / math.sqrt(len(items))
    assert found.high - found.value == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("common", [True, False])
def test_equal_items_leave_the_seeds_alone(common: bool) -> None:
    """Runs whose items are all alike: Student's t of the runs, inside 0 to 1 for shares."""
    scores_SN = np.repeat(np.array([2.0, 4.0, 9.0])[:, None], 50, axis=1)
    found = score_interval(scores_SN, common_items=common)
    width = reach(0.95, 2) * np.std([2.0, 4.0, 9.0], ddof=1) / math.sqrt(3)
    assert found.value == pytest.approx(5.0) and found.high - 5.0 == pytest.approx(width) == 5.0 - found.low
    shares = score_interval(scores_SN / 10, common_items=common)
    assert (shares.low, shares.high) == (0.0, 1.0)


def test_common_items_vary_together() -> None:
    """The same items for all runs do not average out over runs, each run's own do."""
    base_N = np.random.default_rng(2).random(60)
    same_SN = np.repeat(base_N[None], 8, axis=0) + np.random.default_rng(3).normal(0, 1e-3, size=(8, 60))
    together = score_interval(same_SN, common_items=True)
    apart = score_interval(same_SN, common_items=False)
    assert together.high - together.low > 20 * (apart.high - apart.low)
    assert together.high - together.low == pytest.approx(2 * 2.0 * base_N.std() / math.sqrt(60), rel=0.05)


def test_the_same_scores_give_the_same_interval() -> None:
    scores_SN = np.random.default_rng(3).random((5, 40))
    assert score_interval(scores_SN, common_items=False) == score_interval(scores_SN.copy(), common_items=False)


def normal_scores(rng: np.random.Generator, seeds: int, spread: float, items: float, *, common: bool) -> np.ndarray:
    of_items = rng.normal(0, items, size=(1 if common else seeds, 40))
    return 50 + rng.normal(0, spread, size=(seeds, 1)) + of_items + rng.normal(0, 0.2, size=(seeds, 40))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_over_seeds_cover_what_they_say(seeds: int) -> None:
    """Items of each seed's own, of any spread: 95 % within 2 points and the simulation's own error; common items: not
    less. Negative control: the bootstrap's percentiles, as they were, cover 77 % at three seeds."""
    rng, draws = np.random.default_rng(seeds), 300
    for common, spread, items in ((False, 0.1, 0.3), (False, 0.0, 0.3), (True, 0.1, 0.3)):
        hits = dict.fromkeys(("score", "difference", "p", "ends"), 0)
        for _ in range(draws):
            one, two = (normal_scores(rng, seeds, spread, items, common=common) for _ in range(2))
            score, found = score_interval(one, common_items=common), seed_difference(one, two, common_items=common)
            assert found is not None
            hits["score"] += score.low <= 50 <= score.high
            hits["difference"] += found.low <= 0 <= found.high
            hits["p"] += (found.p > 0.05) == (found.low <= 0 <= found.high)
            hits["ends"] += run_means(one).min() <= 50 <= run_means(one).max()  # at most what a bootstrap can reach
        assert hits["p"] == draws, "the p-value and the interval say the same"
        for name in ("score", "difference"):
            share, error = hits[name] / draws, 2 * math.sqrt(0.05 * 0.95 / draws)
            assert share >= 0.93 - error, (name, share, spread, items)
            assert common or share <= 0.97 + error, (name, share, spread, items)
        assert common or hits["ends"] / draws == pytest.approx(1 - 2 ** (1 - seeds), abs=0.05)


def test_the_chance_to_be_better_covers() -> None:
    rng, hits, draws = np.random.default_rng(9), 0, 600
    for _ in range(draws):
        one, two = (normal_scores(rng, 3, 0.05, 0.3, common=False) for _ in range(2))
        found = probability_better(one, two, common_items=False)
        hits += found.low <= 0.5 <= found.high
    assert 0.93 - 0.018 <= hits / draws <= 0.97 + 0.018, hits / draws


def test_as_many_seeds_as_it_says_tell_two_methods_apart() -> None:
    """The number from three seeds' true spread: with so many, four in five experiments tell them apart."""
    levels_S = np.array([0.03, 0.1, 0.17])  # mean 0.1, deviation 0.07
    found = seed_difference(np.repeat(levels_S[:, None], 30, 1), np.zeros((3, 30)), common_items=False)
    assert found is not None and found.p > 0.05 and found.seeds_needed is not None
    rng, draws = np.random.default_rng(10), 400
    shares = []
    for seeds in (found.seeds_needed, found.seeds_needed - 2):
        scores = [np.repeat(rng.normal(0.1, 0.07, size=(seeds, 1)), 30, 1) for _ in range(draws)]
        told = [seed_difference(one, np.zeros((seeds, 30)), common_items=False) for one in scores]
        shares.append(sum(one is not None and one.p < 0.05 for one in told) / draws)
    assert 0.74 <= shares[0] <= 0.9 and shares[1] < shares[0] - 0.1, (found.seeds_needed, shares)
    equal = seed_difference(np.repeat([[1.0], [-1.0], [0.01]], 30, 1), np.zeros((3, 30)), common_items=False)
    assert equal is not None and equal.seeds_needed is None


def test_chance_better_by_hand() -> None:
    after, before = np.array([[1.0, 0.5, 0.0, np.nan]]), np.array([[0.0, 0.5, 1.0, 1.0]])
    np.testing.assert_array_equal(chance_better(after, before), [[1.0, 0.5, 0.0, np.nan]])
    assert probability_better(after, before, common_items=False).value == 0.5


def test_the_probability_has_its_closed_form() -> None:
    """Two coins, p and q: P(A > B) + ½P(A = B) = ½ + (p - q)/2."""
    rng = np.random.default_rng(5)
    after_SN = (rng.random((4, 5000)) < 0.7).astype(float)
    before_SN = (rng.random((4, 5000)) < 0.4).astype(float)
    found = probability_better(after_SN, before_SN, common_items=False)
    assert found.value == pytest.approx(0.65, abs=0.01)
    assert found.low < found.value < found.high
    back = probability_better(before_SN, after_SN, common_items=False)
    assert back.value == pytest.approx(1 - found.value)


def test_a_difference_is_student_s_paired_t() -> None:
    """With no spread among the items: the textbook's test on the runs' differences."""
    before_SN = np.zeros((3, 20))
    after_SN = np.repeat(np.array([0.10, 0.14, 0.12])[:, None], 20, axis=1)
    found = seed_difference(after_SN, before_SN, common_items=False)
    assert found is not None
    error = np.std([0.10, 0.14, 0.12], ddof=1) / math.sqrt(3)
    assert found.value == pytest.approx(0.12) and found.standard_error == pytest.approx(error)
    assert found.high - found.value == pytest.approx(reach(0.95, 2) * error)
    t = 0.12 / error
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert (found.seeds, found.won) == (3, 3)


def test_the_items_spread_counts_too() -> None:
    """Runs that agree to the last bit are not certain: they were evaluated on some items alone."""
    rng = np.random.default_rng(6)
    items_N = rng.normal(0.05, 0.5, size=30)
    after_SN = np.repeat(items_N[None], 3, axis=0)
    found = seed_difference(after_SN, np.zeros((3, 30)), common_items=True)
    assert found is not None
    assert found.standard_error == pytest.approx(items_N.std(ddof=1) / math.sqrt(30))
    assert found.p > 0.05


def test_one_seed_says_nothing_of_seeds() -> None:
    assert seed_difference(np.ones((1, 50)), np.zeros((1, 50)), common_items=False) is None


def test_equal_methods_are_told_apart_as_seldom_as_said() -> None:
    """Two methods with the same distribution, three seeds: p < 0.05 in at most about 5 of 100. A test that only counts
    which method won every seed would claim a quarter of them."""
    rng = np.random.default_rng(7)
    claims, all_won = 0, 0
    for _ in range(400):
        levels_S = rng.normal(0.5, 0.05, size=(2, 3))
        scores = (rng.random((2, 3, 60)) < levels_S[:, :, None]).astype(float)
        found = seed_difference(scores[0], scores[1], common_items=False)
        assert found is not None
        claims += found.p < 0.05
        all_won += found.won in (0, 3)
    assert claims <= 24, claims
    assert all_won > 60, all_won


def test_a_clear_difference_is_found() -> None:
    rng = np.random.default_rng(8)
    levels = rng.normal([[0.3], [0.7]], 0.02, size=(2, 3))
    scores = (rng.random((2, 3, 200)) < levels[:, :, None]).astype(float)
    found = seed_difference(scores[1], scores[0], common_items=False)
    assert found is not None and found.p < 0.05 and found.low > 0


def test_holm_by_hand_and_its_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02] and holm([]) == []
    values = [0.001, 0.2, 0.013, 0.04]
    assert np.argsort(holm(values)).tolist()[0] == 0 and all(a >= p for a, p in zip(holm(values), values, strict=True))
