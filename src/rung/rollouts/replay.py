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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.compiled import compiled
from rung.errors import CheckpointError, SettingsError
from rung.rollouts.sum_tree import SumTree

Array = npt.NDArray[Any]

SEGMENT_BYTES = 64 * 2**20
"""Frames are saved in pieces of about this size."""


class Held(NamedTuple):
    """What a replay holds, for compiled functions."""

    frames_BFX: Array
    """[B, F, numbers of a frame]."""
    actions_BS: Array
    rewards_BS: Array
    ended_BS: Array
    cut_BS: Array
    frame_of_BS: Array
    """The number of the frame before the action."""
    ages_BS: Array
    """Frames of the episode before a step's own, at most stack − 1."""
    low_B: Array
    head_B: Array
    """Steps low..head−1 of a row can be drawn."""
    newest_B: Array
    """The number of the newest frame: the observation that is acted on next."""
    age_B: Array
    stack: int


BY_STEP = ("actions", "rewards", "ended", "cut", "frame_of", "ages")
"""What is kept of each step."""


@compiled
def begun(held: Held, row: int, frame_X: Array) -> None:
    """As `Replay.begin`."""
    last, places = held.head_B[row] - 1, held.actions_BS.shape[1]
    if last < 0 or not held.ended_BS[row, last % places]:
        held.newest_B[row] += 1
    held.frames_BFX[row, held.newest_B[row] % held.frames_BFX.shape[1]] = frame_X
    held.age_B[row] = 0
    _forget(held, row)


@compiled
def added(held: Held, row: int, action: int, reward: float, ended: bool, cut: bool, frame_X: Array) -> None:
    """One step of one row, and the frame that followed it."""
    head, newest, age = held.head_B[row], held.newest_B[row], held.age_B[row]
    place = head % held.actions_BS.shape[1]
    held.actions_BS[row, place], held.rewards_BS[row, place] = action, reward
    held.ended_BS[row, place], held.cut_BS[row, place] = ended, cut
    held.frame_of_BS[row, place], held.ages_BS[row, place] = newest, age
    held.frames_BFX[row, (newest + 1) % held.frames_BFX.shape[1]] = frame_X
    held.head_B[row], held.newest_B[row] = head + 1, newest + 1
    held.age_B[row] = min(age + 1, held.stack - 1)
    held.low_B[row] = max(held.low_B[row], head + 1 - held.actions_BS.shape[1])
    _forget(held, row)


@compiled
def _forget(held: Held, row: int) -> None:
    """Steps whose frames were overwritten can no longer be drawn."""
    gone = held.newest_B[row] - held.frames_BFX.shape[1]
    while held.low_B[row] < held.head_B[row]:
        place = held.low_B[row] % held.actions_BS.shape[1]
        if held.frame_of_BS[row, place] - held.ages_BS[row, place] > gone:
            return
        held.low_B[row] += 1


@compiled
def picked(held: Held, uniforms_N: Array) -> tuple[Array, Array]:
    """Rows and numbers of steps, all with the same chance."""
    rows_N, numbers_N = np.zeros(len(uniforms_N), np.int64), np.empty(len(uniforms_N), np.int64)
    sizes_B = held.head_B - held.low_B
    for n in range(len(uniforms_N)):
        left = int(uniforms_N[n] * sizes_B.sum())
        while left >= sizes_B[rows_N[n]]:
            left -= sizes_B[rows_N[n]]
            rows_N[n] += 1
        numbers_N[n] = held.low_B[rows_N[n]] + left
    return rows_N, numbers_N


@compiled
def windows(held: Held, rows_N: Array, numbers_N: Array, steps: int) -> tuple[Array, Array, Array, Array]:
    """The first action of each, and rewards, discounts and cuts of K steps, as `Window` has them."""
    size, places = (len(rows_N), steps), held.actions_BS.shape[1]
    actions_N, rewards_NK = np.empty(len(rows_N), np.int64), np.empty(size, np.float32)
    discounts_NK, cut_NK = np.empty(size, np.float32), np.empty(size, np.bool_)
    for n in range(len(rows_N)):
        row, last = rows_N[n], held.head_B[rows_N[n]] - 1
        actions_N[n] = held.actions_BS[row, numbers_N[n] % places]
        for k in range(steps):
            place = min(numbers_N[n] + k, last) % places
            rewards_NK[n, k] = held.rewards_BS[row, place]
            discounts_NK[n, k] = 0.0 if held.ended_BS[row, place] else 1.0
            cut_NK[n, k] = held.cut_BS[row, place] or numbers_N[n] + k >= last
    return actions_N, rewards_NK, discounts_NK, cut_NK


