"""The order of items: every item once an epoch, from the step's number alone."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.random import keyed_hash, keyed_share, raw_numbers
from rung.tasks.order import batch_indices, item_order


@given(st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 200))
def test_an_epoch_is_a_permutation(seed: int, epoch: int, n: int):
    assert sorted(item_order(seed, epoch, n).tolist()) == list(range(n))


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 40), st.integers(1, 6))
def test_every_item_once_an_epoch_across_borders(seed: int, per_step: int, n: int, epochs: int):
    steps = -(-n * epochs // per_step)
    taken = np.concatenate([batch_indices(seed, step, per_step, n) for step in range(1, steps + 1)])
    for epoch in range(epochs):
        part = taken[epoch * n : (epoch + 1) * n]
        assert part.tolist() == item_order(seed, epoch, n).tolist()
        assert set(Counter(part.tolist()).values()) == {1}


def test_a_step_needs_no_step_before_it():
    forwards = [batch_indices(3, step, 7, 50).tolist() for step in range(1, 30)]
    backwards = [batch_indices(3, step, 7, 50).tolist() for step in range(29, 0, -1)]
    assert forwards == backwards[::-1]


def test_seeds_and_epochs_differ():
    assert item_order(0, 0, 100).tolist() != item_order(1, 0, 100).tolist()
    assert item_order(0, 0, 100).tolist() != item_order(0, 1, 100).tolist()


def test_the_order_is_the_same_on_every_machine():
    assert item_order(0, 0, 10).tolist() == [2, 7, 5, 1, 4, 3, 8, 6, 0, 9]
    code = "from rung.tasks.order import batch_indices; print(batch_indices(5, 9, 4, 100).tolist())"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert runs == {f"{batch_indices(5, 9, 4, 100).tolist()}\n".encode()}


def test_an_order_that_was_changed_by_its_user_does_not_change_the_next():
    first = item_order(0, 0, 10)
    with pytest.raises(ValueError, match="read-only"):
        first[:] = 0
    assert sorted(item_order(0, 0, 10).tolist()) == list(range(10))


def test_steps_count_from_one():
    with pytest.raises(AssertionError, match="steps count from 1"):
        batch_indices(0, 0, 4, 10)


def test_keys_tell_apart_parts_types_and_lengths():
    keys = [("a", "bc"), ("ab", "c"), ("abc",), (1,), ("1",), (1, 2), (12,), ("a", "b", "c"), ("\ud800",), ()]
    assert len({keyed_hash(*key) for key in keys}) == len(keys)
    assert 0 <= keyed_share("x") < 1 and raw_numbers("x", n=3).tolist() == raw_numbers("x", n=5).tolist()[:3]
    shares = [keyed_share("share", i) for i in range(2000)]
    assert abs(np.mean(shares) - 0.5) < 0.03
