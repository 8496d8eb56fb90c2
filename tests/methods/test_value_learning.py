"""The methods that learn values: what their names mean, what they say of themselves, what cannot be combined."""

from __future__ import annotations

import json

import pytest
import torch

from rung.methods import METHODS, ValueLearning
from rung.methods.data import as_data, from_data, slots, with_settings
from rung.methods.explain import card, difference, explain
from rung.methods.parts.q_learning import (
    Adam,
    Boltzmann,
    CentredRMSprop,
    ClippedError,
    DoubleTarget,
    EpsilonGreedy,
    Every,
    Layers2013,
    Layers2015,
    MaxTarget,
    Prioritised,
    SquaredError,
    Uniform,
)

VALUES = {name: method for name, method in METHODS.items() if isinstance(method, ValueLearning)}
DQN = METHODS["dqn"]
assert isinstance(DQN, ValueLearning)

PAPER = {  # arXiv:1312.5602: a million steps, 32 a minibatch, ε 1 to 0.1 over a million, 0.05 when scored, no copy
    "horizon": 1000,
    "exploration": EpsilonGreedy(start=1.0, end=0.1, over=1_000_000, evaluation=0.05),
    "replay": Uniform(capacity=1_000_000, starts=50_000, batch=32),
    "steps_between_updates": 1,
    "updates": 1,
    "clip_rewards": True,
    "life_loss_ends": False,
    "network": Layers2013(first=64, second=64, duelling=False),
    "value_target": MaxTarget(discount=0.99, steps=1),
    "target_network": None,
    "error": SquaredError(),
    "sum_errors": False,
    "optimizer": CentredRMSprop(learning_rate=2.5e-4, decay=0.95, epsilon=0.01, max_grad_norm=None),
}
PINNED = {
    "dqn": PAPER,
    "dqn@2013": PAPER,
    "dqn@2015": PAPER  # doi:10.1038/nature14236, extended data table 1; DeepMind's run_gpu
    | {
        "steps_between_updates": 4,
        "life_loss_ends": True,
        "network": Layers2015(),
        "target_network": Every(updates=10_000),
        "error": ClippedError(limit=1.0),
        "sum_errors": True,
    },
    "dqn@cleanrl": PAPER  # cleanrl/dqn.py: 500 steps are 50 updates of one every 10 steps
    | {
        "exploration": EpsilonGreedy(start=1.0, end=0.05, over=250_000, evaluation=0.05),
        "replay": Uniform(capacity=10_000, starts=10_000, batch=128),
        "steps_between_updates": 10,
        "clip_rewards": False,
        "network": Layers2013(first=120, second=84),
        "target_network": Every(updates=50),
        "optimizer": Adam(learning_rate=2.5e-4, beta1=0.9, beta2=0.999, epsilon=1e-8, max_grad_norm=None),
    },
    "dqn@sb3": PAPER  # stable_baselines3 2.9.2, DQN.__init__: 10,000 steps are 2,500 updates of one every 4 steps
    | {
        "exploration": EpsilonGreedy(start=1.0, end=0.05, over=100_000, evaluation=0.05),
        "replay": Uniform(capacity=1_000_000, starts=100, batch=32),
        "steps_between_updates": 4,
        "clip_rewards": False,
        "network": Layers2015(),
        "target_network": Every(updates=2_500),
        "error": ClippedError(limit=1.0),
        "optimizer": Adam(learning_rate=1e-4, beta1=0.9, beta2=0.999, epsilon=1e-8, max_grad_norm=10.0),
    },
}


@pytest.mark.parametrize("name", PINNED)
def test_a_name_means_what_its_source_says(name: str) -> None:
    assert {slot: getattr(VALUES[name], slot) for slot in slots(VALUES[name])} == PINNED[name]


def test_every_value_method_is_pinned_runs_and_comes_from_dqn() -> None:
    assert set(PINNED) == set(VALUES)
    for name, method in VALUES.items():
        assert method.problems() == [] and not method.needs_start(), name
        assert method.parent == (None if name == "dqn" else "dqn")
        assert method.deviations[0].startswith("Read in ") or name in ("dqn", "dqn@2013"), name


@pytest.mark.parametrize("name", VALUES)
def test_data_goes_round_and_explanations_name_every_slot(name: str) -> None:
    method = VALUES[name]
    assert from_data(json.loads(json.dumps(as_data(method)))) == method
    assert card(method)["kind"] == "ValueLearning" and list(card(method)["slots"]) == slots(method)
    text = explain(method)
    assert all(f"  {slot} " in text for slot in slots(method)) and method.formula().splitlines()[0] in text