@compiled
def seen(held: Held, rows_N: Array, numbers_N: Array, steps_N: Array) -> Array:
    """[N, stack · numbers] the observations after so many steps of each window; 0: that its first was chosen by."""
    stack, (_, frames, width) = held.stack, held.frames_BFX.shape
    seen_NX = np.zeros((len(rows_N), stack * width), held.frames_BFX.dtype)
    for n in range(len(rows_N)):
        row, beyond = rows_N[n], min(steps_N[n], 1)
        place = (numbers_N[n] + steps_N[n] - beyond) % held.actions_BS.shape[1]
        frame = held.frame_of_BS[row, place] + beyond
        age = min(held.ages_BS[row, place] + beyond, stack - 1)
        for back in range(age + 1):
            first = (stack - 1 - back) * width
            seen_NX[n, first : first + width] = held.frames_BFX[row, (frame - back) % frames]
    return seen_NX


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
        size = (rows, self._steps)
        self.held = Held(
            frames_BFX=self._pixels.reshape(rows, self._frames, -1),
            actions_BS=np.zeros(size, np.int64),
            rewards_BS=np.zeros(size, np.float32),
            ended_BS=np.zeros(size, bool),
            cut_BS=np.zeros(size, bool),
            frame_of_BS=np.zeros(size, np.int64),
            ages_BS=np.zeros(size, np.uint8),
            low_B=np.zeros(rows, np.int64),
            head_B=np.zeros(rows, np.int64),
            newest_B=np.full(rows, -1, np.int64),
            age_B=np.zeros(rows, np.uint8),
            stack=frame.stack,
        )
        self._tree = SumTree(rows * self._steps) if prioritised else None
        self._highest = 1.0

    def __len__(self) -> int:
        """Steps that can be drawn."""
        return int((self.held.head_B - self.held.low_B).sum())

    @property
    def added(self) -> int:
        """Steps ever added."""
        return int(self.held.head_B.sum())

    def begin(self, row: int, frame: Array) -> None:
        """Begin a row's episode with this frame, in place of one that followed an end, which is never read."""
        before_B = self.held.low_B.copy()
        begun(self.held, row, frame.reshape(-1))
        self._forget(before_B)

    def add(self, actions_B: Array, rewards_B: Array, ended_B: Array, cut_B: Array, frames_B: Array) -> None:
        """One step of every row, and the frame that followed it."""
        before_B, places_B = self.held.low_B.copy(), self.held.head_B % self._steps
        frames_BX = frames_B.reshape(self.rows, -1)
        for row in range(self.rows):
            added(self.held, row, actions_B[row], rewards_B[row], ended_B[row], cut_B[row], frames_BX[row])
        self._forget(before_B)
        if self._tree is not None:
            self._tree.set(np.arange(self.rows) * self._steps + places_B, np.full(self.rows, self._highest))

    def _forget(self, before_B: Array) -> None:
        """Of the tree: steps that can no longer be drawn, of which the first in each row had these numbers before."""
        if self._tree is not None:
            for row, (first, low) in enumerate(zip(before_B, self.held.low_B, strict=True)):
                places_N = row * self._steps + np.arange(first, low) % self._steps
                self._tree.set(places_N, np.zeros(len(places_N)))

    def draw(self, uniforms_N: Array, steps: int) -> Window:
        """One window of K = `steps` steps for each number in [0, 1)."""
        if self._tree is None:
            return self._window(*picked(self.held, uniforms_N), steps, None)
        count = len(uniforms_N)
        places_N = self._tree.find((np.arange(count) + uniforms_N) * (self._tree.total / count))
        rows_N, within_N = places_N // self._steps, places_N % self._steps
        low_N = self.held.low_B[rows_N]
        numbers_N = low_N + (within_N - low_N) % self._steps
        return self._window(rows_N, numbers_N, steps, self._tree.weights()[places_N] / self._tree.total)

    def _window(self, rows_N: Array, numbers_N: Array, steps: int, chances_N: Array | None) -> Window:
        actions_N, rewards_NK, discounts_NK, cut_NK = windows(self.held, rows_N, numbers_N, steps)
        return Window(
            rows_N=rows_N,
            steps_N=numbers_N,
            actions_N=actions_N,
            rewards_NK=torch.from_numpy(rewards_NK),
            discounts_NK=torch.from_numpy(discounts_NK),
            cut_NK=torch.from_numpy(cut_NK),
            chances_N=chances_N,
        )

    def before(self, window: Window) -> Array:
        """[N, ...] the observations that the first step of each window was chosen by."""
        return self._shaped(seen(self.held, window.rows_N, window.steps_N, np.zeros_like(window.steps_N)))

    def after(self, window: Window, steps_N: Array) -> Array:
        """[N, ...] the observations after the first `steps_N` steps of each window; past an end, another episode's."""
        return self._shaped(seen(self.held, window.rows_N, window.steps_N, steps_N))

    def _shaped(self, seen_NX: Array) -> Array:
        stack = () if self.frame.stack == 1 else (self.frame.stack,)
        return seen_NX.reshape(len(seen_NX), *stack, *self.frame.shape)

    def newest_over(self) -> Array:
        """bool [B]: rows whose newest step was their episode's last."""
        held, rows_B = self.held, np.arange(self.rows)
        places_B = (held.head_B - 1) % self._steps
        return held.ended_BS[rows_B, places_B] | held.cut_BS[rows_B, places_B]

    def newest_frame(self, row: int) -> Array:
        """The frame that the row's next action is chosen by."""
        return self._pixels[row, self.held.newest_B[row] % self._frames]

    def reprioritise(self, window: Window, priorities_N: Array) -> None:
        """New priorities of drawn steps; steps that come later begin with the highest there was."""
        assert self._tree is not None, "only a prioritised replay has priorities"
        self._highest = max(self._highest, float(priorities_N.max()))
        self._tree.set(window.rows_N * self._steps + window.steps_N % self._steps, priorities_N)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """For a checkpoint, numbers for JSON and tensors: all but the frames, which are in `pieces`."""
        numbers = {
            **self._identity(),
            "low": self.held.low_B.tolist(),
            "head": self.held.head_B.tolist(),
            "newest": self.held.newest_B.tolist(),
            "age": self.held.age_B.tolist(),
            "highest": self._highest,
        }
        kept = int(min(self.held.head_B.max(initial=0), self._steps))
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
        return {name: getattr(self.held, f"{name}_BS") for name in BY_STEP}

    def pieces(self) -> dict[str, Tensor]:
        """The frames in pieces of about 64 MB, by names that change when their content does; views, not copies.

        So a checkpoint needs to write only the pieces that the newest frames went into.
        """
        found: dict[str, Tensor] = {}
        for row, newest in enumerate(self.held.newest_B.tolist()):
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
        for name in ("low", "head", "newest", "age"):
            getattr(self.held, f"{name}_B")[:] = numbers[name]
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
