"""Many CartPoles computed at once.

Gymnasium's own takes 20 microseconds a step, nearly all of it numpy's cost for each scalar operation; here one call,
compiled where that can be done, serves all rows. It is the same environment bit by bit (a test walks both), so nothing
else depends on which one is used. Gymnasium's own vector form is not used: it resets itself, and has one random stream
for all rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.compiled import compiled
from rung.tasks.environment import EnvironmentTask

Array = npt.NDArray[Any]

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
TOTAL, POLE_LENGTH = POLE + CART, POLE * HALF_LENGTH
FARTHEST, STEEPEST = 2.4, 12 * 2 * math.pi / 360
_ENTRY = "gymnasium.envs.classic_control.cartpole:CartPoleEnv"


def is_plain_cartpole(task: EnvironmentTask) -> bool:
    """Whether the task is Gymnasium's CartPole with no other option than a time limit."""
    import gymnasium

    known = task.name in gymnasium.registry and set(task.options) <= {"max_episode_steps"} and not task.fixed_length
    return known and gymnasium.spec(task.name).entry_point == _ENTRY and not gymnasium.spec(task.name).kwargs


class CartPoleRows:
    """The same as `EnvironmentRows`, for CartPole. `observations_BO` [B, 4]: position, speed, angle, angular speed."""

    def __init__(self, task: EnvironmentTask, count: int) -> None:
        self.task = task
        self.observations_BO = np.zeros((count, 4), np.float32)
        self.lost_B = np.zeros(count, bool)
        """As `EnvironmentRows` has it: there are no lives."""
        self._state_4B = np.zeros((4, count))
        self._taken_B = np.zeros(count, np.int64)
        self._limit = math.inf if task.max_episode_steps is None else task.max_episode_steps

    def __len__(self) -> int:
        return len(self._taken_B)

    def reset(self, row: int, seed: int) -> None:
        """Begin an episode, near the middle and upright."""
        from gymnasium.utils.seeding import np_random

        self._state_4B[:, row] = np_random(seed)[0].uniform(low=-0.05, high=0.05, size=(4,))
        self._taken_B[row] = 0
        self.observations_BO[row] = self._state_4B[:, row]

    def step(self, actions_N: Array, rows_N: Sequence[int]) -> tuple[Array, Array, Array]:
        """One step of these rows, given in ascending order: rewards, terminated, truncated, each [N]."""
        rows: Any = slice(None) if len(rows_N) == len(self) else np.asarray(rows_N)
        state_4N, ended_N = _moved(np.ascontiguousarray(self._state_4B[:, rows]), actions_N)
        self._state_4B[:, rows] = state_4N
        self._taken_B[rows] += 1
        self.observations_BO[rows] = state_4N.T
        return np.ones(len(rows_N)), ended_N, self._taken_B[rows] >= self._limit

    def close(self) -> None:
        """There is nothing to close."""


@compiled
def _moved(state_4N: Array, actions_N: Array) -> tuple[Array, Array]:
    """The state 0.02 s later (Barto, Sutton and Anderson 1983; Euler's method), in Gymnasium's order of operations, and
    whether the pole has fallen or the cart left the track."""
    force_N = np.where(actions_N == 1, FORCE, -FORCE)
    cos_N, sin_N, spin_N = np.cos(state_4N[2]), np.sin(state_4N[2]), state_4N[3]
    push_N = (force_N + POLE_LENGTH * (spin_N * spin_N) * sin_N) / TOTAL
    turn_N = (GRAVITY * sin_N - cos_N * push_N) / (HALF_LENGTH * (4.0 / 3.0 - POLE * (cos_N * cos_N) / TOTAL))
    speed_up_N = push_N - POLE_LENGTH * turn_N * cos_N / TOTAL
    moved_4N = np.empty_like(state_4N)
    moved_4N[0] = state_4N[0] + SECONDS * state_4N[1]
    moved_4N[1] = state_4N[1] + SECONDS * speed_up_N
    moved_4N[2] = state_4N[2] + SECONDS * spin_N
    moved_4N[3] = spin_N + SECONDS * turn_N
    return moved_4N, (np.abs(moved_4N[0]) > FARTHEST) | (np.abs(moved_4N[2]) > STEEPEST)
