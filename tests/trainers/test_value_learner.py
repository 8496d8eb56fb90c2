"""Q learnt from a replay, on an MDP whose Q* is known by value iteration; and the learner's own state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rung.errors import NonFiniteError
from rung.methods import METHODS, ValueLearning
from rung.methods.parts.q_learning import (
    Adam,
    CentredRMSprop,
    DoubleTarget,
    Every,
    Layers2013,
    MaxTarget,
    Prioritised,
    Uniform,
)
from rung.models.small.q_network import QNetwork, QShape
from rung.rollouts.replay import Frame, Replay
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
