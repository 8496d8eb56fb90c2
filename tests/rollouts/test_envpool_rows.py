"""envpool as the engine: rows keyed by their seeds, ends told apart, and a restored collector goes on as before."""

from __future__ import annotations

import builtins
import dataclasses
from typing import Any

import numpy as np
import pytest
from spy_environment import spy_task

from rung.errors import CheckpointError, MissingExtra, SettingsError
from rung.models.small.network import SmallPolicy, SmallShape
from rung.rollouts.environments.classic import ClassicRows
from rung.rollouts.environments.rows import EnvironmentRows, open_rows_to_learn, replay
from rung.rollouts.environments.stretches import StretchCollector
from rung.rollouts.environments.whole_episodes import EpisodeCollector
from rung.tasks.environment import environment_task

LEFT = np.zeros(2, np.int64)


def rows_of(name: str = "CartPole-v1", count: int = 2, **options: Any) -> Any:
    return open_rows_to_learn(environment_task(name, engine="envpool", **options), count, seed=1, purpose="train")


def falls_after(rows: Any) -> int:
    """Steps to the left until row 0's pole has fallen."""
    for row in range(len(rows)):
        rows.reset(row, 0)
    for step in range(1, 100):
        if rows.step(LEFT, (0, 1))[1][0]:
            return step
    raise AssertionError("the pole stands")


def test_without_envpool_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "envpool":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"rung\[envpool\]"):
        rows_of()


def test_what_it_cannot_do_is_refused_in_words() -> None:
    with pytest.raises(SettingsError, match=r"engine: got 'envpol'.*envpool"):
        environment_task("CartPole-v1", engine="envpol")
    with pytest.raises(SettingsError, match="from one start state"):
        EpisodeCollector(environment_task("CartPole-v1", engine="envpool"))


@pytest.mark.peers
def test_options_and_environments_that_envpool_lacks_are_refused() -> None:
    spy = dataclasses.replace(spy_task("rung/Spy-v0", lengths=(2,), ends=("terminated",)), engine="envpool")
    with pytest.raises(SettingsError, match="no environment 'rung/Spy-v0'"):
        open_rows_to_learn(spy, 2, seed=1, purpose="train")
    with pytest.raises(SettingsError, match="without the option sutton_barto_reward"):
        rows_of(sutton_barto_reward=True)


@pytest.mark.peers
def test_a_rows_luck_is_keyed_by_its_seed_not_by_the_other_rows() -> None:
    two, three = rows_of(count=2), rows_of(count=3)
    for rows in (three, two):
        for row in reversed(range(len(rows))):
            rows.reset(row, 0)
    assert np.array_equal(two.observations_BO, three.observations_BO[:2])
    assert not np.array_equal(two.observations_BO[0], two.observations_BO[1])
    first = two.observations_BO[0].copy()
    two.reset(0, 0)
    assert not np.array_equal(first, two.observations_BO[0]), "the next episode begins elsewhere"


@pytest.mark.peers
def test_an_end_is_an_end_also_at_the_limit_and_nothing_resets_itself() -> None:
    steps = falls_after(rows_of())
    limited = rows_of(max_episode_steps=steps)
    for row in range(2):
        limited.reset(row, 0)
    for _ in range(steps - 1):
        assert not any(flags_B.any() for flags_B in limited.step(LEFT, (0, 1))[1:])
    _, ended_B, cut_B = limited.step(LEFT, (0, 1))
    assert ended_B[0] and cut_B.all(), "fallen, and at the limit"
    final_O = limited.observations_BO[0].copy()
    assert abs(final_O[2]) > 0.2, "the final observation, not the next episode's first"
    limited.reset(0, 0)
    rewards_N, ended_N, _ = limited.step(LEFT[:1], (0,))
    assert rewards_N.tolist() == [1.0] and not ended_N[0], "a step after the reset is a step"


