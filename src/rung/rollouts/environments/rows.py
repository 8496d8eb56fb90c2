"""Several copies of one environment, a row each, reset only when they are told to and with a seed that says for what.

Gymnasium's vector environments are not used: those that reset themselves hand out a reset observation in place of a
step's result, and the mode that does not (`AutoresetMode.DISABLED`) refuses to step while any row is at its end, so
that no row could idle, and none could be replayed alone. Nothing here resets itself in any mode.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.errors import NonFiniteError
from rung.random import episode_seed
from rung.rollouts.environments.atari import AtariGame
from rung.rollouts.environments.classic import ClassicRows, world_of
from rung.rollouts.environments.envpool import EnvpoolRows
from rung.tasks.environment import EnvironmentTask
from rung.tasks.own_environment import failure, shown

Array = npt.NDArray[Any]


class EnvironmentRows:
    """The open environments. `observations_BO` has each row's newest raw observation, final ones too.

    It is [B, O] float32, or for games of Atari whole stacks [B, 4, 84, 84] uint8.

    Example:
        rows = EnvironmentRows(environment_task("CartPole-v1"), 2)
        rows.reset(0, seed=1), rows.reset(1, seed=2)
        rewards_B, terminated_B, truncated_B = rows.step(np.array([0, 1]), (0, 1))
    """

    def __init__(self, task: EnvironmentTask, count: int) -> None:
        self.task = task
        self._shape, kind = task.observation_form
        self.observations_BO = np.zeros((count, *self._shape), kind)
        self.lost_B = np.zeros(count, bool)
        """Rows that lost a life with their last step, though the game goes on; only games of Atari have lives."""
        self._environments = [AtariGame(task) if task.is_atari else task.make() for _ in range(count)]
        self._steps = [environment.step for environment in self._environments]
        self._taken = [0] * count

    def __len__(self) -> int:
        return len(self._environments)

    def reset(self, row: int, seed: int) -> None:
        """Begin an episode."""
        try:
            observation, _ = self._environments[row].reset(seed=seed)
            self.observations_BO[row] = np.reshape(observation, self._shape)
        except (Exception, SystemExit) as error:  # an environment is the user's code
            raise failure(self.task.name, f"reset(seed={seed})", error) from error
        self.lost_B[row], self._taken[row] = False, 0

    def step(self, actions_N: Array, rows_N: Sequence[int]) -> tuple[Array, Array, Array]:
        """One step of these rows, given in ascending order: rewards, terminated, truncated, each [N]."""
        count = len(rows_N)
        rewards_N, ended_N, cut_N = np.empty(count), np.empty(count, bool), np.empty(count, bool)
        observations_BO, steps, shape, atari = self.observations_BO, self._steps, self._shape, self.task.is_atari
        for n, action in enumerate(self.task.to_environment(actions_N)):
            row = rows_N[n]
            try:
                observation, rewards_N[n], ended_N[n], cut_N[n], facts = steps[row](action)
                observations_BO[row] = np.asarray(observation).reshape(shape)
            except (Exception, SystemExit) as error:
                during = f"step {self._taken[row] + 1} of an episode, with the action {shown(action)}"
                raise failure(self.task.name, during, error) from error
            self._taken[row] += 1
            if atari:
                self.lost_B[row] = facts["lost"]
        return rewards_N, ended_N, cut_N

    def close(self) -> None:
        """Close every environment."""
        for environment in self._environments:
            with contextlib.suppress(Exception):  # it is over, and a reason to end has been told already
                environment.close()


Rows = EnvironmentRows | ClassicRows | EnvpoolRows


def open_rows(task: EnvironmentTask, count: int) -> Rows:
    """`count` copies of Gymnasium's environment, by the fastest way there is to the same numbers."""
    return EnvironmentRows(task, count) if world_of(task) is None else ClassicRows(task, count)


def open_rows_to_learn(task: EnvironmentTask, count: int, *, seed: int, purpose: str) -> Rows:
    """The same, stepped by the task's engine. Only what plays each row's episodes in their order may use it.

    Raises SettingsError, or MissingExtra, when the engine has no such environment.
    """
    if task.engine == "gymnasium":
        return open_rows(task, count)
    return EnvpoolRows(task, [episode_seed(seed, purpose, row, 0) for row in range(count)])


def replay(rows: Rows, row: int, seed: int, actions_T: Array, *, episode: int = 0) -> float:
    """Begin a row's episode again and take the same actions; returns the sum of its rewards.

    `episode`: its number in the row, for an engine whose luck goes on from episode to episode.
    """
    if isinstance(rows, EnvpoolRows):
        rows.pass_over(row, episode)
    rows.reset(row, seed)
    total = 0.0
    for t in range(len(actions_T)):
        total += float(rows.step(actions_T[t : t + 1], (row,))[0][0])
    return total


Choose = Callable[[Array, Array, Array], Array]
"""(raw observations [N, O], episodes [N], steps taken in them [N]) -> actions [N]."""
Note = Callable[[Array, Array, Array, Array, Array, Array], None]
"""(episodes [N], steps [N], rewards [N], terminated [N], truncated [N], raw observations that followed [N, O])."""


def play(rows: Rows, seeds: Sequence[int], choose: Choose, note: Note) -> None:
    """Play one whole episode for each seed. A row that has ended takes the next seed, and idles when there is none.

    The arrays that `choose` and `note` are given go on changing: they keep copies or nothing.
    """
    begun = min(len(rows), len(seeds))
    for row in range(begun):
        rows.reset(row, seeds[row])
    active_N, episodes_N, taken_N = np.arange(begun), np.arange(begun), np.zeros(begun, np.int64)
    while len(active_N):
        actions_N = choose(rows.observations_BO[active_N], episodes_N, taken_N)
        rewards_N, ended_N, cut_N = rows.step(actions_N, active_N.tolist())
        note(episodes_N, taken_N, rewards_N, ended_N, cut_N, rows.observations_BO[active_N])
        taken_N += 1
        over_N = ended_N | cut_N
        if not over_N.any():
            continue
        going_N = ~over_N
        for n in np.flatnonzero(over_N):
            if begun < len(seeds):
                rows.reset(int(active_N[n]), seeds[begun])
                episodes_N[n], taken_N[n], going_N[n] = begun, 0, True
                begun += 1
        active_N, episodes_N, taken_N = active_N[going_N], episodes_N[going_N], taken_N[going_N]


def require_finite(what: str, values: Array, task: EnvironmentTask) -> None:
    """NonFiniteError, naming the environment, when a value is NaN or infinite."""
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise NonFiniteError(
            f"environment '{task.name}': {bad} of {values.size} {what} are NaN or infinite; nothing was learnt of "
            "them. Usual cause: a simulation that blew up on extreme actions"
        )
