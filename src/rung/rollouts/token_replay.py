"""The replay of a text task: past completions, each kept once; the prefix that a token was chosen by is its row's own.

A step is a token that the policy chose. A completion of T steps holds T states, and one causal pass over it gives Q at
all of them, so whole completions are drawn, each with the same chance, and no prefix is ever kept twice. Every step is
then in a minibatch as often as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.errors import SettingsError
from rung.rollouts.replay import require_same

Array = npt.NDArray[Any]

SMALL_VOCABULARY = 1 << 16
"""Ids below this are kept as two bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One completion.

    Example: prompt "2+3=" answered "5" and an end token, 1 for being right: `context=[4, 10, 5, 13]`,
    `actions=[7, 1]`, `own=[True, True]`, `rewards=[0.0, 1.0]`.
    """

    context: Array
    """[P] prompt ids."""
    actions: Array
    """[T] ids, cut after the policy's last own token."""
    own: npt.NDArray[np.bool_]
    """[T] True where the policy chose; the last one is."""
    rewards: npt.NDArray[np.float32]
    """[T] what followed each token, 0 in holes."""

    @property
    def steps(self) -> int:
        return int(self.own.sum())


class TokenReplay:
    """The last `capacity` steps, in whole completions: the oldest goes when there are more, the newest always stays.

    Example:
        replay = TokenReplay(capacity=1000, vocabulary=100)
        replay.add(context_P, actions_T, own_T, rewards_T)
        some = replay.draw(np.array([0.3, 0.7]), steps=4)
    """

    def __init__(self, *, capacity: int, vocabulary: int) -> None:
        if capacity < 1:
            raise SettingsError(f"method.replay.capacity: got {capacity}, expected at least 1")
        self.capacity = capacity
        self._ids = np.dtype(np.uint16 if vocabulary <= SMALL_VOCABULARY else np.int32)
        self._kept: dict[int, Kept] = {}
        """By number, counted from 0 on: `_low` to `_head` − 1 are kept."""
        self._low = self._head = 0
        self._steps = 0
        self.added = 0
        """Steps ever added."""

    def __len__(self) -> int:
        """Steps that can be drawn."""
        return self._steps

    def add(self, context_P: Array, actions_T: Array, own_T: Array, rewards_T: Array) -> None:
        """One completion. One without a step of the policy's own has nothing to learn from and is not kept."""
        chosen = np.flatnonzero(own_T)
        if not len(chosen):
            return
        end = int(chosen[-1]) + 1
        one = Kept(
            context=context_P.astype(self._ids),
            actions=actions_T[:end].astype(self._ids),
            own=own_T[:end].astype(bool),
            rewards=rewards_T[:end].astype(np.float32),
        )
        self._put(one)
        self.added += one.steps

    def _put(self, one: Kept) -> None:
        self._kept[self._head] = one
        self._head += 1
        self._steps += one.steps
        while self._steps > self.capacity and self._head - self._low > 1:
            self._steps -= self._kept.pop(self._low).steps
            self._low += 1

    def draw(self, uniforms_N: Array, steps: int) -> list[Kept]:
        """Completions, one for each number in [0, 1), until they have `steps` steps together."""
        found: list[Kept] = []
        held = 0
        for number in (uniforms_N * (self._head - self._low)).astype(np.int64):
            found.append(self._kept[self._low + int(number)])
            held += found[-1].steps
            if held >= steps:
                break
        return found

    def state(self) -> dict[str, Any]:
        """For a checkpoint: numbers for JSON."""
        return {**self._identity(), "low": self._low, "added": self.added}

    def _identity(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "ids": str(self._ids)}

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: all completions end to end, and their lengths [2, R]."""
        kept = [self._kept[number] for number in range(self._low, self._head)]
        ids = [part for one in kept for part in (one.context, one.actions)]
        signed = np.dtype(f"int{8 * self._ids.itemsize}")  # safetensors readers know no unsigned two bytes everywhere
        return {
            "replay/ids": torch.from_numpy(_joined(ids, self._ids).view(signed)),
            "replay/own": torch.from_numpy(_joined([one.own for one in kept], np.dtype(bool))),
            "replay/rewards": torch.from_numpy(_joined([one.rewards for one in kept], np.dtype(np.float32))),
            "replay/lengths": torch.tensor(
                [[len(one.context) for one in kept], [len(one.actions) for one in kept]], dtype=torch.int32
            ),
        }

    def load(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` and `tensors` gave. CheckpointError when it is another's."""
        wanted = ("ids", "own", "rewards", "lengths")
        missing = [name for name in wanted if f"replay/{name}" not in tensors]
        require_same("replay is", numbers, self._identity(), missing=missing)
        ids, own, rewards, lengths_2R = (tensors[f"replay/{name}"].numpy() for name in wanted)
        ids = ids.view(self._ids)
        self._kept.clear()
        self._steps, self._low, self._head = 0, int(numbers["low"]), int(numbers["low"])
        self.added = int(numbers["added"])
        at = begin = 0
        for prompt, length in lengths_2R.T.tolist():
            end, middle = begin + length, at + prompt
            self._put(
                Kept(
                    context=ids[at:middle].copy(),
                    actions=ids[middle : middle + length].copy(),
                    own=own[begin:end].copy(),
                    rewards=rewards[begin:end].copy(),
                )
            )
            at, begin = middle + length, end


def _joined(parts: list[Array], dtype: np.dtype[Any]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
