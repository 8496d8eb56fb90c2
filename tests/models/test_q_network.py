"""The Q network: its shapes, its distribution, what it saves, what it refuses to load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rung.errors import CheckpointError, DataError, SettingsError
from rung.models.small.environment_policy import load_environment_policy
from rung.models.small.network import SmallPolicy, SmallShape
from rung.models.small.q_network import NAME, QNetwork, QShape, boltzmann, epsilon_greedy

VECTOR = QShape(observation=(4,), choices=3, hidden=(16, 8))
IMAGE = QShape(observation=(4, 20, 20), choices=3, hidden=(8,), convolutions=((2, 4, 2), (3, 3, 1)), duelling=True)
SHAPES = pytest.mark.parametrize("shape", [VECTOR, IMAGE], ids=["vector", "image"])


def some_of(shape: QShape, count: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if len(shape.observation) == 1:
        return torch.randn(count, *shape.observation, generator=generator)
    return torch.randint(0, 256, (count, *shape.observation), generator=generator, dtype=torch.uint8)


def test_a_vector_goes_through_layers_of_relu() -> None:
    network, seen = QNetwork(VECTOR, seed=1), some_of(VECTOR)
    own = network.state()
    inside = torch.relu(seen @ own["q.hidden0.weight"].T + own["q.hidden0.bias"])
    inside = torch.relu(inside @ own["q.hidden1.weight"].T + own["q.hidden1.bias"])
    expected = inside @ own["q.out.weight"].T + own["q.out.bias"]
    torch.testing.assert_close(network.values(seen).detach(), expected)


def test_an_image_goes_through_convolutions_and_duelling_heads() -> None:
    network, seen = QNetwork(IMAGE, seed=1), some_of(IMAGE)
    own = network.state()
    inside = torch.nn.functional.conv2d(seen.double() / 255, own["q.convolution0.weight"].double(), stride=2)
    inside = torch.relu(inside + own["q.convolution0.bias"].double()[:, None, None])
    inside = torch.nn.functional.conv2d(inside, own["q.convolution1.weight"].double())
    inside = torch.relu(inside + own["q.convolution1.bias"].double()[:, None, None]).flatten(1)
    inside = torch.relu(inside @ own["q.hidden0.weight"].double().T + own["q.hidden0.bias"])
    value, advantage = (inside @ own[f"q.{n}.weight"].double().T + own[f"q.{n}.bias"] for n in ("value", "out"))
    expected = value + advantage - advantage.mean(1, keepdim=True)
    torch.testing.assert_close(network.values(seen).detach().double(), expected, rtol=1e-5, atol=1e-6)


@SHAPES
def test_weights_and_gradients_are_views_of_one_row(shape: QShape) -> None:
    network = QNetwork(shape, seed=1)
    assert network.flat.numel() == shape.numbers() == sum(p.numel() for p in network.trainable().values())
    network.values(some_of(shape)).sum().backward()
    assert network.flat.grad is not None
    together = torch.cat([p.grad.reshape(-1) for p in network.trainable().values()])
    assert torch.equal(network.flat.grad, together) and bool(together.any())
    with torch.no_grad():
        network.flat.zero_()
    assert not network.values(some_of(shape)).detach().any()


@SHAPES
@pytest.mark.parametrize("count", [1, 5, 32])
def test_the_way_back_is_autograds(shape: QShape, count: int) -> None:
    """Twice, because what was there before must be gone."""
    network, seen = QNetwork(shape, seed=1), some_of(shape, count)
    assert network.flat.grad is not None
    for factor in (1.0, -2.0):
        pull_NV = factor * torch.randn(count, shape.choices, generator=torch.Generator().manual_seed(3))
        values_NV = network.values(seen)
        network.flat.grad.zero_()
        values_NV.backward(pull_NV)
        expected = network.flat.grad.clone()
        found_NV, back = network.to_learn(seen)
        assert not found_NV.requires_grad
        torch.testing.assert_close(found_NV, values_NV.detach(), rtol=1e-5, atol=1e-6)
        back(pull_NV)
        torch.testing.assert_close(network.flat.grad, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
        assert bool(expected.any())


@SHAPES
def test_values_are_the_same_without_a_graph(shape: QShape) -> None:
    network, seen = QNetwork(shape, seed=1), some_of(shape)
    with torch.no_grad():
        alone_NV = network.values(seen)
    torch.testing.assert_close(alone_NV, network.values(seen).detach(), rtol=1e-5, atol=1e-6)


@SHAPES
def test_the_actor_sees_the_weights_as_they_become(shape: QShape) -> None:
    network, seen = QNetwork(shape, seed=1), some_of(shape)
    actor = network.actor()
    for _ in range(2):
        found = torch.from_numpy(actor.values_of(seen.numpy()))
        torch.testing.assert_close(found, network.values(seen).detach(), rtol=1e-5, atol=1e-6)
        assert (actor.mode(seen.numpy()) == network.values(seen).argmax(1).numpy()).all()
        with torch.no_grad():
            network.flat.mul_(-1.5)


def test_a_copy_is_apart_and_follows_when_told() -> None:
    network = QNetwork(VECTOR, seed=1)
    copied = network.reference()
    before = copied.values(some_of(VECTOR)).detach().clone()
    with torch.no_grad():
        network.flat.add_(1.0)
    assert torch.equal(copied.values(some_of(VECTOR)), before) and not copied.trainable()
    copied.follow(network, 0.25)
    torch.testing.assert_close(copied.flat.data, network.flat.data - 0.75)
    copied.follow(network, 1.0)
    assert torch.equal(copied.flat, network.flat)


def test_epsilon_greedy_has_its_law() -> None:
    uniforms_N = (np.arange(30_000) + 0.5) / 30_000
    values_NV = np.tile(np.array([[0.0, 5.0, 1.0]]), (30_000, 1))
    counts = np.bincount(epsilon_greedy(values_NV, uniforms_N, 0.3), minlength=3)
    assert counts.tolist() == [3000, 24_000, 3000]
    assert (epsilon_greedy(values_NV, uniforms_N, 0.0) == 1).all()
    assert np.bincount(epsilon_greedy(values_NV, uniforms_N, 1.0)).tolist() == [10_000] * 3


def test_boltzmann_has_its_law_and_its_chances_are_told() -> None:
    uniforms_N = (np.arange(10_000) + 0.5) / 10_000
    values = np.array([0.0, np.log(3.0), np.log(4.0)])
    actions_N, chances_N = boltzmann(np.tile(values, (10_000, 1)), uniforms_N, 1.0)
    assert np.bincount(actions_N).tolist() == [1250, 3750, 5000]
    np.testing.assert_allclose(chances_N, np.array([0.125, 0.375, 0.5])[actions_N])


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_a_scores_actions_have_the_chances_that_are_told(temperature: float | None) -> None:
    network = QNetwork(QShape(observation=(4,), choices=3, epsilon=0.2, temperature=temperature), seed=3)
    count = 20_000
    seen = np.tile(np.array([[0.5, -1.0, 2.0, 0.1]], np.float32), (count, 1))
    actions_N, log_probs_N = network.actor()(seen, (np.arange(count) + 0.5) / count)
    for action in range(3):
        share = (actions_N == action).mean()
        assert share == pytest.approx(float(np.exp(log_probs_N[actions_N == action][0])), abs=1e-3)


@SHAPES
def test_saved_and_loaded_it_is_the_same(shape: QShape, tmp_path: Path) -> None:
    network = QNetwork(shape, seed=2)
    network.save(tmp_path)
    loaded = load_environment_policy(tmp_path)
    assert isinstance(loaded, QNetwork) and loaded.shape == shape
    assert torch.equal(loaded.values(some_of(shape)), network.values(some_of(shape)))
    SmallPolicy(SmallShape(observations=4, choices=2)).save(tmp_path / "other")
    assert isinstance(load_environment_policy(tmp_path / "other"), SmallPolicy)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": [10**9]},
        {"hidden": ["64"]},
        {"observation": [True]},
        {"convolutions": [[1, 2, 3]]},
        {"epsilon": "0.1"},
        {"choices": 0},
        {"observation": [1000000], "hidden": [1000000]},
        {"unknown": 1},
    ],
)
def test_a_hostile_file_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    QNetwork(VECTOR).save(tmp_path)
    content = json.loads((tmp_path / f"{NAME}.json").read_text())
    (tmp_path / f"{NAME}.json").write_text(json.dumps({**content, **change}))
    with pytest.raises((DataError, SettingsError)):
        QNetwork.load(tmp_path)


def test_another_networks_state_is_refused_and_nothing_changes() -> None:
    network, other = QNetwork(VECTOR, seed=1), QNetwork(QShape(observation=(5,), choices=3, hidden=(16, 8)))
    before = network.flat.detach().clone()
    with pytest.raises(CheckpointError, match=r"q\.hidden0\.weight"):
        network.load_state(other.state())
    assert torch.equal(network.flat, before)


def test_shapes_that_cannot_be_are_told() -> None:
    with pytest.raises(SettingsError, match="too small"):
        QShape(observation=(4, 8, 8), choices=2, convolutions=((16, 8, 4), (32, 4, 2)))
    with pytest.raises(SettingsError, match="expected \\(numbers,\\)"):
        QShape(observation=(4, 84, 84), choices=2)
