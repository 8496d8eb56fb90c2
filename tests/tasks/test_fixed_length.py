"""Episodes of a fixed length: no ending is seen, the time limit counts on, and the seed says all."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rung.rollouts.environments.classic import ClassicRows
from rung.rollouts.environments.rows import open_rows, replay
from rung.tasks.environment import EnvironmentTask, environment_task


def fixed(**options: Any) -> EnvironmentTask:
    return dataclasses.replace(environment_task("CartPole-v1", **options), fixed_length=True)


def walk(seed: int, steps: int = 60) -> list[tuple[list[float], float, bool, bool]]:
    """One episode in which the cart is only pushed left: the pole falls every ten steps or so."""
    environment = fixed(max_episode_steps=steps).make()
    observation, _ = environment.reset(seed=seed)
    found = []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = environment.step(0)
        found.append((observation.tolist(), float(reward), terminated, truncated))
    environment.close()
    return found


def test_no_step_is_terminal_and_the_last_is_truncated() -> None:
    steps = walk(3)
    assert not any(terminated for _, _, terminated, _ in steps)
    assert [truncated for *_, truncated in steps] == [False] * 59 + [True]


def test_what_would_end_begins_anew_within_the_episode() -> None:
    plain = environment_task("CartPole-v1").make()
    observation, _ = plain.reset(seed=3)
    fell = 0
    while True:
        observation, reward, terminated, _, _ = plain.step(0)
        if terminated:
            break
        assert walk(3)[fell][0] == observation.tolist()
        fell += 1
    at_start, reward, *_ = walk(3)[fell]
    assert np.abs(at_start).max() <= 0.05, "a start state stands where the fallen pole would"
    assert reward == 1.0, "and no penalty was paid"
    assert walk(3)[fell][0] != walk(4)[fell][0]
    plain.close()


def test_an_episode_is_a_function_of_its_seed_and_its_actions() -> None:
    assert walk(3) == walk(3)
    task = fixed(max_episode_steps=60)
    rows = open_rows(task, 4)
    assert not isinstance(rows, ClassicRows), "the fast form ends its episodes"
    actions_T = np.zeros(40, np.int64)
    assert replay(rows, 0, 5, actions_T) == replay(rows, 1, 5, actions_T) == 40.0
    assert np.array_equal(rows.observations_BO[0], rows.observations_BO[1])
    rows.close()


def test_the_task_itself_still_ends() -> None:
    """Negative control, and what the held-out score is measured on."""
    environment = environment_task("CartPole-v1").make()
    environment.reset(seed=3)
    assert any(environment.step(0)[2] for _ in range(30))
    environment.close()
