"""What RFT and online RFT climb: the right answers' likelihood, under the start's distribution or the policy's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from enumeration import climb
from torch import Tensor

from rung.lab.referee.closed_forms import total_variation
from rung.lab.referee.estimates import compare, expected_gradient
from rung.lab.referee.world import Tree, World, expected, expected_return, gradient, random_world
from rung.methods import METHODS, PolicyGradient
from rung.methods.parts.aggregations import PerEpisode

EXACT = 1e-9


def named(name: str) -> PolicyGradient:
    method = METHODS[name]
    assert isinstance(method, PolicyGradient)
    return method


ONLINE, OFFLINE = named("online_rft"), named("rft")
WHOLE = {method.name: method.changed(aggregation=PerEpisode()) for method in (ONLINE, OFFLINE)}
"""Without the 1/|o|."""


def assert_equal(found: Tensor, true: Tensor) -> None:
    assert float((found - true).norm()) < EXACT * float(true.norm()), compare(found, true)


def likelihood(start_PNV: Tensor, *, by_length: bool):
    """E_{y ~ start}[ right(y) log π(y) ], each answer's by its number of tokens where asked."""

    def of(world: World, logits_PNV: Tensor) -> Tensor:
        log_probs_PS = world.log_probs_PS(logits_PNV)
        if by_length:
            log_probs_PS = log_probs_PS / world.tree.lengths_S
        return expected(world, world.returns_PS() * log_probs_PS, start_PNV)

    return of


@pytest.mark.parametrize("samples", [1, 2])
def test_online_rft_without_the_length_has_the_true_gradient(samples: int) -> None:
    """For rewards of 0 and 1 it is REINFORCE without a baseline: unbiased, and as noisy."""
    world = random_world(2, rewards="binary", tree=Tree(3, 3 if samples == 1 else 2))
    assert_equal(expected_gradient(WHOLE["online_rft"], world, samples), gradient(expected_return, world))


def test_the_papers_length_is_its_stated_bias() -> None:
    world = random_world(5, rewards="binary")
    found = expected_gradient(ONLINE, world, 1)
    assert_equal(found, gradient(likelihood(world.logits_PNV, by_length=True), world))
    assert compare(found, gradient(expected_return, world)).off_direction > 0.01


@pytest.mark.parametrize("seed", [2, 5])
def test_rft_climbs_the_likelihood_of_the_starts_right_answers(seed: int) -> None:
    world = random_world(seed, rewards="binary")
    start_PNV = world.reference_PNV
    for method, by_length in ((OFFLINE, True), (WHOLE["rft"], False)):
        found = expected_gradient(method, world, 1, drawn_from=start_PNV)
        assert_equal(found, gradient(likelihood(start_PNV, by_length=by_length), world))
    own = expected_gradient(OFFLINE, world, 1)
    assert compare(own, found).off_direction > 0.05, "answers of the policy itself would be seen"


def test_only_accuracy_counts_whatever_the_rewards_add_up_to() -> None:
    world = random_world(2, rewards="binary")
    found = expected_gradient(ONLINE, world, 1)
    moved = expected_gradient(ONLINE, world, 1, seen_as=lambda b: b.changed(rewards_BT=3 * b.rewards_BT - 7))
    assert_equal(moved, found)
    half = replace(world, rewards_PST=world.rewards_PST / 2)
    assert float(expected_gradient(ONLINE, half, 1).norm()) == 0.0, "half right is not right"


def test_where_the_two_end() -> None:
    """RFT ends at the start's own answers less the wrong ones; online RFT is drawn to what it comes to say most."""
    world = random_world(2, rewards="binary", tree=Tree(3, 2))
    right_PS = world.returns_PS()
    kept_PS = world.probs_PS(world.reference_PNV) * right_PS
    kept_PS = kept_PS / kept_PS.sum(-1, keepdim=True)
    offline_PS = climb(WHOLE["rft"], world, 1, steps=80, rate=0.3, drawn_from=world.reference_PNV)
    online_PS = climb(WHOLE["online_rft"], world, 1, steps=80, rate=0.3)
    assert total_variation(offline_PS, kept_PS) < 0.01
    assert float((online_PS * right_PS).sum(-1).min()) > 0.99
    assert total_variation(online_PS, kept_PS) > 0.05
    assert torch.allclose(online_PS.sum(-1), torch.ones(1, dtype=torch.float64))
