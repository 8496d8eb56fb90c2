from __future__ import annotations

import math

import pytest

from rung.errors import SettingsError
from rung.runs.statistics import mean_at_k, mean_score, paired_difference, score_difference


def test_shares_keep_the_intervals_of_shares() -> None:
    before, after = [[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 1.0]]
    assert mean_score(after) == mean_at_k(after)
    assert score_difference(before, after) == paired_difference(before, after)


def test_returns_have_students_interval_of_any_sign_and_size() -> None:
    found = mean_score([[-200.0], [-100.0], [-150.0]])
    error = 50 / math.sqrt(3)
    assert (found.value, found.items) == (-150.0, 3) and found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == (pytest.approx(-150 - 4.302653 * error), pytest.approx(-150 + 4.302653 * error))


def test_the_gain_of_returns_is_paired() -> None:
    found = score_difference([[10.0], [300.0]], [[30.0], [322.0]])
    assert found.value == 21.0 and found.standard_error == pytest.approx(1.0)
    with pytest.raises(SettingsError, match="got 1 and 2 items"):
        score_difference([[10.0]], [[30.0], [40.0]])


def test_one_episode_has_no_known_error() -> None:
    found = mean_score([[500.0]])
    assert math.isnan(found.standard_error) and found.low == found.high == 500.0