@pytest.mark.peers
def test_it_is_the_same_environment() -> None:
    """From nearly the same state CartPole's own arithmetic leads to nearly the same one."""
    pool, own = rows_of(count=4), ClassicRows(environment_task("CartPole-v1"), 4)
    for row in range(4):
        pool.reset(row, 0)
        own.reset(row, 0)
    own._state_4B[:] = pool.observations_BO.T
    for _ in range(5):
        pool.step(np.zeros(4, np.int64), range(4))
        own.step(np.zeros(4, np.int64), range(4))
    np.testing.assert_allclose(pool.observations_BO, own.observations_BO, atol=1e-5)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["CartPole-v1", "Hopper-v5"])
def test_a_restored_collector_goes_on_as_one_that_never_stopped(name: str) -> None:
    task = environment_task(name, engine="envpool", normalize_observations=True)
    policy = SmallPolicy(SmallShape(observations=task.observations, choices=task.choices, dimensions=task.dimensions))
    whole = StretchCollector(task, num_environments=3, seed=3)
    for _ in range(3):
        whole.collect_steps(policy, 40)
    state = whole.state()
    assert max(state.numbers["episodes"]) > 0, "episodes ended, so that their number matters"
    restored = StretchCollector(task, num_environments=3, seed=3)
    restored.load_state(state)
    for _ in range(2):
        one, other = whole.collect_steps(policy, 40), restored.collect_steps(policy, 40)
        assert np.array_equal(one.batch.contexts, other.batch.contexts)
        assert np.array_equal(one.batch.rewards_BT, other.batch.rewards_BT)
    with pytest.raises(CheckpointError, match="engine"):
        StretchCollector(dataclasses.replace(task, engine="gymnasium"), num_environments=3, seed=3).load_state(state)


@pytest.mark.peers
def test_a_game_of_atari_is_the_same_game() -> None:
    """One frame of doing nothing begins both; then screens, rewards and lives are those that rung reads itself."""
    task = environment_task("ALE/Breakout-v5", engine="envpool", most_noops=1)
    pool, own = open_rows_to_learn(task, 1, seed=1, purpose="train"), EnvironmentRows(task, 1)
    pool.reset(0, 0), own.reset(0, seed=1)
    assert pool.observations_BO.shape == own.observations_BO.shape and not pool.observations_BO[0, :-1].any()
    drawn, lost, rewards = np.random.default_rng(0), 0, 0.0
    for _ in range(400):
        action = drawn.integers(0, 4, 1)
        one, other = pool.step(action, (0,)), own.step(action, (0,))
        assert all((a == b).all() for a, b in zip(one, other, strict=True))
        assert (pool.lost_B == own.lost_B).all()
        far = np.abs(pool.observations_BO.astype(int) - own.observations_BO)
        assert far.max() <= 1, "grey and scaled alike, up to rounding"
        lost, rewards = lost + int(own.lost_B[0]), rewards + float(other[0][0])
        if other[1][0]:
            break
    assert lost >= 2 and rewards >= 1, "else nothing was compared"


@pytest.mark.peers
def test_a_game_of_atari_is_taken_again_from_its_number_and_actions() -> None:
    first, second = (rows_of("ALE/Breakout-v5", count=2) for _ in range(2))
    actions_T = np.random.default_rng(0).integers(0, 4, 60)
    for _ in range(3):
        first.reset(1, 0)
    total = sum(float(first.step(actions_T[t : t + 1], (1,))[0][0]) for t in range(60))
    assert replay(second, 1, 0, actions_T, episode=2) == total
    assert np.array_equal(first.observations_BO[1], second.observations_BO[1])
    assert first.observations_BO[1].any() and not first.observations_BO[0].any()


@pytest.mark.peers
def test_atari_options_that_envpool_lacks_are_refused() -> None:
    with pytest.raises(SettingsError, match="without the option full_action_space"):
        rows_of("ALE/Pong-v5", full_action_space=True)
