"""The terms of every kind of method by hand; what can be measured is measured by torch's own counter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from costs import work_of
from torch.utils.flop_counter import FlopCounterMode

from rung.methods import METHODS, AdaptiveElements, PreferenceLearning
from rung.methods.parts.elements import Lifetimes
from rung.methods.parts.q_learning import DoubleTarget, Every
from rung.models.language.reward_model import RewardModel
from rung.models.language.tiny import tiny_model
from rung.models.small.q_network import QNetwork, QShape
from rung.trainers.boxes_1983.kind import element_work
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.budget import Budget, Spent, spent_on
from rung.trainers.policy_gradient.work import work
from rung.trainers.preferences.kind import preference_work
from rung.trainers.q_learning.kind import value_work
from rung.trainers.work import Work


def test_pairs_by_hand() -> None:
    """N = 100 weights: forward 2 a weight, backward 4; the reference once; KTO's anchor two forward passes more."""
    assert preference_work(METHODS["dpo"], model=100, trained=100) == Work(generated=200, trained=600, reference=200)
    assert preference_work(METHODS["simpo"], model=100, trained=100) == Work(generated=200, trained=600)
    assert preference_work(METHODS["kto"], model=100, trained=100) == Work(generated=200, trained=1000, reference=200)
    assert preference_work(METHODS["dpo"], model=100, trained=5).trained == 400 + 10


def test_two_passes_over_pairs_ask_the_reference_once() -> None:
    """Both halves of 3 pairs, 20 tokens in all, drawn from 50 generated ones; two passes."""
    cost = preference_work(METHODS["dpo"], model=100, trained=100)
    rows = [
        {"step": 0, "held_out/score": 0.5},
        {"step": 1, "tokens/generated": 50.0},
        {"step": 2, "tokens/trained": 20.0, "tokens/reference": 20.0},
        {"step": 3, "tokens/trained": 20.0, "tokens/reference": 0.0},
    ]
    assert spent_on(rows, [], cost) == Spent(tokens=50, trained=40, flops=50 * 200 + 40 * 600 + 20 * 200)


def test_seconds_of_the_reference_count() -> None:
    budget = Budget({"seconds": 1.0}, Work(generated=1, trained=1))
    timings = [{"step": 1, "seconds/reference": 0.5, "seconds/learn": 0.25, "seconds/evaluate": 9.0}]
    assert spent_on([{"step": 1}], timings, budget.work).seconds == 0.75


def test_values_by_hand() -> None:
    """One pass to act; a replayed step goes forward and back, the state after it once, or twice for Double."""
    assert value_work(METHODS["dqn"], asked=100) == Work(generated=200, trained=600 + 200)
    double = METHODS["dqn"].changed(value_target=DoubleTarget(), target_network=Every(updates=100))
    assert value_work(double, asked=100) == Work(generated=200, trained=600 + 400)


@pytest.mark.parametrize(
    "shape",
    [
        QShape(observation=(4,), choices=2),
        QShape(observation=(4,), choices=3, hidden=(8,), duelling=True),
        QShape(observation=(2, 20, 16), choices=4, convolutions=((3, 8, 4), (5, 3, 1)), hidden=(7,)),
    ],
)
def test_weights_are_counted_as_often_as_they_are_used(shape: QShape) -> None:
    """torch's counter knows matrix products and convolutions; it leaves out biases."""
    network = QNetwork(shape, seed=0)
    with FlopCounterMode(display=False) as counter:
        network.values(torch.zeros(1, *shape.observation, dtype=torch.uint8 if shape.convolutions else torch.float32))
    biases = sum(count * rows for count, (_, (rows, *_)) in zip(places_of(shape), shape.layers(), strict=True))
    assert counter.get_total_flops() == 2 * (shape.uses() - biases)
    assert work_of(METHODS["dqn"], network).generated == 2.0 * shape.uses()
    if not shape.convolutions:
        assert shape.uses() == shape.numbers()


def places_of(shape: QShape) -> list[int]:
    """How often each layer is put, by sliding its kernel in plain Python."""
    if len(shape.observation) == 1:
        return [1 for _ in shape.layers()]
    height, width = shape.observation[1:]
    found = []
    for _, kernel, stride in shape.convolutions:
        rows = [top for top in range(0, height, stride) if top + kernel <= height]
        columns = [left for left in range(0, width, stride) if left + kernel <= width]
        height, width = len(rows), len(columns)
        found.append(height * width)
    return found + [1] * (len(list(shape.layers())) - len(found))


def test_elements_by_hand() -> None:
    """162 boxes: the actor's y·x, trace and weight, 8 a box, and one addition of noise; the critic's 7 a box and r̂."""
    assert element_work(METHODS["ase"], boxes=162) == Work(generated=1 + 8 * 162, trained=0)
    assert element_work(METHODS["ase_ace"], boxes=162) == Work(generated=1 + 8 * 162 + 3 + 7 * 162, trained=0)
    assert element_work(METHODS["boxes"], boxes=162).generated < 10, "BOXES learns at a failure alone"
    assert isinstance(METHODS["boxes"].actor, Lifetimes)
    assert work_of(METHODS["ase"], BoxPolicy(METHODS["ase"].tables(), boxes=9)).generated == 1 + 8 * 9


def test_policy_gradients_extra_passes() -> None:
    """An objective that picks tokens looks at all of them first, in each epoch; an adaptive penalty looks back."""
    plain = work(METHODS["grpo"], policy=100, critic=0, trained=100)
    choosing = [m for m in METHODS.values() if getattr(m, "chooses_tokens", False)]
    assert choosing
    for method in choosing:
        without = method.changed(objective=METHODS["grpo"].objective)
        gap = work(method, policy=100, critic=0, trained=100).trained
        gap -= work(without, policy=100, critic=0, trained=100).trained
        assert gap == 200.0 * method.num_epochs, method.name
    assert plain.reference == 0.0


def test_every_method_has_terms(tmp_path: Path) -> None:
    model = tiny_model(0)
    size = sum(p.numel() for p in model.model.parameters())
    for method in METHODS.values():
        if isinstance(method, PreferenceLearning):
            policy = model if method.trains_policy() else RewardModel(model)
            cost = work_of(method, policy)
            assert cost.generated == 2.0 * size and cost.trained >= 6.0 * size, method.name
        elif isinstance(method, AdaptiveElements):
            assert work_of(method, BoxPolicy(method.tables(), boxes=162)).generated > 0
