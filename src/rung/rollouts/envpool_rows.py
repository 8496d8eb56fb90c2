"""Environments stepped by envpool: one call in C++ for all rows, on several threads.

What envpool does, as read in it and seen by tests (1.2.5): an environment's luck comes from one stream, seeded when it
is made, so that its nth episode is a function of that seed and n; a row that is over is reset by its next step, unless
it was told to before; and at the time limit it says "truncated" even where the episode ended by itself. So here each
row's seed is keyed as everywhere, rows are reset only when told to, and the limit is counted here.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.errors import MissingExtra, SettingsError
from rung.tasks.environment import EnvironmentTask

Array = npt.NDArray[Any]

NO_LIMIT = 2**31 - 1
"""As envpool's time limit."""


class EnvpoolRows:
    """The same as `EnvironmentRows`, except that a row's nth episode has the luck of the row's seed and n.

    Example:
        rows = EnvpoolRows(environment_task("HalfCheetah-v5", engine="envpool"), seeds=[11, 12])
        rows.reset(0, 0), rows.reset(1, 0)
        rewards_B, terminated_B, truncated_B = rows.step(actions_BA, (0, 1))
    """

    def __init__(self, task: EnvironmentTask, seeds: Sequence[int]) -> None:
        self.task = task
        self.observations_BO = np.zeros((len(seeds), task.observations), np.float32)
        self._begun_B = np.zeros(len(seeds), np.int64)
        """Episodes begun in each row."""
        self._taken_B = np.zeros(len(seeds), np.int64)
        self._limit = math.inf if task.max_episode_steps is None else task.max_episode_steps
        self._pool = _pool(task, seeds)
        self._kind = self._pool.action_space.dtype

    def __len__(self) -> int:
        return len(self._taken_B)

    def reset(self, row: int, seed: int) -> None:
        """Begin the row's next episode. `seed` is not used: see above."""
        observation_1, _ = self._pool.reset(np.array([row], np.int32))
        self._begun_B[row] += 1
        self._taken_B[row] = 0
        self.observations_BO[row] = observation_1.ravel()

    def pass_over(self, row: int, episode: int) -> None:
        """Begin and leave episodes until the row's next one is number `episode`, so that its luck is the same."""
        while self._begun_B[row] < episode:
            self.reset(row, 0)

    def step(self, actions_N: Array, rows_N: Sequence[int]) -> tuple[Array, Array, Array]:
        """One step of these rows, given in ascending order: rewards, terminated, truncated, each [N]."""
        rows = np.asarray(rows_N, np.int32)
        wanted_N = np.asarray(self.task.to_environment(actions_N)).astype(self._kind, copy=False)
        observations_N, rewards_N, ended_N, _, facts = self._pool.step(wanted_N, rows)
        assert np.array_equal(facts["env_id"], rows), (facts["env_id"], rows)
        self.observations_BO[rows] = observations_N.reshape(len(rows), -1)
        self._taken_B[rows] += 1
        return rewards_N.astype(np.float64), ended_N.astype(bool), self._taken_B[rows] >= self._limit

    def close(self) -> None:
        """The pool goes with its last holder."""
        self._pool.close()


def _pool(task: EnvironmentTask, seeds: Sequence[int]) -> Any:
    """An open pool. MissingExtra or SettingsError where there is none for this task, or it is another environment."""
    try:
        import envpool
    except ImportError as error:
        raise MissingExtra("task.engine=envpool", "envpool") from error
    if task.name not in envpool.list_all_envs():
        raise SettingsError([f"task.engine: envpool has no environment '{task.name}'; set gymnasium"])
    other = sorted(set(task.options) - {"max_episode_steps"})
    if other or task.fixed_length:
        what = f"the option{'s' * (len(other) > 1)} {', '.join(other)}" if other else "episodes of a fixed length"
        raise SettingsError([f"task.engine: envpool makes '{task.name}' without {what}; set gymnasium"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bounds that are rounded to float32
        pool = envpool.make_gymnasium(
            task.name,
            num_envs=len(seeds),
            num_threads=min(len(seeds), _cores()),
            env_seed=[int(seed) for seed in seeds],
            max_episode_steps=NO_LIMIT,
        )
        seen, taken = pool.observation_space, pool.action_space
    for what, here, there in (
        ("observations", seen, task.observation_space),
        ("actions", taken, task.action_space),
    ):
        if here.shape != there.shape or getattr(here, "n", None) != getattr(there, "n", None):
            raise SettingsError(
                [f"task.engine: envpool's '{task.name}' has {what} {here}, Gymnasium's {there}; set gymnasium"]
            )
    return pool


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
