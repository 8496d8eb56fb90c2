from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.random import Stream

KEYS = st.tuples(st.integers(0, 5), st.integers(0, 5), st.text(max_size=3), st.text(max_size=3), st.integers(0, 5))


@given(KEYS, KEYS)
def test_equal_keys_equal_numbers_and_different_keys_different_numbers(a: tuple, b: tuple) -> None:
    first, second = (Stream(seed, step, purpose).uniforms(item, n, 4) for seed, step, purpose, item, n in (a, b))
    assert (first == second).all() == (a == b)


def test_a_longer_request_begins_with_the_shorter_one() -> None:
    stream = Stream(0, 1, "train")
    long = stream.uniforms("q", 3, 1000)
    assert long.dtype == np.float64 and long.min() >= 0 and long.max() < 1
    assert (stream.uniforms("q", 3, 10) == long[:10]).all()
    assert stream.uniforms("q", 3, 0).shape == (0,)


FIRST = [0.11016589471246774, 0.6927524340911229]


def test_the_numbers_stay_what_they_are() -> None:
    """A change here changes every recorded run."""
    assert Stream(0, 0, "train").uniforms("a", 0, 2) == pytest.approx(FIRST, abs=1e-15)


def test_they_are_uniform() -> None:
    numbers = np.concatenate([Stream(1, 0, "x").uniforms(str(i), 0, 8) for i in range(4000)])
    counts, _ = np.histogram(numbers, bins=64, range=(0, 1))
    expected = len(numbers) / 64
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - 63) / np.sqrt(2 * 63) < 4
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 4 / np.sqrt(len(numbers))


def test_lone_surrogates_in_an_item_id_are_no_problem() -> None:
    assert Stream(0, 0, "x").uniforms("\ud800", 0, 1) != Stream(0, 0, "x").uniforms("\ud801", 0, 1)
