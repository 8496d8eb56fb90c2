from __future__ import annotations

import doctest
import importlib
from typing import Any

import numpy as np
import pytest
import torch
from spy_environment import EVENTS, spy_task

from rung.errors import NonFiniteError
from rung.models.small.network import SmallPolicy, SmallShape
from rung.random import episode_seed
from rung.rollouts.environments.classic import ClassicRows
from rung.rollouts.environments.rows import EnvironmentRows, open_rows, play, replay, require_finite
from rung.rollouts.environments.stretches import StretchCollector
from rung.tasks.environment import EnvironmentTask, environment_task


@pytest.mark.parametrize(
    "module",
    [
        "models.language.distributions",
        "models.small.observation_scale",
        "rollouts.environments.scaling",
        "random",
    ],
)
def test_examples_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"rung.{module}"))
    assert result.failed == 0 and result.attempted > 0


def test_a_seed_says_what_the_episode_is_for() -> None:
    keys = [(s, p, r, e) for s in (0, 1) for p in ("train", "evaluate") for r in range(5) for e in range(20)]
    seeds = [episode_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys) and seeds == [episode_seed(*key) for key in keys]
    assert all(0 <= seed < 2**31 for seed in seeds)
    pinned = episode_seed(0, "train", 0, 0), episode_seed(5, "evaluate", 2, 9)
    assert pinned == (2100559408, 1810991576), "seeds stay what they are, or old runs cannot be resumed"


def test_rows_are_stepped_and_reset_alone() -> None:
    rows = EnvironmentRows(spy_task(lengths=(2,)), 3)
    for row in range(3):
        rows.reset(row, seed=10 + row)
    rewards, ended, cut = rows.step(np.array([1, 0]), (2, 0))
    assert rewards.tolist() == [1.0, 1.0] and not ended.any() and not cut.any()
    assert rows.observations_BO.tolist() == [[0, 1], [0, 0], [0, 1]]
    rewards, ended, _ = rows.step(np.array([1]), (2,))
    assert rewards.tolist() == [2.0] and ended.tolist() == [True]
    assert rows.observations_BO[2].tolist() == [0, 2], "the final observation stands until the row is reset"
    rows.reset(2, seed=9)
    assert rows.observations_BO[2].tolist() == [1, 0]
    assert EVENTS == [("reset", 10), ("reset", 11), ("reset", 12), ("step", 6), ("step", 5), ("step", 6), ("reset", 9)]


def test_vectors_are_clipped_and_shaped_on_their_way_to_the_environment() -> None:
    rows = EnvironmentRows(spy_task(vector=True), 1)
    rows.reset(0, seed=0)
    rows.step(np.array([[3.0, -0.5]], np.float32), (0,))
    (_, action) = EVENTS[-1]
    assert action.shape == (2, 1) and action.dtype == np.float64 and action.ravel().tolist() == [1.0, -0.5]


def test_each_seed_is_played_once_to_its_end_and_rows_without_one_idle() -> None:
    rows = EnvironmentRows(spy_task(lengths=(3, 1), ends=("terminated", "truncated")), 2)
    seen: list[tuple[int, int, float, bool, bool, list[float]]] = []

    def choose(raw: np.ndarray, episodes: np.ndarray, taken: np.ndarray) -> np.ndarray:
        assert (raw[:, 1] == taken).all()
        return np.zeros(len(raw), np.int64)

    def note(episodes: np.ndarray, taken: np.ndarray, rewards, ended, cut, raw) -> None:  # type: ignore[no-untyped-def]
        seen.extend(
            (int(e), int(t), float(r), bool(x), bool(c), o.tolist())
            for e, t, r, x, c, o in zip(episodes, taken, rewards, ended, cut, raw, strict=True)
        )

    play(rows, [100, 101, 102], choose, note)
    assert [event for event in EVENTS if event[0] == "reset"] == [("reset", 100), ("reset", 101), ("reset", 102)]
    assert seen == [
        (0, 0, 1.0, False, False, [0, 1]),
        (1, 0, 1.0, False, False, [0, 1]),
        (0, 1, 2.0, False, False, [0, 2]),
        (1, 1, 2.0, False, False, [0, 2]),
        (0, 2, 3.0, True, False, [0, 3]),
        (1, 2, 3.0, True, False, [0, 3]),
        (2, 0, 1.0, False, True, [1, 1]),
    ]


