"""Q learnt from a replay, on an MDP whose Q* is known by value iteration; and the learner's own state."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from rung.errors import NonFiniteError
from rung.methods import METHODS, ValueLearning
from rung.methods.parts.q_learning import (
    Adam,
    CentredRMSprop,
    ClippedError,
    DoubleTarget,
    EpsilonGreedy,
    Every,
    Layers2013,
    MaxTarget,
    Prioritised,
    Uniform,
)
from rung.models.small.q_network import QNetwork, QShape
from rung.rollouts.environments.rows import EnvironmentRows
from rung.rollouts.replay import Frame, Replay
from rung.tasks.environment import environment_task
from rung.trainers.q_learning.environment import ReplayCollector
from rung.trainers.q_learning.learner import ValueLearner

STATES, ACTIONS, DISCOUNT = 5, 3, 0.8
_DRAWN = np.random.Generator(np.random.PCG64(4))
NEXT = _DRAWN.integers(0, STATES, (STATES, ACTIONS))
REWARD = _DRAWN.random((STATES, ACTIONS)).astype(np.float32)
ENDS = _DRAWN.random((STATES, ACTIONS)) < 0.2


def best_values() -> np.ndarray:
    values = np.zeros((STATES, ACTIONS))
    for _ in range(300):
        values = REWARD + DISCOUNT * ~ENDS * values.max(1)[NEXT]
    return values


def one_hot(state: int) -> np.ndarray:
    return np.eye(STATES, dtype=np.float32)[state]


def walked(steps: int, limit: int = 6, *, prioritised: bool = False, cuts_are_ends: bool = False) -> Replay:
    """A random walk, cut every `limit` steps: the cuts are no part of the MDP."""
    replay = Replay(
        rows=1, capacity=steps, frame=Frame(shape=(STATES,), dtype=np.dtype("float32")), prioritised=prioritised
    )
    random = np.random.Generator(np.random.PCG64(0))
    state, taken = 0, 0
    replay.begin(0, one_hot(state))
    for _ in range(steps):
        action = int(random.integers(ACTIONS))
        reward, after, taken = REWARD[state, action], int(NEXT[state, action]), taken + 1
        ended, cut = bool(ENDS[state, action]), taken == limit
        replay.add(
            np.array([action]), np.array([reward]), np.array([ended or (cut and cuts_are_ends)]), np.array([cut]),
            one_hot(after)[None],
        )  # fmt: skip
        state = after
        if ended or cut:
            state, taken = int(random.integers(STATES)), 0
            replay.begin(0, one_hot(state))
    return replay


def tabular(**slots: Any) -> ValueLearning:
    plain = {
        "replay": Uniform(capacity=2000, starts=64, batch=64),
        "value_target": MaxTarget(discount=DISCOUNT),
        "optimizer": Adam(learning_rate=0.02),
        "network": Layers2013(duelling=False),
    }
    return METHODS["dqn"].changed(name="tabular", **{**plain, **slots})


def learnt(method: ValueLearning, replay: Replay, updates: int = 1500) -> np.ndarray:
    shape = QShape(observation=(STATES,), choices=ACTIONS, hidden=(), duelling=method.network.duelling)
    learner = ValueLearner(QNetwork(shape, seed=1), method, seed=2)
    for _ in range(updates):
        learner.learn(replay)
    with torch.inference_mode():
        return learner.network.values(torch.eye(STATES)).numpy()


VARIANTS = {
    "2013": {},
    "a target network": {"target_network": Every(updates=20)},
    "a target network that follows": {"target_network": Every(updates=1, share=0.1)},
    "double": {"target_network": Every(updates=20), "value_target": DoubleTarget(discount=DISCOUNT)},
    "duelling": {"network": Layers2013(duelling=True)},
    "prioritised": {"replay": Prioritised(capacity=2000, starts=64, batch=64, beta=1.0)},
    "centred RMSProp, summed": {
        "optimizer": CentredRMSprop(learning_rate=0.01),
        "sum_errors": True,
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_it_finds_the_best_values(name: str) -> None:
    method = tabular(**VARIANTS[name])
    assert method.problems() == []
    found = learnt(method, walked(2000, prioritised=isinstance(method.replay, Prioritised)))
    np.testing.assert_allclose(found, best_values(), atol=0.03)


def test_a_cut_taken_for_an_end_finds_other_values() -> None:
    """Negative control: the walk is the same, and only its time limit is mistaken for the MDP's own end."""
    found = learnt(tabular(), walked(2000, cuts_are_ends=True))
    assert np.abs(found - best_values()).max() > 0.15


