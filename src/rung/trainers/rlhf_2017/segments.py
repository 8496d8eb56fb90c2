"""Segments: short stretches of behaviour within one episode, cut from rollouts and kept while they are recent.

Legend: **B** rows, **T** steps, **N** segments, **K** steps of a segment, **D** numbers of a step: its observation,
then its action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.random import Stream
from rung.tasks.environment import EnvironmentTask


def steps_of(batch: Batch, task: EnvironmentTask) -> Tensor:
    """[B, T, D] float32: what a reward predictor sees of each step.

    An action as the environment took it: a vector clipped to its bounds, a choice as one 1 among 0s.
    """
    assert isinstance(batch.contexts, Tensor), "segments are cut from environments"
    observations_BTO = batch.contexts.flatten(2).float()
    if task.choices is not None:
        actions_BTA = torch.nn.functional.one_hot(batch.actions_BT.clamp(min=0), task.choices).float()
    else:
        space = task.action_space
        low, high = (torch.from_numpy(np.ravel(bound).astype(np.float32)) for bound in (space.low, space.high))
        actions_BTA = batch.actions_BT.float().clamp(low, high)
    return torch.cat([observations_BTO, actions_BTA], 2)


@dataclass(frozen=True)
class Segments:
    """N segments of K steps each.

    Example: a rollout of 1024 steps in episodes of 200, cut at 25 steps: `len(segments)` is 40.
    """

    steps_NKD: Tensor
    """What a reward predictor sees of them."""
    truth_N: Tensor
    """float64, the task's own reward summed: for a synthetic oracle and for evaluation. Nothing that learns sees it."""
    places_N3: Tensor
    """int64: the rollout, the row of its batch, and the step of that row at which each begins."""

    def __len__(self) -> int:
        return len(self.steps_NKD)

    def at(self, index_N: Tensor) -> Segments:
        """The segments at these places, in that order."""
        return Segments(*(each[index_N] for each in vars(self).values()))

    def and_then(self, later: Segments) -> Segments:
        """These, then the later ones."""
        return Segments(*(torch.cat(both) for both in zip(vars(self).values(), vars(later).values(), strict=True)))

    def state(self) -> dict[str, Tensor]:
        return {"steps": self.steps_NKD, "truth": self.truth_N, "places": self.places_N3}

    @staticmethod
    def from_state(tensors: Mapping[str, Tensor]) -> Segments:
        return Segments(tensors["steps"], tensors["truth"], tensors["places"])

    @staticmethod
    def none(length: int, inputs: int) -> Segments:
        """No segment yet."""
        return Segments(
            torch.zeros(0, length, inputs), torch.zeros(0, dtype=torch.float64), torch.zeros(0, 3, dtype=torch.int64)
        )


def episode_pieces(batch: Batch) -> list[tuple[int, int, int]]:
    """(row, first step, step after the last) of each episode's part in the batch, in order.

    An episode is over where it ended (`discounts_BT` 0) or was cut; a row's own steps may be fewer than T.
    """
    over_BT = batch.action_mask_BT & ((batch.discounts_BT == 0) | batch.cut_BT)
    pieces: list[tuple[int, int, int]] = []
    for row, (over_T, own_T) in enumerate(zip(over_BT.numpy(), batch.action_mask_BT.numpy(), strict=True)):
        begin = 0
        own = int(own_T.sum())
        for end in [*(np.flatnonzero(over_T) + 1).tolist(), own]:
            if end > begin:
                pieces.append((row, begin, end))
                begin = end
    return pieces


def cut_segments(batch: Batch, steps_BTD: Tensor, length: int, stream: Stream) -> Segments:
    """Every episode's part of the batch, cut into segments of `length` steps one behind the other.

    Where a part is no multiple of the length, the segments begin later by a keyed draw, so that no part of an episode
    is never asked about. No segment holds steps of two episodes.

    Args:
        stream: its step is the rollout's number.
    """
    found: list[tuple[int, int, int]] = []
    for number, (row, begin, end) in enumerate(episode_pieces(batch)):
        rest = (end - begin) % length
        late = int(stream.uniforms(f"piece-{number}", 0, 1)[0] * (rest + 1)) if end - begin >= length else rest
        found += [(stream.step, row, at) for at in range(begin + late, end - length + 1, length)]
    if not found:
        return Segments.none(length, steps_BTD.shape[2])
    places_N3 = torch.tensor(found)
    row_N1, at_NK = places_N3[:, 1:2], places_N3[:, 2:] + torch.arange(length)
    return Segments(steps_BTD[row_N1, at_NK], batch.rewards_BT.double()[row_N1, at_NK].sum(1), places_N3)


def newest(segments: Segments, most: int) -> Segments:
    """The last `most` of them."""
    return segments if len(segments) <= most else segments.at(torch.arange(len(segments) - most, len(segments)))


def drawn_pairs(count: int, wanted: int, stream: Stream) -> Tensor:
    """[N, 2] int64: up to `wanted` different pairs of two different ones of `count` segments, keyed.

    >>> drawn_pairs(2, 5, Stream(0, 1, "queries")).sort(1).values.tolist()
    [[0, 1]]
    """
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for one, two in stream.uniforms("pairs", 0, 2 * 4 * wanted).reshape(-1, 2) if count > 1 else []:
        first = int(one * count)
        second = (first + 1 + int(two * (count - 1))) % count
        found.setdefault((min(first, second), max(first, second)), (first, second))
        if len(found) == wanted:
            break
    return torch.tensor(list(found.values()), dtype=torch.int64).reshape(-1, 2)