def test_formulas_by_hand() -> None:
    assert DQN.formula() == (
        "L = mean over a minibatch of (y − Q(s, a))²\n"
        "y = r + 0.99 max_a Q(s', a)\n"
        "32 steps of the last 1,000,000, drawn uniformly\n"
        "ε-greedy, ε from 1 to 0.1 over 1,000,000 steps; 0.05 when scored\n"
        "1 update every step: centred RMSProp, learning rate 0.00025, 0.01 under the root"
    )
    rainbow_like = DQN.changed(
        replay=Prioritised(),
        target_network=Every(updates=8000, share=0.5),
        value_target=DoubleTarget(discount=0.99, steps=3),
        network=Layers2013(duelling=True),
        exploration=Boltzmann(temperature=0.5),
        steps_between_updates=4,
        updates=2,
    )
    assert rainbow_like.formula().splitlines() == [
        "L = mean over a minibatch of w (y − Q(s, a))²",
        "y = ∑_(k<3) 0.99ᵏ rₖ + 0.99^3 Q⁻(s', argmax_a Q(s', a))",
        "Q(s, a) = V(s) + A(s, a) − mean_a A(s, a)",
        "θ⁻ ← 0.5 θ + 0.5 θ⁻ every 8,000 updates",
        "32 steps of the last 1,000,000, drawn in proportion to (|δ| + 1e-06)^0.6, weighted by (size · P)^−β / max, "
        "β from 0.4 to 1",
        "π(a|s) ∝ exp(Q(s, a) / 0.5)",
        "2 updates every 4 steps: centred RMSProp, learning rate 0.00025, 0.01 under the root",
    ]
    assert "max_a Q⁻(s', a)" in METHODS["dqn@sb3"].formula()


def test_what_nature_changed() -> None:
    assert [change.slot for change in difference(DQN, METHODS["dqn@2015"])] == [
        *("steps_between_updates", "life_loss_ends", "network", "target_network", "error", "sum_errors")
    ]
    first = difference(METHODS["reinforce"], DQN)[0]
    assert (first.slot, first.before, first.after) == ("kind", "PolicyGradient", "ValueLearning")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps_between_updates": 0}, ["method.steps_between_updates: got 0"]),
        ({"updates": 0}, ["method.updates: got 0"]),
        ({"horizon": -1}, ["method.horizon: got -1"]),
        ({"replay": Uniform(capacity=10, starts=32)}, ["method.replay.capacity: got 10", "set 33 or more"]),
        ({"replay": Uniform(starts=5)}, ["method.replay.starts: got 5", "32 steps"]),
        ({"value_target": DoubleTarget()}, ["method.target_network: got none", "DoubleTarget"]),
    ],
)
def test_impossible_combinations_are_named(changes: dict, words: list[str]) -> None:
    (problem,) = DQN.changed(**changes).problems()
    assert all(word in problem for word in words), problem


def test_settings_reach_the_slots() -> None:
    changed = with_settings(DQN, {"target_network": {"part": "Every", "updates": 500}, "replay": "Prioritised"})
    assert changed.target_network == Every(updates=500) and changed.replay == Prioritised()


def test_the_loss_is_the_mean_or_the_sum_of_the_errors() -> None:
    values_NV = torch.tensor([[1.0, 2.0], [0.0, 5.0]], requires_grad=True)
    actions_N, targets_N = torch.tensor([1, 0]), torch.tensor([5.0, 0.5])
    loss, errors_N = DQN.loss(values_NV, actions_N, targets_N, None)
    assert float(loss.detach()) == pytest.approx((9 + 0.25) / 2) and errors_N.tolist() == [3.0, 0.5]
    summed, _ = METHODS["dqn@2015"].loss(values_NV, actions_N, targets_N, None)
    assert float(summed.detach()) == pytest.approx(2.5 + 0.125)
    weighted, _ = DQN.loss(values_NV, actions_N, targets_N, torch.tensor([0.5, 1.0]))
    assert float(weighted.detach()) == pytest.approx((4.5 + 0.25) / 2)


@pytest.mark.parametrize("name", ["dqn", "dqn@2015", "dqn@sb3"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_what_autograd_finds_in_the_loss(name: str, weighted: bool) -> None:
    method, noise = METHODS[name], torch.Generator().manual_seed(0)
    values_NV = torch.randn(7, 3, generator=noise, requires_grad=True)
    actions_N, targets_N = torch.tensor([0, 2, 1, 1, 0, 2, 2]), 3 * torch.randn(7, generator=noise)
    weights_N = torch.rand(7, generator=noise) if weighted else None
    loss, errors_N = method.loss(values_NV, actions_N, targets_N, weights_N)
    assert bool((errors_N.abs() > 1).any()) and bool((errors_N.abs() < 1).any()), "both sides of the clip"
    (expected_NV,) = torch.autograd.grad(loss, values_NV)
    found_NV = method.gradient(values_NV.detach(), actions_N, errors_N, weights_N)
    torch.testing.assert_close(found_NV, expected_NV)


def test_beta_rises_to_1() -> None:
    part = Prioritised(beta=0.4, beta_over=100)
    chances_N = torch.tensor([0.5, 0.25])
    at_start, at_end = part.weights(chances_N, 10, 0), part.weights(chances_N, 10, 100)
    torch.testing.assert_close(at_start, torch.tensor([0.5**0.4, 1.0]))
    torch.testing.assert_close(at_end, torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(part.weights(chances_N, 10, 10**6), at_end)
