from __future__ import annotations

import numpy as np
import pytest
from spy_environment import EVENTS, sharp_policy, spy_task

from rung.errors import SettingsError
from rung.models.small.network import SmallPolicy
from rung.rollouts.environments.evaluation import evaluate
from rung.rollouts.environments.stretches import StretchCollector
from rung.tasks.environment import environment_task


def test_returns_and_lengths_are_those_of_the_episodes() -> None:
    task = spy_task(lengths=(3, 1), ends=("terminated", "truncated"), normalize_rewards=True)
    result = evaluate(task, sharp_policy(task), episodes=5, num_environments=2)
    assert result.returns_N.tolist() == [6, 6, 1, 1, 6] and result.lengths_N.tolist() == [3, 3, 1, 1, 3]
    assert [what for what, _ in EVENTS].count("reset") == 5


def test_evaluating_twice_is_the_same_and_changes_no_statistic() -> None:
    task = environment_task("CartPole-v1", normalize_observations=True, normalize_rewards=True)
    policy = sharp_policy(task)
    collector = StretchCollector(task, num_environments=2, seed=1)
    collector.collect_steps(policy, 50)
    before, scale = collector.state(), policy.scale
    first, second = (evaluate(task, policy, episodes=6, seed=4, greedy=False) for _ in range(2))
    assert (first.returns_N == second.returns_N).all() and len(set(first.returns_N.tolist())) > 1
    assert policy.scale is scale
    after = collector.state()
    assert all((before.tensors[n] == after.tensors[n]).all() for n in before.tensors)
    undisturbed = StretchCollector(task, num_environments=2, seed=1)
    undisturbed.collect_steps(policy, 50)
    assert (
        collector.collect_steps(policy, 30).batch.contexts == undisturbed.collect_steps(policy, 30).batch.contexts
    ).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("greedy", [True, False])
def test_how_many_environments_play_changes_no_return(greedy: bool) -> None:
    task = environment_task("CartPole-v1")
    results = [
        evaluate(task, sharp_policy(task), episodes=7, seed=2, greedy=greedy, num_environments=n) for n in (1, 3, 8)
    ]
    assert all((results[0].returns_N == other.returns_N).all() for other in results[1:])
    assert (results[0].returns_N == results[0].lengths_N).all(), "CartPole gives 1 a step"


def test_a_saved_policy_is_evaluated_with_its_own_statistics(tmp_path: object) -> None:
    task = environment_task("Pendulum-v1", normalize_observations=True)
    policy = sharp_policy(task)
    StretchCollector(task, num_environments=2, seed=1).collect_steps(policy, 300)
    policy.save(tmp_path)  # type: ignore[arg-type]
    loaded = SmallPolicy.load(tmp_path)  # type: ignore[arg-type]
    expected = evaluate(task, policy, episodes=2).returns_N
    assert (evaluate(task, loaded, episodes=2).returns_N == expected).all()
    loaded.scale = None
    assert not (evaluate(task, loaded, episodes=2).returns_N == expected).any(), "the statistics matter"


def test_the_player_takes_the_likeliest_action_as_the_environment_wants_it() -> None:
    task = spy_task()  # its actions are 5 and 6
    policy = sharp_policy(task)
    for observation in ([0.0, 1.0], [3.0, -2.0]):
        best = policy.mode(np.array([observation], np.float32))[0]
        assert policy.act(observation) == best, "as the network has it"
        policy.to_environment = task.to_environment
        assert policy.act(np.array(observation)) == best + 5
        policy.to_environment = None
    with pytest.raises(SettingsError, match="got an observation of 3 numbers, expected 2"):
        policy.act([0.0, 1.0, 2.0])


def test_an_environment_without_a_time_limit_and_no_episodes_are_refused() -> None:
    task = spy_task()
    with pytest.raises(SettingsError, match="episodes"):
        evaluate(task, sharp_policy(task), episodes=0)
    endless = spy_task(max_episode_steps=-1)
    with pytest.raises(SettingsError, match="no time limit"):
        evaluate(endless, sharp_policy(endless), episodes=1)
