from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from rung.errors import SettingsError
from rung.runs.statistics import (
    estimate,
    item_means,
    majority_at_k,
    mean_at_k,
    mean_of_numbers,
    paired_difference,
    pass_at_k,
    score_difference,
    wilson,
)

Z = 1.959963984540054


@pytest.mark.parametrize("right", range(7))
@pytest.mark.parametrize("k", range(1, 7))
def test_pass_at_k_equals_enumeration_of_all_draws(right: int, k: int) -> None:
    item = [1.0] * right + [0.0] * (6 - right)
    draws = list(itertools.combinations(item, k))
    assert pass_at_k([item], k).value == pytest.approx(np.mean([any(draw) for draw in draws]), abs=1e-12)


def test_pass_at_k_is_unbiased() -> None:
    # each of the 2^5 outcomes of 5 samples with chance p, weighted: E[pass@2 from 5] = 1 - (1-p)²
    p = 0.3
    expected = sum(
        p ** sum(row) * (1 - p) ** (5 - sum(row)) * pass_at_k([row], 2).value
        for row in itertools.product((0, 1), repeat=5)
    )
    assert expected == pytest.approx(1 - (1 - p) ** 2, abs=1e-12)


def test_pass_at_1_is_the_mean_and_pass_at_all_is_any() -> None:
    accuracy = (np.random.default_rng(0).random((20, 8)) < 0.2).astype(float)
    assert pass_at_k(accuracy, 1).value == pytest.approx(mean_at_k(accuracy).value, abs=1e-12)
    assert pass_at_k(accuracy, 8).value == pytest.approx(accuracy.any(1).mean(), abs=1e-12)


def test_partial_credit_is_right_only_from_a_line_on() -> None:
    assert pass_at_k([[0.9, 0.5]], 1).value == 0
    assert pass_at_k([[0.9, 0.5]], 1, right_at=0.9).value == 0.5


def test_an_unjudged_sample_is_left_out_and_is_no_zero() -> None:
    accuracy = [[1, math.nan], [math.nan, math.nan], [0, 1]]
    found = mean_at_k(accuracy)
    assert (found.value, found.items) == (0.75, 2)
    passed = pass_at_k(accuracy, 2)  # only the last item has two judged samples
    assert (passed.value, passed.items) == (1.0, 1)


@pytest.mark.parametrize("k", [0, 4, -1])
def test_pass_at_k_refuses_a_k_that_was_not_drawn(k: int) -> None:
    with pytest.raises(SettingsError, match=f"got {k}, expected 1 to 3"):
        pass_at_k([[1, 0, 0]], k)


def test_majority_by_answers() -> None:
    accuracy = [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 0, 0, 0]]
    answers = [["4", "4", "5", "6", "7"], ["8", "8", "9", "9", "1"], [None, "2", "2", None, "3"]]
    # the first wins, the second ties (one of two answers right), the third votes for a wrong answer
    assert majority_at_k(accuracy, answers).value == pytest.approx((1 + 0.5 + 0) / 3)


def test_majority_where_no_answer_could_be_read_is_wrong() -> None:
    assert majority_at_k([[0, 0]], [[None, None]]).value == 0


def test_majority_without_answers_is_a_lower_bound() -> None:
    draw = np.random.default_rng(1)
    for _ in range(50):
        answers = draw.integers(0, 4, (1, 7))
        accuracy = (answers == 0).astype(float)
        texts = [[str(a) for a in row] for row in answers]
        assert majority_at_k(accuracy).value <= majority_at_k(accuracy, texts).value
    assert majority_at_k([[1, 0], [1, 1]]).value == 0.75


def test_wilson_closed_forms() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2365931, 0.7634069), abs=1e-6)
    assert wilson(0.0, 10) == pytest.approx((0.0, Z**2 / (10 + Z**2)), abs=1e-12)
    assert wilson(1.0, 10) == pytest.approx((10 / (10 + Z**2), 1.0), abs=1e-12)


def test_one_sample_an_item_gives_wilsons_own_interval() -> None:
    scores = [1] * 90 + [0] * 38
    found = estimate(scores)
    assert (found.low, found.high) == pytest.approx(wilson(90 / 128, 128), abs=1e-12)
    assert found.standard_error == pytest.approx(math.sqrt(90 / 128 * 38 / 128 / 127), abs=1e-12)
    assert found.value == 90 / 128


def test_samples_of_one_item_are_not_independent_items() -> None:
    # every item is all right or all wrong: 8 samples each tell no more than one
    same = np.repeat([[1.0], [0.0], [1.0], [0.0]], 8, axis=1)
    assert mean_at_k(same).low == pytest.approx(mean_at_k(same[:, :1]).low)
    # items that are all equally hard: as sure as all samples together
    alike = np.tile([1.0, 0.0], (4, 4))
    assert (mean_at_k(alike).low, mean_at_k(alike).high) == pytest.approx(wilson(0.5, 32), abs=1e-12)


def test_one_item_alone_is_as_uncertain_as_one_item() -> None:
    found = estimate([0.5], samples=8)
    assert (found.low, found.high) == pytest.approx(wilson(0.5, 1))
    assert math.isnan(mean_at_k([[1, 0]]).standard_error)


