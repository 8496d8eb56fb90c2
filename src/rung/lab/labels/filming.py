"""Clips of segments for people: an episode is replayed from its seed and actions, and the segment is filmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rung.batch import Batch
from rung.errors import SettingsError
from rung.rollouts.environments.recording import animated, frame_of, without_display
from rung.rollouts.environments.rows import Array
from rung.rollouts.environments.stretches import StretchCollector, Underway
from rung.tasks.environment import EnvironmentTask
from rung.trainers.rlhf_2017.segments import episode_pieces

FPS = 20.0
"""Slower than most environments' own: segments are short, and people look twice."""
Place = tuple[int, int, int]
"""(rollout, row, step of that row)."""


@dataclass(frozen=True)
class Strip:
    """The part of an episode in one rollout, with all that it takes to replay the episode from its beginning.

    Example: `Strip(seed=7, actions_T=array of 230 actions, earlier=200)` is the episode's steps 200 to 229.
    """

    seed: int
    actions_T: Array
    """The episode's actions up to the end of the part."""
    earlier: int
    """How many of them belong to earlier rollouts."""


class Strips:
    """The strips of recent rollouts, by the place at which each begins."""

    def __init__(self, task: EnvironmentTask) -> None:
        self.task = task
        self._strips: dict[Place, Strip] = {}

    def add(self, rollout: int, source: StretchCollector, underway: list[Underway], batch: Batch) -> None:
        """Keeps a rollout's strips, given the episodes that were underway in each row before it."""
        begun = [0] * len(underway)
        for row, begin, end in episode_pieces(batch):
            before = underway[row]
            own_T = batch.actions_BT[row, begin:end]
            earlier_T = torch.from_numpy(before.actions_T) if begin == 0 else own_T[:0]
            seed = source.seed_of(row, before.episode + begun[row])
            self._strips[rollout, row, begin] = Strip(seed, torch.cat([earlier_T, own_T]).numpy(), len(earlier_T))
            begun[row] += 1

    def forget(self, before: int) -> None:
        """Drops the rollouts before this one."""
        self._strips = {place: strip for place, strip in self._strips.items() if place[0] >= before}

    def clip(self, place: Place, length: int) -> bytes:
        """A GIF of the segment that begins at `place` and has `length` steps.

        Raises:
            SettingsError: the environment cannot be rendered here.
        """
        rollout, row, step = place
        begin = max(other for where, at, other in self._strips if (where, at) == (rollout, row) and other <= step)
        strip = self._strips[rollout, row, begin]
        first = strip.earlier + step - begin
        return animated(_film(self.task, strip.seed, strip.actions_T[: first + length], first), FPS)

    def tensors(self) -> dict[str, Tensor]:
        """`ROLLOUT.ROW.STEP.actions` and `.from` (seed, earlier) of each strip."""
        found: dict[str, Tensor] = {}
        for place, strip in self._strips.items():
            name = ".".join(map(str, place))
            found[f"{name}.actions"] = torch.from_numpy(strip.actions_T.copy())
            found[f"{name}.from"] = torch.tensor([strip.seed, strip.earlier])
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the strips from `tensors`."""
        self._strips = {}
        for name in sorted(name.removesuffix(".from") for name in tensors if name.endswith(".from")):
            rollout, row, step = map(int, name.split("."))
            seed, earlier = tensors[f"{name}.from"].tolist()
            self._strips[rollout, row, step] = Strip(seed, tensors[f"{name}.actions"].numpy().copy(), earlier)


def _film(task: EnvironmentTask, seed: int, actions_T: Array, first: int) -> list[Any]:
    """The pictures before each action from `first` on, and the one after the last."""
    without_display()
    environment = task.make("rgb_array")
    try:
        environment.reset(seed=seed)
        frames: list[Any] = []
        for number, action in enumerate(task.to_environment(actions_T)):
            if number >= first:
                frames.append(frame_of(environment))
            environment.step(action)
        frames.append(frame_of(environment))
    finally:
        environment.close()
    broken = next((frame for frame in frames if isinstance(frame, Exception)), None)
    if broken is not None:
        raise SettingsError(
            [
                f"preferences.labeller: people need clips, and '{task.name}' cannot be rendered here ({broken}); "
                "label on a machine that can, or set it to oracle"
            ]
        ) from broken
    return frames
