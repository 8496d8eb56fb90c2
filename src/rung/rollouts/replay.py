"""The replay: past steps of several environments, each observation kept once.

Legend: **B** rows (environments), **S** steps kept of a row, **F** frames kept of a row, **K** steps of a window,
**N** steps drawn. Steps and frames of a row are numbered from 0 on; number n stands in place n mod S or F.

A frame is one observation: a vector, or one image as uint8. A step refers to the frame before its action; the frame
after it is the next one. What a network sees of a step, `stack` frames, is put together when it is read, and frames
before the episode's first are zeros. So a million Atari steps take 7.2 GB, not 28.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.errors import CheckpointError, SettingsError

Array = npt.NDArray[Any]

SEGMENT_BYTES = 64 * 2**20
"""Frames are saved in pieces of about this size."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The form of one observation. Example: `Frame(shape=(84, 84), dtype=np.dtype("uint8"), stack=4)`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stack: int = 1
    """Frames that a network sees at once, the newest last; 1: the frame as it is, without a dimension for it."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """K consecutive steps from each of N places; what stands behind an end or a cut is of another episode."""

    rows_N: Array
    steps_N: Array
    """The first step of each, by number."""
    actions_N: Array
    """Of the first step."""
    rewards_NK: Tensor
    discounts_NK: Tensor
    """0 where the step terminated the episode."""
    cut_NK: Tensor
    """True where the episode was cut after the step, or where the replay has no later step of it yet."""
    chances_N: Array | None
    """The chance of each to be drawn; None: all alike."""


class Replay:
    """The last `capacity` steps of all rows together.

    Call `begin` with a row's first frame, then `add` for every step of all rows with the frames that followed, then
    `begin` for the rows whose episode is over. A frame that followed an end is never asked for; one that followed a
    cut is kept, because the value of what was cut off is asked for.

    Example:
        replay = Replay(rows=1, capacity=1000, frame=Frame(shape=(4,), dtype=np.dtype("float32")))
        replay.begin(0, observation)
        replay.add(actions_B, rewards_B, ended_B, cut_B, next_frames_B)
    """

    def __init__(self, *, rows: int, capacity: int, frame: Frame, prioritised: bool = False) -> None:
        if capacity < rows:
            raise SettingsError(f"method.replay.capacity: got {capacity}, expected at least one step a row ({rows})")
        self.frame, self.rows = frame, rows
        self._steps = -(-capacity // rows)
        self._frames = self._steps + self._steps // 64 + frame.stack + 2  # a cut episode has one frame more than steps
        self._pixels = np.zeros((rows, self._frames, *frame.shape), frame.dtype)
        self._segment = max(1, SEGMENT_BYTES // max(1, self._pixels[0, :1].nbytes))
        self._actions = np.zeros((rows, self._steps), np.int64)
        self._rewards = np.zeros((rows, self._steps), np.float32)
        self._ended = np.zeros((rows, self._steps), bool)
        self._cut = np.zeros((rows, self._steps), bool)
        self._frame_of = np.zeros((rows, self._steps), np.int64)
        self._ages = np.zeros((rows, self._steps), np.uint8)
        """Frames of the episode before a step's own, at most stack − 1."""
        self._low_B, self._head_B = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        """Steps low..head−1 of a row can be drawn."""
        self._newest_B = np.full(rows, -1, np.int64)
        """The number of the newest frame: the observation that is acted on next."""
        self._age_B = np.zeros(rows, np.uint8)
        self._tree = SumTree(rows * self._steps) if prioritised else None
        self._highest = 1.0

    def __len__(self) -> int:
        """Steps that can be drawn."""
        return int((self._head_B - self._low_B).sum())

    @property
    def added(self) -> int:
        """Steps ever added."""
        return int(self._head_B.sum())

    def begin(self, row: int, frame: Array) -> None:
        """Begin a row's episode with this frame, in place of one that followed an end, which is never read."""
        last = self._head_B[row] - 1
        if last < 0 or not self._ended[row, last % self._steps]:
            self._newest_B[row] += 1
        self._pixels[row, self._newest_B[row] % self._frames] = frame
        self._age_B[row] = 0
        self._forget(row)

    def add(self, actions_B: Array, rewards_B: Array, ended_B: Array, cut_B: Array, frames_B: Array) -> None:
        """One step of every row, and the frame that followed it."""
        # A row at a time, because for the few there are numpy's cost for picking places by lists is the larger one.
        for row in range(self.rows):
            head, newest, age = int(self._head_B[row]), int(self._newest_B[row]), int(self._age_B[row])
            place = head % self._steps
            self._actions[row, place], self._rewards[row, place] = actions_B[row], rewards_B[row]
            self._ended[row, place], self._cut[row, place] = ended_B[row], cut_B[row]
            self._frame_of[row, place], self._ages[row, place] = newest, age
            if self._tree is not None:
                self._tree.set(np.array([row * self._steps + place]), np.array([self._highest]))
            self._pixels[row, (newest + 1) % self._frames] = frames_B[row]
            self._head_B[row], self._newest_B[row] = head + 1, newest + 1
            self._age_B[row] = min(age + 1, self.frame.stack - 1)
        np.maximum(self._low_B, self._head_B - self._steps, out=self._low_B)
        if self._newest_B.max() >= self._frames - self.frame.stack:
            for row in range(self.rows):
                self._forget(row)

    def _forget(self, row: int) -> None:
        """Steps whose frames were overwritten can no longer be drawn."""
        gone = self._newest_B[row] - self._frames
        while self._low_B[row] < self._head_B[row]:
            place = self._low_B[row] % self._steps
            if self._frame_of[row, place] - self._ages[row, place] > gone:
                return
            if self._tree is not None:
                self._tree.set(np.array([row * self._steps + place]), np.zeros(1))
            self._low_B[row] += 1

    def draw(self, uniforms_N: Array, steps: int) -> Window:
        """One window of K = `steps` steps for each number in [0, 1)."""
        if self._tree is None:
            sizes_B = self._head_B - self._low_B
            ends_B = sizes_B.cumsum()
            drawn_N = (uniforms_N * ends_B[-1]).astype(np.int64)
            rows_N = np.searchsorted(ends_B, drawn_N, side="right")
            numbers_N = drawn_N - (ends_B - sizes_B)[rows_N] + self._low_B[rows_N]
            return self._window(rows_N, numbers_N, steps, None)
        count = len(uniforms_N)
        places_N = self._tree.find((np.arange(count) + uniforms_N) * (self._tree.total / count))
        rows_N, within_N = places_N // self._steps, places_N % self._steps
        low_N = self._low_B[rows_N]
        numbers_N = low_N + (within_N - low_N) % self._steps
        return self._window(rows_N, numbers_N, steps, self._tree.weights()[places_N] / self._tree.total)

    def _window(self, rows_N: Array, numbers_N: Array, steps: int, chances_N: Array | None) -> Window:
        last_N = self._head_B[rows_N] - 1
        wanted_NK = numbers_N[:, None] + np.arange(steps)
        there_NK = np.minimum(wanted_NK, last_N[:, None])
        rows_N1, places_NK = rows_N[:, None], there_NK % self._steps
        cut_NK = self._cut[rows_N1, places_NK] | (wanted_NK >= last_N[:, None])
        return Window(
            rows_N=rows_N,
            steps_N=numbers_N,
            actions_N=self._actions[rows_N, places_NK[:, 0]],
            rewards_NK=torch.from_numpy(self._rewards[rows_N1, places_NK]),
            discounts_NK=torch.from_numpy((~self._ended[rows_N1, places_NK]).astype(np.float32)),
            cut_NK=torch.from_numpy(cut_NK),
            chances_N=chances_N,
        )

    def before(self, window: Window) -> Array:
        """[N, ...] the observations that the first step of each window was chosen by."""
        places_N = window.steps_N % self._steps
        return self._seen(window.rows_N, self._frame_of[window.rows_N, places_N], self._ages[window.rows_N, places_N])

    def after(self, window: Window, steps_N: Array) -> Array:
        """[N, ...] the observations after the first `steps_N` steps of each window; past an end, another episode's."""
        places_N = (window.steps_N + steps_N - 1) % self._steps
        frames_N = self._frame_of[window.rows_N, places_N] + 1
        ages_N = np.minimum(self._ages[window.rows_N, places_N].astype(np.int64) + 1, self.frame.stack - 1)
        return self._seen(window.rows_N, frames_N, ages_N)

    def _seen(self, rows_N: Array, frames_N: Array, ages_N: Array) -> Array:
        if self.frame.stack == 1:
            return self._pixels[rows_N, frames_N % self._frames]
        seen = np.empty((len(rows_N), self.frame.stack, *self.frame.shape), self.frame.dtype)
        for back in range(self.frame.stack):
            one = self._pixels[rows_N, (frames_N - back) % self._frames]
            one[ages_N < back] = 0
            seen[:, -1 - back] = one
        return seen

    def newest_frame(self, row: int) -> Array:
        """The frame that the row's next action is chosen by."""
        return self._pixels[row, self._newest_B[row] % self._frames]

    def reprioritise(self, window: Window, priorities_N: Array) -> None:
        """New priorities of drawn steps; steps that come later begin with the highest there was."""
        assert self._tree is not None, "only a prioritised replay has priorities"
        self._highest = max(self._highest, float(priorities_N.max()))
        self._tree.set(window.rows_N * self._steps + window.steps_N % self._steps, priorities_N)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """For a checkpoint, numbers for JSON and tensors: all but the frames, which are in `pieces`."""
        numbers = {
            **self._identity(),
            "low": self._low_B.tolist(),
            "head": self._head_B.tolist(),
            "newest": self._newest_B.tolist(),
            "age": self._age_B.tolist(),
            "highest": self._highest,
        }
        kept = int(min(self._head_B.max(initial=0), self._steps))
        arrays = {name: array[:, :kept] for name, array in self._by_step().items()}
        if self._tree is not None:
            arrays["priorities"] = self._tree.weights().reshape(self.rows, self._steps)[:, :kept]
        return numbers, {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def _identity(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "steps": self._steps,
            "frame": [list(self.frame.shape), str(self.frame.dtype), self.frame.stack],
            "prioritised": self._tree is not None,
        }

    def _by_step(self) -> dict[str, Array]:
        return {
            "actions": self._actions,
            "rewards": self._rewards,
            "ended": self._ended,
            "cut": self._cut,
            "frame_of": self._frame_of,
            "ages": self._ages,
        }

    def pieces(self) -> dict[str, Tensor]:
        """The frames in pieces of about 64 MB, by names that change when their content does; views, not copies.

        So a checkpoint needs to write only the pieces that the newest frames went into.
        """
        found: dict[str, Tensor] = {}
        for row, newest in enumerate(self._newest_B.tolist()):
            for first in range(0, min(newest + 1, self._frames), self._segment):
                past = min(first + self._segment, self._frames, newest + 1)
                turns, place = divmod(newest, self._frames)
                if place >= past - 1:
                    last = turns * self._frames + past - 1
                else:
                    last = newest if place >= first else (turns - 1) * self._frames + past - 1
                found[f"frames-{row}-{first}-{last}"] = torch.from_numpy(self._pixels[row, first:past])
        return found

    def load(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` and `pieces` gave, all tensors together. CheckpointError when it is another's."""
        wanted = [*self._by_step(), *(["priorities"] if self._tree is not None else [])]
        require_same("replay is", numbers, self._identity(), missing=[name for name in wanted if name not in tensors])
        self._low_B, self._head_B = np.array(numbers["low"]), np.array(numbers["head"])
        self._newest_B, self._age_B = np.array(numbers["newest"]), np.array(numbers["age"], np.uint8)
        self._highest = float(numbers["highest"])
        for name, array in self._by_step().items():
            kept = tensors[name].numpy()
            array[:, : kept.shape[1]] = kept
        if self._tree is not None:
            weights = np.zeros((self.rows, self._steps))
            weights[:, : tensors["priorities"].shape[1]] = tensors["priorities"].numpy()
            self._tree.load(weights.reshape(-1))
        missing = sorted(set(self.pieces()) - set(tensors))
        if missing:
            raise CheckpointError(f"the checkpoint's replay lacks {len(missing)} pieces of its frames: {missing[:3]}")
        for name in self.pieces():
            row, first = (int(part) for part in name.split("-")[1:3])
            self._pixels[row, first : first + len(tensors[name])] = tensors[name].numpy()


def require_same(what: str, saved: Mapping[str, Any], here: Mapping[str, Any], *, missing: Sequence[str] = ()) -> None:
    """CheckpointError, naming what differs or is missing, when a saved state is not of what is here."""
    other = [
        f"{key}: saved {saved.get(key)!r}, here {value!r}" for key, value in here.items() if saved.get(key) != value
    ]
    other += [f"{name} is missing" for name in missing]
    if other:
        raise CheckpointError(f"the checkpoint's {what} not this run's: {'; '.join(other)}")


class SumTree:
    """`size` weights, all 0 at first. Setting or finding N of them takes log2(size) array operations.

    Every sum is taken anew from the two below it, so that it depends on the weights alone and not on their history:
    a tree made again from its weights is the same to the last bit.

    >>> tree = SumTree(3)
    >>> tree.set(np.array([0, 2]), np.array([1.0, 3.0]))
    >>> tree.total, tree.find(np.array([0.5, 1.0, 3.9])).tolist()
    (4.0, [0, 2, 2])
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._leaves = 1 << max(size - 1, 0).bit_length()
        self._depth = self._leaves.bit_length() - 1
        self._sums = np.zeros(2 * self._leaves)

    @property
    def total(self) -> float:
        return float(self._sums[1])

    def weights(self) -> npt.NDArray[np.float64]:
        """[size], a view."""
        return self._sums[self._leaves : self._leaves + self.size]

    def set(self, places_N: Array, weights_N: Array) -> None:
        """Change some weights; of a place that is named twice, the last one counts."""
        nodes_N = places_N + self._leaves
        self._sums[nodes_N] = weights_N
        for _ in range(self._depth):
            nodes_N = nodes_N >> 1
            self._sums[nodes_N] = self._sums[2 * nodes_N] + self._sums[2 * nodes_N + 1]

    def find(self, sums_N: Array) -> Array:
        """The place at which the running sum of the weights passes each of these sums, in [0, total)."""
        nodes_N, left_N = np.ones(len(sums_N), np.int64), sums_N.astype(np.float64)
        for _ in range(self._depth):
            nodes_N = 2 * nodes_N
            first_N = self._sums[nodes_N]
            right_N = (left_N >= first_N) & (self._sums[nodes_N + 1] > 0)  # rounding must not lead to a weight of 0
            left_N = np.where(right_N, left_N - first_N, left_N)
            nodes_N += right_N
        return nodes_N - self._leaves

    def load(self, weights: Array) -> None:
        """Take over all weights."""
        self._sums[:] = 0.0
        self._sums[self._leaves : self._leaves + self.size] = weights
        for level in range(self._depth - 1, -1, -1):
            nodes = np.arange(1 << level, 2 << level)
            self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]
