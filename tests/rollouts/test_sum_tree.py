"""The sum tree against a cumulative sum."""

from __future__ import annotations

import numpy as np
import pytest

from rung.rollouts.sum_tree import SumTree


@pytest.mark.parametrize("size", [1, 2, 5, 64, 100])
def test_finds_what_a_cumulative_sum_finds(size: int) -> None:
    generator = np.random.Generator(np.random.PCG64(size))
    tree, weights = SumTree(size), np.zeros(size)
    for _ in range(20):
        places = generator.choice(size, min(size, 3), replace=False)
        drawn = generator.random(len(places)) * generator.integers(0, 2, len(places))
        tree.set(places, drawn)
        weights[places] = drawn
        assert tree.total == pytest.approx(weights.sum())
        if not weights.any():
            continue
        sums = generator.random(50) * tree.total
        expected = np.searchsorted(weights.cumsum(), sums, side="right")
        assert (tree.find(sums) == expected).all()


def test_a_weight_of_0_is_never_found_at_the_very_end() -> None:
    tree = SumTree(4)
    tree.set(np.array([0, 1]), np.array([0.1, 0.2]))
    assert tree.find(np.array([tree.total, np.nextafter(tree.total, 1)])).tolist() == [1, 1]


def test_made_again_from_its_weights_it_is_the_same_to_the_last_bit() -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    tree, again = SumTree(77), SumTree(77)
    for _ in range(200):
        tree.set(generator.integers(0, 77, 5), generator.random(5))
    again.load(tree.weights().copy())
    sums = generator.random(100) * tree.total
    assert again.total == tree.total and (again.find(sums) == tree.find(sums)).all()


def test_draws_are_in_proportion() -> None:
    tree = SumTree(3)
    tree.set(np.arange(3), np.array([1.0, 0.0, 3.0]))
    uniforms = (np.arange(4000) + 0.5) / 4000
    found = np.bincount(tree.find(uniforms * tree.total), minlength=3)
    assert found.tolist() == [1000, 0, 3000]
