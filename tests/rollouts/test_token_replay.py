"""The replay of completions: nothing is kept twice, every step is drawn alike, a checkpoint brings all of it back."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from rung.errors import CheckpointError, SettingsError
from rung.rollouts.token_replay import TokenReplay


def filled(count: int, capacity: int = 1000, vocabulary: int = 100) -> TokenReplay:
    """Completion n has the prompt [n, n] and 1 + n mod 3 tokens, the last one rewarded with n."""
    replay = TokenReplay(capacity=capacity, vocabulary=vocabulary)
    for n in range(count):
        length = 1 + n % 3
        rewards = np.zeros(length)
        rewards[-1] = n
        replay.add(np.array([n, n]), np.arange(length), np.ones(length, bool), rewards)
    return replay


def drawn(replay: TokenReplay, count: int = 5, steps: int = 6) -> list[tuple[list[int], list[int], list[float]]]:
    uniforms = (np.arange(count) + 0.5) / count
    return [(k.context.tolist(), k.actions.tolist(), k.rewards.tolist()) for k in replay.draw(uniforms, steps)]


def test_the_oldest_goes_whole_and_the_newest_always_stays() -> None:
    replay = filled(4, capacity=5)  # lengths 1, 2, 3, 1
    assert len(replay) == 4 and replay.added == 7
    assert {k.context[0] for k in replay.draw(np.linspace(0, 0.999, 50), 1000)} == {2, 3}
    replay.add(np.array([9]), np.arange(8), np.ones(8, bool), np.zeros(8))
    assert len(replay) == 8, "longer than the capacity, and the only one there"


def test_ids_take_two_bytes_or_four_and_prefixes_are_not_stored() -> None:
    (small,) = filled(1).draw(np.array([0.0]), 1)
    (large,) = filled(1, vocabulary=(1 << 16) + 1).draw(np.array([0.0]), 1)
    assert (small.actions.dtype, large.actions.dtype) == (np.uint16, np.int32)
    last = TokenReplay(capacity=9, vocabulary=1 << 16)
    last.add(np.array([65_535]), np.array([65_535]), np.array([True]), np.array([1.0]))
    assert last.draw(np.array([0.5]), 1)[0].actions.tolist() == [65_535]
    tensors = filled(300).tensors()
    assert tensors["replay/ids"].numel() == 300 * 2 + 600 and tensors["replay/ids"].element_size() == 2


def test_what_the_policy_did_not_choose_is_a_hole_and_a_tail_of_it_is_cut() -> None:
    replay = TokenReplay(capacity=10, vocabulary=100)
    replay.add(np.array([1]), np.array([5, 6, 7, 8]), np.array([True, False, True, False]), np.array([0, 0, 2.0, 0]))
    replay.add(np.array([1]), np.array([5]), np.array([False]), np.array([1.0]))
    (only,) = replay.draw(np.array([0.999]), 1)
    assert only.actions.tolist() == [5, 6, 7] and only.own.tolist() == [True, False, True] and only.steps == 2
    assert len(replay) == replay.added == 2


def test_every_step_is_drawn_as_often_as_any_other() -> None:
    """Though completions are drawn until there are enough steps, and are of different lengths."""
    replay = filled(3)
    counts: Counter[int] = Counter()
    for numbers in itertools.product(range(3), repeat=3):  # all that three draws can be, each with the same chance
        found = replay.draw((np.array(numbers) + 0.5) / 3, 3)
        assert sum(k.steps for k in found) >= 3 > sum(k.steps for k in found[:-1])
        counts.update(int(k.context[0]) for k in found)
    assert counts[0] == counts[1] == counts[2]


def test_a_checkpoint_brings_all_of_it_back() -> None:
    replay = filled(40, capacity=30)
    numbers, tensors = replay.state(), replay.tensors()
    other = TokenReplay(capacity=30, vocabulary=100)
    other.load(numbers, tensors)
    for one in (replay, other):
        one.add(np.array([7]), np.array([1, 2]), np.ones(2, bool), np.array([0.0, 0.5]))
    assert drawn(other) == drawn(replay) and (len(other), other.added) == (len(replay), replay.added)
    assert all(torch.equal(t, other.tensors()[name]) for name, t in replay.tensors().items())
    empty = TokenReplay(capacity=30, vocabulary=100)
    other.load(empty.state(), empty.tensors())
    assert len(other) == 0


def test_anothers_replay_is_refused() -> None:
    replay = filled(3)
    with pytest.raises(CheckpointError, match="capacity: saved 1000, here 30"):
        TokenReplay(capacity=30, vocabulary=100).load(replay.state(), replay.tensors())
    with pytest.raises(CheckpointError, match="rewards is missing"):
        replay.load(replay.state(), {k: v for k, v in replay.tensors().items() if k != "replay/rewards"})
    with pytest.raises(SettingsError, match="capacity"):
        TokenReplay(capacity=0, vocabulary=10)