def test_several_steps_of_the_best_policy_find_the_same_values() -> None:
    """Three-step targets are exact where the steps were the best ones: walk by the best policy, then compare there."""
    best = best_values()
    replay = Replay(rows=1, capacity=600, frame=Frame(shape=(STATES,), dtype=np.dtype("float32")))
    random = np.random.Generator(np.random.PCG64(1))
    seen = set()
    for _ in range(100):
        state = int(random.integers(STATES))
        replay.begin(0, one_hot(state))
        for t in range(5):
            action = int(best[state].argmax())
            seen.add((state, action))
            ended, after = bool(ENDS[state, action]), int(NEXT[state, action])
            reward_1, ended_1, cut_1 = REWARD[state, action][None], np.array([ended]), np.array([t == 4])
            replay.add(np.array([action]), reward_1, ended_1, cut_1, one_hot(after)[None])
            state = after
            if ended:
                break
    method = tabular(value_target=MaxTarget(discount=DISCOUNT, steps=3))
    shape = QShape(observation=(STATES,), choices=ACTIONS, hidden=())
    network = QNetwork(shape, seed=1)
    with torch.no_grad():
        network.state()["q.out.weight"].copy_(torch.tensor(best.T))
        network.state()["q.out.bias"].zero_()
    learner = ValueLearner(network, method, seed=2)
    learner.learn(replay)
    error = learner.update(None, 1).metrics()["value/error"]
    assert error is not None and error < 1e-6, "at Q* every three-step target is Q* itself"


def test_the_copy_changes_only_when_it_is_due() -> None:
    method = tabular(target_network=Every(updates=3))
    learner = ValueLearner(QNetwork(QShape(observation=(STATES,), choices=ACTIONS, hidden=()), seed=1), method)
    replay, versions = walked(200), []
    for _ in range(7):
        learner.learn(replay)
        assert learner.copy is not None
        same = torch.equal(learner.copy.state()["q.out.weight"], learner.network.state()["q.out.weight"])
        versions.append(same)
    assert versions == [False, False, True, False, False, True, False]


COMPILED = {
    "2013": {},
    "a copy": {"target_network": Every(updates=3)},
    "a copy that follows, double, three steps": {
        "target_network": Every(updates=1, share=0.1), "value_target": DoubleTarget(discount=DISCOUNT, steps=3),
    },
    "clipped, bounded": {"error": ClippedError(limit=0.3), "optimizer": Adam(learning_rate=0.01, max_grad_norm=0.1)},
    "summed": {"sum_errors": True},
}  # fmt: skip


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_updates_are_torchs(name: str) -> None:
    method, replay, found = tabular(**COMPILED[name], updates=10), walked(300), []
    assert not method.beyond_slopes()
    for compiled in (True, False):
        learner = ValueLearner(QNetwork(QShape(observation=(STATES,), choices=ACTIONS, hidden=(8,)), seed=1), method)
        with nullcontext() if compiled else patch.object(ValueLearner, "ahead", lambda *_: (None, None)):
            learner.learn(replay)
        weights = {**learner.network.weights(), **learner.tensors()}
        found.append((weights, learner.update(None, 1).metrics()))
    for key, tensor in found[0][0].items():
        torch.testing.assert_close(tensor, found[1][0][key], rtol=1e-5, atol=1e-6, msg=key)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


@dataclass(frozen=True)
class Halved(MaxTarget):
    """An own target that says nothing of a compiled form."""

    def next_values(self, values_NV: torch.Tensor | None, judged_NV: torch.Tensor) -> torch.Tensor:
        return 0.5 * super().next_values(values_NV, judged_NV)


