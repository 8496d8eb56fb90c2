"""Estimators of the KL to a reference: their value, and what they make a method climb in the loss and in the reward."""

from __future__ import annotations

import pytest
import torch
from enumeration import kl_by_prefix
from torch import Tensor

from rung.formulas import divergences
from rung.lab.referee.closed_forms import without_rewards
from rung.lab.referee.estimates import compare, expected_gradient
from rung.lab.referee.world import Tree, World, expected, expected_return, gradient, kl, random_world
from rung.methods.parts.advantages import EpisodeReturn, RewardToGo
from rung.methods.parts.protocols import Estimator, ReferenceKL
from rung.methods.parts.reference_kl import K1, K2, K3, KLInLoss, KLInReward
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.reinforce import REINFORCE, REINFORCE_BASELINE, RLOO

EXACT = 1e-9
SEEDS = range(4)


def with_kl(part: ReferenceKL, advantage: EpisodeReturn | RewardToGo | None = None) -> PolicyGradient:
    return REINFORCE.changed(reference_kl=part, advantage=advantage or RewardToGo())


def kl_gradient_of(part: ReferenceKL, world: World, advantage: EpisodeReturn | RewardToGo | None = None) -> Tensor:
    """What a method with this part takes for ∇KL: its descent direction where every reward is 0."""
    return -expected_gradient(with_kl(part, advantage), without_rewards(world), 1)


def assert_equal(found: Tensor, true: Tensor) -> None:
    assert float((found - true).norm()) < EXACT * float(true.norm()), compare(found, true)


def mean_value(world: World, estimator) -> float:
    policy_PST, reference_PST = (world.tree.log_probs(x) for x in (world.logits_PNV, world.reference_PNV))
    values_PST = torch.where(world.tree.mask_ST, estimator(policy_PST, reference_PST), 0.0)
    return float(expected(world, values_PST.sum(-1)))


@pytest.mark.parametrize("world", [random_world(seed, tree=tree) for seed in SEEDS for tree in (Tree(), Tree(8, 3))])
def test_values_of_k1_and_k3_are_unbiased_and_that_of_k2_is_not(world: World) -> None:
    true = float(kl(world))
    assert mean_value(world, divergences.k1) == pytest.approx(true, abs=1e-12)
    assert mean_value(world, divergences.k3) == pytest.approx(true, abs=1e-12)
    assert abs(mean_value(world, divergences.k2) / true - 1) > 0.01


def test_value_of_k2_is_off_by_this_much() -> None:
    found = [mean_value(random_world(seed), divergences.k2) / float(kl(random_world(seed))) for seed in SEEDS]
    assert found == pytest.approx([1.0577, 1.2765, 1.1596, 0.8451], abs=5e-5)


def test_value_of_k3_is_never_negative_and_that_of_k1_can_be() -> None:
    world = random_world()
    policy_PST, reference_PST = (world.tree.log_probs(x) for x in (world.logits_PNV, world.reference_PNV))
    mask_PST = world.tree.mask_ST[None]
    assert bool((divergences.k3(policy_PST, reference_PST)[mask_PST] >= 0).all())
    assert bool((divergences.k1(policy_PST, reference_PST)[mask_PST] < 0).any())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("advantage", [RewardToGo(), EpisodeReturn()])
def test_k1_in_the_reward_has_the_gradient_of_the_sequence_kl(advantage, seed: int) -> None:
    world = random_world(seed)
    assert_equal(kl_gradient_of(KLInReward(1.0, K1()), world, advantage), gradient(kl, world))


@pytest.mark.parametrize("seed", SEEDS)
def test_k1_in_the_loss_has_no_gradient_at_all(seed: int) -> None:
    world = random_world(seed)
    assert float(kl_gradient_of(KLInLoss(1.0, K1()), world).norm()) < EXACT
    assert float(gradient(kl, world).norm()) > 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_k2_in_the_loss_is_right_for_each_token_and_ignores_the_prefixes(seed: int) -> None:
    """Exactly ∑_prefix d(prefix) ∇KL(π(·|prefix) ‖ π_ref(·|prefix)), where ∇KL also has ∇d."""
    world = random_world(seed)
    found = kl_gradient_of(KLInLoss(1.0, K2()), world)
    assert_equal(found, gradient(kl_by_prefix, world))
    assert compare(found, gradient(kl, world)).relative_error > 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_k3_in_the_loss_is_the_gradient_of_the_other_kl_for_each_token(seed: int) -> None:
    """Exactly ∑_prefix d(prefix) ∇KL(π_ref(·|prefix) ‖ π(·|prefix)): the wrong way round, and without ∇d."""
    world = random_world(seed)

    def reverse_by_prefix(world: World, logits_PNV: Tensor) -> Tensor:
        return kl_by_prefix(world, logits_PNV, reverse=True)

    found = kl_gradient_of(KLInLoss(1.0, K3()), world)
    assert_equal(found, gradient(reverse_by_prefix, world))
    assert compare(found, gradient(kl, world)).relative_error > 0.2


