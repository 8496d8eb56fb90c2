"""Environments stepped by envpool: one call in C++ for all rows, on several threads.

What envpool does, as read in it and seen by tests (1.2.5): an environment's luck comes from one stream, seeded when it
is made, so that its nth episode is a function of that seed and n; a row that is over is reset by its next step, unless
it was told to before; and at the time limit it says "truncated" even where the episode ended by itself. So here each
row's seed is keyed as everywhere, rows are reset only when told to, and the limit is counted here. Of Atari it gives
screens as `atari` makes them (the maximum of two frames, grey, 84x84 by area), one at a time: its own stacks begin with
copies of the first screen, those of a replay with zeros.
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
        shape, kind = task.observation_form
        self.observations_BO = np.zeros((len(seeds), *shape), kind)
        self.lost_B = np.zeros(len(seeds), bool)
        """Rows that lost a life with their last step, though the game goes on."""
        self._lives_B = np.zeros(len(seeds), np.int64)
        """Of a game of Atari."""
        self._begun_B = np.zeros(len(seeds), np.int64)
        """Episodes begun in each row."""
        self._taken_B = np.zeros(len(seeds), np.int64)
        self._limit = math.inf if task.max_episode_steps is None else task.max_episode_steps
        self._pool = _atari_pool(task, seeds) if task.is_atari else _pool(task, seeds)
        self._kind = self._pool.action_space.dtype

    def __len__(self) -> int:
        return len(self._taken_B)

    def reset(self, row: int, seed: int) -> None:
        """Begin the row's next episode. `seed` is not used: see above."""
        observation_1, facts = self._pool.reset(np.array([row], np.int32))
        self._begun_B[row] += 1
        self._taken_B[row] = 0
        self.observations_BO[row], self._lives_B[row] = 0, 0
        self._show(np.array([row]), observation_1, facts)

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
        self._show(rows, observations_N, facts)
        if self.task.is_atari:
            self.lost_B[rows] &= ~ended_N
        self._taken_B[rows] += 1
        return rewards_N.astype(np.float64), ended_N.astype(bool), self._taken_B[rows] >= self._limit

    def _show(self, rows_N: Array, observations_N: Array, facts: Any) -> None:
        if not self.task.is_atari:
            self.observations_BO[rows_N] = observations_N.reshape(len(rows_N), -1)
            return
        stacks_N = np.roll(self.observations_BO[rows_N], -1, axis=1)
        stacks_N[:, -1] = observations_N[:, 0]
        self.observations_BO[rows_N] = stacks_N
        self.lost_B[rows_N] = facts["lives"] < self._lives_B[rows_N]
        self._lives_B[rows_N] = facts["lives"]

    def close(self) -> None:
        """The pool goes with its last holder."""
        self._pool.close()


def _pool(task: EnvironmentTask, seeds: Sequence[int]) -> Any:
    """An open pool. MissingExtra or SettingsError where there is none for this task, or it is another environment."""
    pool = _made(task, task.name, seeds, {"max_episode_steps"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bounds that are rounded to float32
        seen, taken = pool.observation_space, pool.action_space
    for what, here, there in (
        ("observations", seen, task.observation_space),
        ("actions", taken, task.action_space),
    ):
        if here.shape != there.shape or getattr(here, "n", None) != getattr(there, "n", None):
            raise SettingsError(
                f"task.engine: envpool's '{task.name}' has {what} {here}, Gymnasium's {there}; set gymnasium"
            )
    return pool


def _atari_pool(task: EnvironmentTask, seeds: Sequence[int]) -> Any:
    """The same for a game of Atari, under envpool's name of it. At least one frame of doing nothing begins a game."""
    return _made(
        task,
        task.name.removeprefix("ALE/"),
        seeds,
        {"repeat_action_probability", "frameskip", "obs_type", "max_num_frames_per_episode"},
        stack_num=1,
        frame_skip=task.frame_skip,
        noop_max=max(1, task.most_noops),
        use_fire_reset=False,
        episodic_life=False,
        reward_clip=False,
        repeat_action_probability=task.options["repeat_action_probability"],
    )


def _made(task: EnvironmentTask, name: str, seeds: Sequence[int], known: set[str], **options: Any) -> Any:
    """envpool's environment of this name; `known` are the task's options that it can do."""
    try:
        import envpool
    except ImportError as error:
        raise MissingExtra("task.engine=envpool", "envpool") from error
    if name not in envpool.list_all_envs():
        raise SettingsError(f"task.engine: envpool has no environment '{task.name}'; set gymnasium")
    other = sorted(set(task.options) - known)
    if other or task.fixed_length:
        what = f"the option{'s' * (len(other) > 1)} {', '.join(other)}" if other else "episodes of a fixed length"
        raise SettingsError(f"task.engine: envpool makes '{task.name}' without {what}; set gymnasium")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bounds that are rounded to float32
        return envpool.make_gymnasium(
            name,
            num_envs=len(seeds),
            num_threads=min(len(seeds), _cores()),
            env_seed=[int(seed) for seed in seeds],
            max_episode_steps=NO_LIMIT,
            **options,
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
