from __future__ import annotations

import numpy as np
import pytest
import torch
from spy_environment import KnownPolicy, spy_task

from rung.errors import CheckpointError
from rung.models.small.observation_scale import ObservationScale
from rung.rollouts.environments.scaling import ObservationNormalizer, RewardScaler, RunningMoments, Scaling

RNG = np.random.default_rng(0)


def test_moments_counted_in_parts_are_those_of_the_whole() -> None:
    values = RNG.normal(3.0, [0.1, 50.0], size=(1000, 2)) + 1e4
    moments = RunningMoments((2,))
    for part in np.split(values, [1, 1, 8, 500]):
        moments.count(part)
    np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.variance, values.var(0), rtol=1e-9)
    assert moments.counted == 1000


def test_before_anything_is_counted_nothing_is_scaled() -> None:
    scale = ObservationNormalizer(2).scale()
    np.testing.assert_allclose(scale(np.array([[3.0, -2.0]], np.float32)), [[3.0, -2.0]], rtol=1e-7)


def test_observations_are_counted_and_then_scaled_and_clipped() -> None:
    normalizer = ObservationNormalizer(1)
    first = normalizer(np.array([[0.0], [2.0]], np.float32))
    np.testing.assert_allclose(first, [[-1.0], [1.0]], rtol=1e-6)
    rare = np.zeros((200, 1), np.float32)
    rare[0] = 1e6
    assert normalizer(rare)[0, 0] == 10.0
    assert normalizer.scale()(np.array([[-1e9]], np.float32)).tolist() == [[-10.0]]
    assert first.dtype == np.float32


def test_scaling_with_constants_counts_nothing() -> None:
    normalizer = ObservationNormalizer(1)
    normalizer(np.array([[0.0], [2.0]], np.float32))
    scale = normalizer.scale()
    scale(np.array([[500.0]], np.float32))
    assert normalizer.moments.counted == 2
    normalizer(np.array([[100.0]], np.float32))
    np.testing.assert_allclose(scale(np.array([[2.0]], np.float32)), [[1.0]], rtol=1e-6)
    assert normalizer.moments.counted == 3


def test_rewards_are_divided_by_the_spread_of_the_discounted_return() -> None:
    scaler, running_B = RewardScaler(0.5), np.zeros(2)
    first_B = scaler(np.array([1.0, 3.0]), running_B)  # R = 1, 3: variance 1
    np.testing.assert_allclose(first_B, [1.0, 3.0], rtol=1e-7)
    second_B = scaler(np.array([4.0, 0.0]), running_B)  # R = 4.5, 1.5 among 1, 3, 4.5, 1.5
    assert running_B.tolist() == [4.5, 1.5]
    np.testing.assert_allclose(second_B, np.array([4.0, 0.0]) / np.std([1.0, 3.0, 4.5, 1.5]), rtol=1e-7)
    many_B = np.zeros(1000)
    many_B[0] = 1e6
    assert scaler(many_B, np.zeros(1000))[0] == 10.0


def test_saved_and_restored_statistics_go_on_bitwise() -> None:
    task = spy_task(normalize_observations=True, normalize_rewards=True)
    one, other = Scaling(task), Scaling(task)
    parts = [RNG.normal(size=(3, 2)).astype(np.float32) for _ in range(4)]
    rewards = [RNG.normal(size=3) for _ in range(4)]
    running, running_other = np.zeros(3), np.zeros(3)
    for part, reward in zip(parts[:2], rewards[:2], strict=True):
        one.seen(part), one.scaled(reward, running)
    other.load_state(one.state())
    running_other[:] = running
    for part, reward in zip(parts[2:], rewards[2:], strict=True):
        assert (one.seen(part) == other.seen(part)).all()
        assert (one.scaled(reward, running) == other.scaled(reward, running_other)).all()
    fresh = Scaling(task)
    assert not (fresh.seen(parts[0]) == one.seen(parts[0])).all(), "the statistics matter"


def test_a_final_observation_is_scaled_and_not_counted() -> None:
    scaling = Scaling(spy_task(normalize_observations=True))
    scaling.seen(np.array([[0.0, 0.0], [2.0, 4.0]], np.float32))
    before = {name: t.clone() for name, t in scaling.state().items()}
    np.testing.assert_allclose(scaling.final(np.array([[2.0, 0.0]], np.float32)), [[1.0, -1.0]], rtol=1e-6)
    assert all((before[name] == t).all() for name, t in scaling.state().items())


def test_the_policy_is_given_the_statistics_or_none() -> None:
    policy = KnownPolicy()
    scaling = Scaling(spy_task(normalize_observations=True))
    scaling.seen(np.array([[0.0, 0.0], [2.0, 4.0]], np.float32))
    scaling.give(policy)  # type: ignore[arg-type]
    assert policy.scale is not None and policy.scale.mean_O.tolist() == [1.0, 2.0]
    Scaling(spy_task()).give(policy)  # type: ignore[arg-type]
    assert policy.scale is None


def test_without_normalisation_observations_and_rewards_pass_unchanged() -> None:
    scaling = Scaling(spy_task())
    raw = np.array([[1e6, -3.0]], np.float32)
    seen = scaling.seen(raw)
    assert (seen == raw).all() and seen is not raw
    assert scaling.scaled(np.array([1e6]), np.zeros(1)).tolist() == [1e6] and scaling.state() == {}


def test_a_checkpoint_without_the_statistics_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"observation\.mean.*normalize_observations"):
        Scaling(spy_task(normalize_observations=True)).load_state({})


def test_the_scale_survives_as_tensors() -> None:
    scale = ObservationScale(np.array([1.0, 2.0]), np.array([0.5, 3.0]))
    back, rest, wrong = ObservationScale.from_tensors({**scale.tensors(), "x": torch.zeros(1)}, 2)
    assert back is not None and list(rest) == ["x"] and wrong == []
    assert (back.mean_O == scale.mean_O).all() and (back.variance_O == scale.variance_O).all()
    assert ObservationScale.from_tensors(scale.tensors(), 3)[2] != []