@pytest.mark.parametrize("limit", [None, 15])
@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1"])
def test_classic_control_computed_is_gymnasiums_bit_by_bit(name: str, limit: int | None) -> None:
    task = environment_task(name, **({} if limit is None else {"max_episode_steps": limit}))
    fast, slow = open_rows(task, 5), EnvironmentRows(task, 5)
    assert isinstance(fast, ClassicRows)
    drawn, ends, resets = np.random.default_rng(0), np.zeros(2, int), 5
    for row in range(5):
        fast.reset(row, row), slow.reset(row, row)
    for t in range(2000):
        rows = list(range(5)) if t % 3 else sorted(drawn.permutation(5)[: t % 5 + 1].tolist())
        a, b = (one.step(actions_for(task, slow, rows, np.random.default_rng(t)), rows) for one in (fast, slow))
        assert all((x == y).all() for x, y in zip(a, b, strict=True))
        assert (fast.observations_BO == slow.observations_BO).all()
        for row in np.array(rows)[b[1] | b[2]].tolist():
            resets += 1
            fast.reset(row, resets), slow.reset(row, resets)
        ends += [b[1].sum(), b[2].sum()]
    states = np.array([environment.unwrapped.state for environment in slow._environments])
    assert np.array_equal(states, fast.now.state_BS[:, : states.shape[1]]), "float64 states too"
    assert ends[1] > 2 or (name in ("MountainCar-v0", "Acrobot-v1") and limit is None), ends
    assert ends[0] > 3 or name == "Pendulum-v1" or limit is not None, ends


def actions_for(task: EnvironmentTask, rows: Any, which: list[int], drawn: np.random.Generator) -> np.ndarray:
    """What comes to the end now and then: actions with the motion, some of them drawn."""
    seen_NO, count = rows.observations_BO[which], len(which)
    if task.dimensions is not None:
        return (3 * drawn.standard_normal((count, 1))).astype(np.float32)
    towards = {4: lambda: seen_NO[:, 2] + seen_NO[:, 3], 2: lambda: seen_NO[:, 1], 6: lambda: seen_NO[:, 5]}
    with_motion = np.where(towards[seen_NO.shape[1]]() > 0, task.choices - 1, 0)  # type: ignore[operator]
    return np.where(drawn.random(count) < 0.1, drawn.integers(0, task.choices, count), with_motion)


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_a_stretch_played_in_one_call_is_the_one_that_is_stepped(name: str) -> None:
    """To the last bit, over several stretches and ends of episodes, whatever is scaled."""
    task, found = environment_task(name, max_episode_steps=40), []
    shape = SmallShape(observations=task.observations, choices=task.choices, dimensions=task.dimensions)
    for played in (True, False):
        collector = StretchCollector(task, num_environments=3, seed=4)
        if not played:
            collector._rows = EnvironmentRows(task, 3)
        found.append([collector.collect_steps(SmallPolicy(shape, seed=2), 50) for _ in range(2)])
    for one, other in zip(*found, strict=True):
        assert one.returns_N.tolist() == other.returns_N.tolist() and len(one.returns_N) > 2
        assert one.lengths_N.tolist() == other.lengths_N.tolist()
        for field, value in vars(one.batch).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, getattr(other.batch, field)), field


def test_only_plain_classic_control_is_computed() -> None:
    assert isinstance(open_rows(environment_task("CartPole-v0"), 1), ClassicRows)
    for task in (environment_task("CartPole-v1", sutton_barto_reward=True), spy_task()):
        assert isinstance(open_rows(task, 4), EnvironmentRows)


def test_replaying_takes_the_same_way() -> None:
    rows = EnvironmentRows(spy_task("rung/Seeded-v0", lengths=(9,)), 1)
    rows.reset(0, seed=33)
    for _ in range(4):
        rows.step(np.array([1]), (0,))
    there = rows.observations_BO[0].copy()
    assert replay(rows, 0, 33, np.array([1, 1, 1, 1])) == 10.0
    assert (rows.observations_BO[0] == there).all() and there.tolist() == [33, 4]
    assert replay(rows, 0, 34, np.array([1])) == 1.0 and rows.observations_BO[0].tolist() == [34, 1]


def test_nan_is_stopped_with_the_environments_name() -> None:
    task = spy_task()
    require_finite("rewards", np.ones(3), task)
    with pytest.raises(NonFiniteError, match=r"rung/Spy-v0': 2 of 3 rewards"):
        require_finite("rewards", np.array([np.nan, 1.0, np.inf]), task)
