"""Evaluation of a policy in an environment: whole episodes on separate copies, raw rewards, no statistic changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rung.errors import SettingsError
from rung.models.small.environment_policy import EnvironmentPolicy
from rung.random import Stream, episode_seed
from rung.rollouts.environments.rows import Array, open_rows, play, require_finite
from rung.rollouts.environments.whole_episodes import EpisodeLuck
from rung.tasks.environment import EnvironmentTask


@dataclass(frozen=True)
class Evaluation:
    """Example: `Evaluation(returns_N=array([500., 431.]), lengths_N=array([500, 431]))`."""

    returns_N: npt.NDArray[np.float64]
    """Raw and undiscounted."""
    lengths_N: npt.NDArray[np.int64]
    """Steps."""


def evaluate(
    task: EnvironmentTask,
    policy: EnvironmentPolicy,
    *,
    episodes: int,
    seed: int = 0,
    greedy: bool = True,
    num_environments: int = 8,
) -> Evaluation:
    """Play `episodes` episodes. The same seed meets the same start states, whatever was evaluated before.

    Observations are scaled by what the policy carries (`policy.scale`), which is not changed.

    Args:
        greedy: take the likeliest action; False: draw, keyed by (seed, episode).
        num_environments: copies open at a time.

    Raises:
        SettingsError: the environment has no time limit.
        NonFiniteError: the environment gave NaN or an infinity as reward.
    """
    task.require_time_limit()
    if episodes < 1:
        raise SettingsError(f"episodes: got {episodes}, expected at least 1")
    returns_N, lengths_N = np.zeros(episodes), np.zeros(episodes, np.int64)
    streams = [(Stream(seed, 0, "evaluate/actions"), episode) for episode in range(episodes)]
    actor = policy.actor()
    luck = None if greedy else EpisodeLuck(streams, task.dimensions)

    def choose(raw: Array, which: Array, taken: Array) -> Array:
        seen = policy.scaled(raw)
        return actor.mode(seen) if luck is None else actor(seen, luck(which, taken))[0]

    def note(which: Array, _taken: Array, rewards: Array, _ended: Array, _cut: Array, _raw: Array) -> None:
        returns_N[which] += rewards
        lengths_N[which] += 1

    rows = open_rows(task, min(num_environments, episodes))
    try:
        play(rows, [episode_seed(seed, "evaluate", 0, episode) for episode in range(episodes)], choose, note)
    finally:
        rows.close()
    require_finite("returns", returns_N, task)
    return Evaluation(returns_N, lengths_N)