@pytest.mark.parametrize(("items", "samples"), [(40, 4), (100, 1), (200, 8)])
def test_the_interval_covers_the_truth_as_often_as_it_says(items: int, samples: int) -> None:
    draw = np.random.default_rng(7)
    hits = 0
    for _ in range(1500):
        hard_N = draw.beta(0.8, 1.2, items)  # the true mean is 0.4
        found = mean_at_k((draw.random((items, samples)) < hard_N[:, None]).astype(float))
        hits += found.low <= 0.4 <= found.high
    assert 0.93 <= hits / 1500 <= 0.98


def test_paired_difference_closed_form() -> None:
    won, lost, items = 20, 4, 128
    before = np.array([0] * won + [1] * lost + [1] * (items - won - lost))
    after = np.array([1] * won + [0] * lost + [1] * (items - won - lost))
    found = paired_difference(before, after)
    assert found.value == pytest.approx((won - lost) / items)
    variance = ((won + lost) - (won - lost) ** 2 / items) / (items - 1)
    assert found.standard_error == pytest.approx(math.sqrt(variance / items), abs=1e-12)
    assert found.in_standard_errors == pytest.approx(found.value / found.standard_error)
    # Bonett and Price (2012): one discordant pair added on each side
    center = (won - lost) / (items + 2)
    reach = Z * math.sqrt((won + 1 + lost + 1) - (won - lost) ** 2 / (items + 2)) / (items + 2)
    assert (found.low, found.high) == pytest.approx((center - reach, center + reach), abs=1e-12)


def test_pairing_is_narrower_than_two_intervals_and_changes_sign_with_the_order() -> None:
    draw = np.random.default_rng(3)
    before = (draw.random((200, 4)) < 0.5).astype(float)
    after = np.maximum(before, (draw.random((200, 4)) < 0.1).astype(float))
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.value == -back.value and there.low == pytest.approx(-back.high)
    alone = math.hypot(mean_at_k(before).standard_error, mean_at_k(after).standard_error)
    assert there.standard_error < alone / 2


def test_no_change_at_all_still_has_a_width() -> None:
    found = paired_difference([1, 0, 1], [1, 0, 1])
    assert found.value == 0 and found.low < 0 < found.high
    assert found.standard_error == 0 and found.in_standard_errors is None


def test_paired_difference_leaves_out_items_that_either_could_not_score() -> None:
    found = paired_difference([0, math.nan, 1, 0], [1, 1, math.nan, 0])
    assert (found.items, found.value) == (2, 0.5)


def test_paired_difference_refuses_different_items() -> None:
    with pytest.raises(SettingsError, match="got 3 and 2 items"):
        paired_difference([1, 0, 1], [1, 0])


@pytest.mark.parametrize("scores", [[], [[]], [[[1.0]]]])
def test_a_wrong_shape_is_refused(scores: list[object]) -> None:
    with pytest.raises(SettingsError, match="expected \\[items, samples\\]"):
        mean_at_k(scores)


@pytest.mark.parametrize("value", [1.5, -0.1, math.inf])
def test_an_accuracy_outside_0_to_1_is_refused(value: float) -> None:
    with pytest.raises(SettingsError, match="expected accuracies in 0 to 1"):
        mean_at_k([[value]])


def test_nothing_scored_is_refused() -> None:
    with pytest.raises(SettingsError, match="none of 2 items"):
        mean_at_k([[math.nan], [math.nan]])


def test_item_means_leave_out_what_was_not_judged() -> None:
    assert item_means([[1, math.nan, 0]]).tolist() == [0.5]
    assert item_means([1.0, 0.0]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("items", [3, 10, 64])
def test_intervals_of_numbers_and_of_differences_cover(items: int) -> None:
    """Returns of a few episodes, paired or not, and paired shares: 95 % within 2 points and the simulation's error. A
    normal interval of three numbers covers 75 %."""
    rng, draws = np.random.default_rng(items), 1500
    hits = np.zeros(3)
    for _ in range(draws):
        before, after = rng.normal(100, 30, items), rng.normal(120, 30, items)
        mean, gain = mean_of_numbers(before[:, None]), score_difference(before[:, None], after[:, None])
        hits[:2] += [mean.low <= 100 <= mean.high, gain.low <= 20 <= gain.high]
        easy = rng.random(items)
        shares = paired_difference(rng.random(items) < easy * 0.6, rng.random(items) < easy)
        hits[2] += shares.low <= 0.2 <= shares.high
    assert (abs(hits[:2] / draws - 0.95) < 0.02 + 0.011).all(), hits / draws
    assert hits[2] / draws > 0.93 - 0.011, "shares of few items: never less"


def test_a_return_that_could_not_be_judged_is_left_out() -> None:
    found = mean_of_numbers([[10.0], [np.nan], [20.0]])
    assert (found.value, found.items) == (15.0, 2) and found.low < 15 < found.high
    gain = score_difference([[10.0], [np.nan], [20.0]], [[30.0], [5.0], [50.0]])
    assert (gain.value, gain.items) == (25.0, 2)
