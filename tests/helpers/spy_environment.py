"""An environment that keeps count of what is done to it, and policies whose every number is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch

from rung.models.small.network import SmallPolicy, SmallShape
from rung.models.small.observation_scale import ObservationScale
from rung.tasks.environment import EnvironmentTask, environment_task

EVENTS: list[tuple[str, Any]] = []
"""What was done to the spies since the test began: ("reset", seed) or ("step", action)."""


class Spy(gymnasium.Env):  # type: ignore[type-arg]
    """Observes [episodes begun before this one, steps taken]; step k gives the reward k.

    Episode e has `lengths[e]` steps and `ends[e]` as its end, over and over. Stepping after the end fails.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, lengths: Any = (2,), ends: Any = ("terminated",), vector: bool = False) -> None:
        self.lengths, self.ends, self.episode, self.taken, self.over = lengths, ends, -1, 0, True
        self.action_space = (
            gymnasium.spaces.Box(-1.0, 1.0, (2, 1), np.float64) if vector else gymnasium.spaces.Discrete(2, start=5)
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        EVENTS.append(("reset", seed))
        self.episode, self.taken, self.over = self.episode + 1, 0, False
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert not self.over, "stepped after the end"
        assert self.action_space.contains(action), action
        EVENTS.append(("step", action))
        self.taken += 1
        which = self.episode % len(self.lengths)
        self.over = self.taken == self.lengths[which]
        end = self.ends[which] if self.over else ""
        terminated, truncated = end in ("terminated", "both"), end in ("truncated", "both")
        return self._observation(), float(self.taken), terminated, truncated, {"noise": 1.0}

    def _observation(self) -> Any:
        return np.array([self.episode, self.taken], np.float32)


class Seeded(Spy):
    """The same, but the episode's number, its length and its end follow from the seed."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        assert seed is not None
        self.episode = seed % 97 - 1
        return super().reset(seed=seed)


def register() -> None:
    for name, spy in (("rung/Spy-v0", Spy), ("rung/Seeded-v0", Seeded)):
        if name not in gymnasium.registry:
            gymnasium.register(id=name, entry_point=spy, max_episode_steps=1000)


def spy_task(name: str = "rung/Spy-v0", **options: Any) -> EnvironmentTask:
    """A task of the spy, with `EVENTS` emptied of what making it did."""
    register()
    task = environment_task(name, **options)
    EVENTS.clear()
    return task


class KnownPolicy:
    """Chooses 1 where its uniform number is above ½; V = 100·observation[0] + observation[1]."""

    def __init__(self, critic: bool = True) -> None:
        self.shape = SimpleNamespace(critic=critic)
        self.scale: ObservationScale | None = None

    def actor(self) -> Any:
        return lambda observations_NO, uniforms_N: (
            (uniforms_N > 0.5).astype(np.int64),
            np.full(len(observations_NO), -0.5, np.float32),
        )

    def values(self, observations_NO: Any) -> Any:
        return (observations_NO @ np.array([100.0, 1.0])).astype(np.float32)


def sharp_policy(task: EnvironmentTask, seed: int = 0) -> SmallPolicy:
    """Random weights large enough that the action depends on the state, none so likely that luck has no say."""
    policy = SmallPolicy(
        SmallShape(observations=task.observations, choices=task.choices, dimensions=task.dimensions), seed=seed
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.3 if "weight" in name else 0.0))
    return policy