def test_for_one_token_k2_in_the_loss_is_exact_and_k3_is_not() -> None:
    world = random_world(0, tree=Tree(4, 1))
    assert_equal(kl_gradient_of(KLInLoss(1.0, K2()), world), gradient(kl, world))
    assert compare(kl_gradient_of(KLInLoss(1.0, K3()), world), gradient(kl, world)).relative_error > 0.1


@pytest.mark.parametrize("estimator", [K2(), K3()])
@pytest.mark.parametrize("seed", SEEDS)
def test_k2_and_k3_in_the_reward_lack_the_estimators_own_gradient(seed: int, estimator: Estimator) -> None:
    """∇E[k] = E[k ∇log π] + E[∇k]: a reward is a constant, so the second term, k-in-loss's gradient, is missing."""
    world = random_world(seed)
    policy = REINFORCE.changed(reference_kl=KLInReward(1.0, estimator))
    in_reward = -expected_gradient(policy, without_rewards(world), 1)
    in_loss = kl_gradient_of(KLInLoss(1.0, estimator), world)
    formula = divergences.k2 if isinstance(estimator, K2) else divergences.k3
    reference_PST = world.tree.log_probs(world.reference_PNV)

    def value(world: World, logits_PNV: Tensor) -> Tensor:
        log_probs_PST = torch.where(world.tree.mask_ST, world.tree.log_probs(logits_PNV), 0.0)
        values_PST = formula(log_probs_PST, torch.where(world.tree.mask_ST, reference_PST, 0.0))
        return expected(world, values_PST.sum(-1), logits_PNV)

    assert_equal(in_reward + in_loss, gradient(value, world))
    assert compare(in_reward, gradient(kl, world)).relative_error > 0.2


@pytest.mark.parametrize(("rewards", "beta"), [("dense", 0.03), ("final", 1.0), ("binary", 0.3)])
@pytest.mark.parametrize(
    ("method", "samples"),
    [(REINFORCE, 1), (REINFORCE.changed(advantage=EpisodeReturn()), 1), (REINFORCE_BASELINE, 2), (RLOO, 2), (RLOO, 3)],
)
def test_methods_with_k1_in_the_reward_climb_the_regularised_return(
    method: PolicyGradient, samples: int, rewards: str, beta: float
) -> None:
    world = random_world(6, rewards=rewards, tree=Tree(3, 3 if samples < 3 else 2))

    def regularised(world: World, logits_PNV: Tensor) -> Tensor:
        return expected_return(world, logits_PNV) - beta * kl(world, logits_PNV)

    found = expected_gradient(method.changed(reference_kl=KLInReward(beta, K1())), world, samples)
    assert_equal(found, gradient(regularised, world))


def test_rloo_as_it_is_defined_climbs_the_regularised_return() -> None:
    world = random_world(6, rewards="final")
    part = RLOO.reference_kl
    assert isinstance(part, KLInReward)

    def regularised(world: World, logits_PNV: Tensor) -> Tensor:
        return expected_return(world, logits_PNV) - part.coefficient * kl(world, logits_PNV)

    assert_equal(expected_gradient(RLOO, world, 2), gradient(regularised, world))


def test_a_kl_of_the_wrong_sign_is_caught() -> None:
    """Negative control: the penalty as a bonus, which a test of the gradient's size would not see."""
    world = random_world(0)
    found = compare(kl_gradient_of(KLInReward(-1.0, K1()), world), gradient(kl, world))
    assert found.cosine == pytest.approx(-1) and found.relative_error == pytest.approx(2)


def test_a_kl_in_the_wrong_direction_is_caught() -> None:
    """Negative control: reference and policy exchanged, whose value is an estimate of minus the KL."""
    world = random_world(0)
    exchanged = mean_value(world, lambda policy, reference: divergences.k1(reference, policy))
    assert exchanged == pytest.approx(-float(kl(world)), abs=1e-12)
    other = mean_value(world, lambda policy, reference: divergences.k3(reference, policy))
    assert abs(other / float(kl(world)) - 1) > 0.05