def test_an_own_part_is_learnt_from_as_it_says() -> None:
    """A subclass that computes something else does not inherit the compiled form of what it replaced."""
    method = tabular(value_target=Halved(discount=DISCOUNT))
    assert method.beyond_slopes() == ["value_target"]
    whole = learnt(tabular(value_target=MaxTarget(discount=DISCOUNT / 2)), walked(300), updates=30)
    np.testing.assert_allclose(learnt(method, walked(300), updates=30), whole, atol=1e-5)


@pytest.mark.parametrize("clips", [False, True])
def test_a_classic_environment_is_explored_in_one_call_as_it_is_step_by_step(clips: bool) -> None:
    """The same actions, returns and weights, over ends of episodes and copies."""
    small = Uniform(capacity=200, starts=40, batch=8)
    method = tabular(
        replay=small, steps_between_updates=3, horizon=150, target_network=Every(updates=20), clip_rewards=clips,
        exploration=EpsilonGreedy(over=200),
    )  # fmt: skip
    task, found = environment_task("CartPole-v1", max_episode_steps=30), []
    for computed in (True, False):
        network = QNetwork(QShape(observation=(4,), choices=2, hidden=(8,)), seed=1)
        learner = ValueLearner(network, method)
        settings: Any = SimpleNamespace(num_environments=2, seed=0)
        collector = ReplayCollector(settings, method, task, network, learner)
        if not computed:
            collector._rows = EnvironmentRows(task, 2)
        metrics = [collector.collect(step, lambda _: nullcontext()).metrics for step in (1, 2)]
        found.append((metrics, collector.tensors(), learner.tensors()))
    assert found[0][0] == [pytest.approx(one, rel=1e-5) for one in found[1][0]]
    for mine, other in zip(found[0][1:], found[1][1:], strict=True):
        for key, tensor in mine.items():
            torch.testing.assert_close(tensor, other[key], rtol=1e-5, atol=1e-6, msg=key)


def test_restored_it_goes_on_the_same() -> None:
    method, replay = tabular(target_network=Every(updates=4), updates=3), walked(300)
    shape = QShape(observation=(STATES,), choices=ACTIONS, hidden=(8,))
    first = ValueLearner(QNetwork(shape, seed=1), method, seed=5)
    first.learn(replay)
    second = ValueLearner(QNetwork(shape, seed=9), method, seed=5)
    second.network.load_state({name: t.clone() for name, t in first.network.state().items()})
    second.load_tensors({name: t.clone() for name, t in first.tensors().items()})
    second.updates = first.updates
    for learner in (first, second):
        learner.learn(replay)
    assert all(torch.equal(t, second.network.state()[name]) for name, t in first.network.state().items())
    assert all(torch.equal(t, second.tensors()[name]) for name, t in first.tensors().items())


def test_a_nan_reward_leaves_the_weights_as_they_were() -> None:
    replay = Replay(rows=1, capacity=100, frame=Frame(shape=(STATES,), dtype=np.dtype("float32")))
    replay.begin(0, one_hot(0))
    for _ in range(70):
        replay.add(np.array([0]), np.array([np.nan]), np.array([False]), np.array([False]), one_hot(0)[None])
    learner = ValueLearner(QNetwork(QShape(observation=(STATES,), choices=ACTIONS, hidden=())), tabular())
    before = {name: t.clone() for name, t in learner.network.state().items()}
    with pytest.raises(NonFiniteError, match=r"method\.target_network"):
        learner.learn(replay)
    assert all(torch.equal(t, before[name]) for name, t in learner.network.state().items())


def test_graves_rmsprop_equals_its_formula() -> None:
    step = METHODS["dqn@2015"].optimizer
    parameter = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = step.build([parameter])
    mean = square = 0.0
    expected = 1.0
    for gradient in (3.0, -1.0, 0.5):
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        mean, square = 0.95 * mean + 0.05 * gradient, 0.95 * square + 0.05 * gradient**2
        expected -= 2.5e-4 * gradient / (square - mean**2 + 0.01) ** 0.5
        assert float(parameter.detach()) == pytest.approx(expected, abs=1e-15)
