"""Segments never hold steps of two episodes; pairs to ask about are different and keyed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rung.batch import Batch
from rung.random import Stream
from rung.trainers.rlhf_2017.segments import Segments, cut_segments, drawn_pairs, episode_pieces, newest, steps_of


def batch_of(rows: list[list[int]], *, cut: bool = True, padding: int = 0) -> Batch:
    """Rows of episodes of these lengths; an observation says which episode it is of, and its step. Rewards too."""
    steps = max(sum(lengths) for lengths in rows) + padding
    shape = (len(rows), steps)
    seen, rewards, over = np.full((*shape, 2), np.nan, np.float32), np.full(shape, np.nan), np.zeros(shape, bool)
    mask = np.zeros(shape, bool)
    for row, lengths in enumerate(rows):
        at = 0
        for episode, length in enumerate(lengths):
            for step in range(length):
                seen[row, at] = 100 * row + episode, step
                rewards[row, at], mask[row, at], over[row, at] = 10.0**episode, True, step == length - 1
                at += 1
    zeros = torch.zeros(shape)
    return Batch(
        contexts=torch.from_numpy(seen),
        actions_BT=torch.zeros(shape, dtype=torch.int64),
        action_mask_BT=torch.from_numpy(mask),
        sampler_log_probs_BT=zeros,
        rewards_BT=torch.from_numpy(rewards),
        discounts_BT=torch.from_numpy(1.0 - (over & (not cut))),
        cut_BT=torch.from_numpy(over & cut),
        bootstrap_BT=zeros,
        group_ids_B=torch.arange(len(rows)),
        scores_B=torch.zeros(len(rows)),
        truncated_B=torch.zeros(len(rows), dtype=torch.bool),
    )


def cut_up(batch: Batch, length: int, seed: int = 0) -> Segments:
    assert isinstance(batch.contexts, torch.Tensor)
    return cut_segments(batch, batch.contexts, length, Stream(seed, 0, "segments"))


lengths = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=5), min_size=1, max_size=3)


@given(rows=lengths, length=st.integers(1, 6), cut=st.booleans(), seed=st.integers(0, 99))
def test_no_segment_straddles_an_episode_and_none_that_fits_is_missing(
    rows: list[list[int]], length: int, cut: bool, seed: int
) -> None:
    found = cut_up(batch_of(rows, cut=cut, padding=3), length, seed)
    assert len(found) == sum(episode // length for row in rows for episode in row)
    for steps_KD, truth in zip(found.steps_NKD, found.truth_N, strict=True):
        episode, step_K = float(steps_KD[0, 0]), steps_KD[:, 1]
        assert (steps_KD[:, 0] == episode).all(), "all steps are of one episode"
        assert (step_K == step_K[0] + torch.arange(length)).all(), "and follow each other"
        assert truth == length * 10.0 ** (episode % 100)
    pairs = {(float(one[0]), float(one[1])) for segment in found.steps_NKD for one in segment}
    assert len(pairs) == length * len(found), "no step is in two segments"


def test_pieces_by_hand() -> None:
    assert episode_pieces(batch_of([[3, 2], [4]], padding=2)) == [(0, 0, 3), (0, 3, 5), (1, 0, 4)]


def test_the_control_sees_a_segment_that_straddles() -> None:
    """Without the marks of the ends the same rows give segments of two episodes."""
    batch = batch_of([[5, 5]])
    blind = cut_up(batch.changed(cut_BT=torch.zeros_like(batch.cut_BT)), 4)
    assert any(len(set(steps_KD[:, 0].tolist())) > 1 for steps_KD in blind.steps_NKD)


def test_what_is_left_over_moves_by_a_keyed_draw() -> None:
    batch = batch_of([[11]])
    begins = {int(cut_up(batch, 4, seed).places_N3[0, 2]) for seed in range(40)}
    assert begins == {0, 1, 2, 3}
    assert torch.equal(cut_up(batch, 4, 7).places_N3, cut_up(batch, 4, 7).places_N3)


def test_a_predictor_sees_actions_as_the_environment_took_them() -> None:
    batch = batch_of([[3]])
    box = SimpleNamespace(low=np.array([-1.0, -2.0]), high=np.array([1.0, 2.0]))
    vector: Any = SimpleNamespace(choices=None, action_space=box)
    actions_BTA = torch.tensor([[[5.0, 0.5], [-0.5, -9.0], [0.0, 0.0]]])
    seen = steps_of(batch.changed(actions_BT=actions_BTA), vector)[..., 2:]
    assert seen.tolist() == [[[1.0, 0.5], [-0.5, -2.0], [0.0, 0.0]]]
    choice: Any = SimpleNamespace(choices=3)
    seen = steps_of(batch.changed(actions_BT=torch.tensor([[2, 0, 1]])), choice)[..., 2:]
    assert seen.tolist() == [[[0, 0, 1], [1, 0, 0], [0, 1, 0]]]


def test_the_newest_are_kept() -> None:
    segments = cut_up(batch_of([[9, 9]]), 3)
    assert torch.equal(newest(segments, 2).places_N3, segments.places_N3[-2:])
    assert newest(segments, 99) is segments
    assert torch.equal(Segments.from_state(segments.state()).steps_NKD, segments.steps_NKD)


@pytest.mark.parametrize("count", [2, 5, 40])
def test_pairs_are_different_and_of_two(count: int) -> None:
    pairs_N2 = drawn_pairs(count, 30, Stream(0, 3, "queries"))
    assert ((pairs_N2 >= 0) & (pairs_N2 < count)).all() and (pairs_N2[:, 0] != pairs_N2[:, 1]).all()
    assert len({frozenset(pair) for pair in pairs_N2.tolist()}) == len(pairs_N2) <= count * (count - 1) // 2
    assert count < 40 or len(pairs_N2) == 30
    assert len(drawn_pairs(1, 5, Stream(0, 3, "queries"))) == 0


def test_every_pair_comes_up_and_either_way_round() -> None:
    drawn = [tuple(pair) for step in range(200) for pair in drawn_pairs(3, 1, Stream(0, step, "queries")).tolist()]
    assert set(drawn) == {(i, j) for i in range(3) for j in range(3) if i != j}
