from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spy_environment import EVENTS, KnownPolicy, sharp_policy, spy_task

from rung.errors import CheckpointError, SettingsError
from rung.random import episode_seed
from rung.rollouts.environments.whole_episodes import EpisodeCollector
from rung.tasks.environment import environment_task


def collector_of(environments: int = 2, **options: Any) -> EpisodeCollector:
    return EpisodeCollector(spy_task(**options), num_environments=environments, seed=3)


def test_a_group_of_episodes_is_what_it_is_by_hand() -> None:
    """Two spies: each one's first episode has 3 steps and terminates, the second has 1 and is truncated."""
    collector = collector_of(lengths=(3, 1), ends=("terminated", "truncated"))
    collected = collector.collect_episodes(KnownPolicy(), starts=2, samples_per_start=2)  # type: ignore[arg-type]
    batch = collected.batch
    assert batch.action_mask_BT.tolist() == [[True] * 3, [True] * 3, [True, False, False], [True, False, False]]
    assert batch.group_ids_B.tolist() == [0, 0, 1, 1] and batch.truncated_B.tolist() == [False, False, True, True]
    own = batch.action_mask_BT
    assert batch.contexts[own].tolist() == [[0, 0], [0, 1], [0, 2]] * 2 + [[1, 0]] * 2  # type: ignore[index]
    assert batch.rewards_BT[own].tolist() == [1, 2, 3, 1, 2, 3, 1, 1]
    assert batch.discounts_BT[own].tolist() == [1, 1, 0, 1, 1, 0, 1, 1]
    assert batch.cut_BT.tolist() == [[False] * 3] * 2 + [[True, False, False]] * 2
    assert batch.bootstrap_BT[:, 0].tolist() == [0, 0, 101, 101], "V of the final observation [1, 1]"
    assert batch.values_BT is not None and batch.values_BT[own].tolist() == [0, 1, 2, 0, 1, 2, 100, 100]
    assert collected.returns_N.tolist() == [6, 6, 1, 1] and collected.lengths_N.tolist() == [3, 3, 1, 1]
    assert collected.environment_steps == 8
    seeds = [episode_seed(3, "train/start", 0, start) for start in (0, 0, 1, 1)]
    assert [seed for what, seed in EVENTS if what == "reset"] == seeds
    assert [what for what, _ in EVENTS].count("step") == 8


def test_both_ends_at_once_is_terminated() -> None:
    batch = collector_of(lengths=(2,), ends=("both",)).collect_episodes(KnownPolicy(), 1, 1).batch  # type: ignore[arg-type]
    assert batch.discounts_BT.tolist() == [[1, 0]] and not batch.cut_BT.any() and not batch.truncated_B.any()


def test_without_a_critic_a_cut_episode_bootstraps_from_zero() -> None:
    policy = KnownPolicy(critic=False)
    batch = collector_of(lengths=(2,), ends=("truncated",)).collect_episodes(policy, 1, 2).batch  # type: ignore[arg-type]
    assert batch.values_BT is None and batch.cut_BT[:, 1].all() and (batch.bootstrap_BT == 0).all()


def test_a_group_shares_its_first_observation_and_nothing_else() -> None:
    task = environment_task("CartPole-v1")
    collector = EpisodeCollector(task, num_environments=3, seed=1)
    first = collector.collect_episodes(sharp_policy(task), starts=2, samples_per_start=4).batch
    starts_BO = first.contexts[:, 0]  # type: ignore[call-overload]
    assert (starts_BO[:4] == starts_BO[0]).all() and (starts_BO[4:] == starts_BO[4]).all()
    assert not (starts_BO[0] == starts_BO[4]).all()
    assert len({tuple(row) for row in first.actions_BT.tolist()}) == 8, "each sample has luck of its own"
    second = collector.collect_episodes(sharp_policy(task), starts=1, samples_per_start=1).batch
    assert not (second.contexts[0, 0] == starts_BO).all(1).any(), "no start is met twice"  # type: ignore[call-overload]


def test_how_many_environments_play_changes_no_episode() -> None:
    task = environment_task("CartPole-v1")
    made = [
        EpisodeCollector(task, num_environments=n, seed=1).collect_episodes(sharp_policy(task), 3, 4)
        for n in (1, 5, 20)
    ]
    for other in made[1:]:
        for name in ("contexts", "actions_BT", "rewards_BT", "action_mask_BT", "discounts_BT", "group_ids_B"):
            assert torch.equal(getattr(made[0].batch, name), getattr(other.batch, name)), name
        assert (made[0].returns_N == other.returns_N).all()


def test_episodes_longer_than_the_first_room_are_whole() -> None:
    collected = collector_of(lengths=(300,)).collect_episodes(KnownPolicy(), 1, 2)  # type: ignore[arg-type]
    batch = collected.batch
    assert batch.rewards_BT.tolist() == [list(range(1, 301))] * 2 and collected.lengths_N.tolist() == [300, 300]
    assert batch.contexts[0, :, 1].tolist() == list(range(300))  # type: ignore[call-overload]
    share = batch.actions_BT.double().mean()
    assert 0.4 < share < 0.6 and (batch.actions_BT[0] != batch.actions_BT[1]).any()
    steps = [action for what, action in EVENTS if what == "step"]
    assert steps == (batch.actions_BT.T.flatten() + 5).tolist()


def test_a_restored_collector_goes_on() -> None:
    task = environment_task("CartPole-v1", normalize_observations=True, normalize_rewards=True)
    going, restored = (EpisodeCollector(task, num_environments=3, seed=1) for _ in range(2))
    policy = sharp_policy(task)
    going.collect_episodes(policy, 2, 3)
    restored.load_state(going.state())
    one, other = (collector.collect_episodes(policy, 2, 3) for collector in (going, restored))
    for name in ("contexts", "actions_BT", "rewards_BT", "sampler_log_probs_BT", "values_BT"):
        assert torch.equal(getattr(one.batch, name), getattr(other.batch, name)), name
    assert np.array_equal(one.returns_N, other.returns_N)
    with pytest.raises(CheckpointError, match="seed"):
        EpisodeCollector(task, seed=9).load_state(going.state())


def test_wrong_counts_and_a_missing_time_limit_are_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        collector_of().collect_episodes(KnownPolicy(), 0, 0)  # type: ignore[arg-type]
    assert len(caught.value.problems) == 2
    with pytest.raises(SettingsError, match="no time limit"):
        collector_of(max_episode_steps=-1)
