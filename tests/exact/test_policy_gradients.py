"""The expected gradient of every method against the true gradient of what it says it climbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.advantages import group_size, group_sum
from rung.lab.referee.closed_forms import constant
from rung.lab.referee.estimates import compare, expected_gradient
from rung.lab.referee.world import END, Tree, World, expected, expected_return, gradient, random_world
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import (
    EpisodeReturn,
    GroupCentred,
    GroupNormalized,
    OthersInBatch,
    OthersInGroup,
    RewardToGo,
)
from rung.methods.parts.aggregations import PerConstantLength, PerEpisode, PerPrompt, PerSequence, PerToken
from rung.methods.parts.objectives import ClippedSurrogate
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.reinforce import REINFORCE, REINFORCE_BASELINE, RLOO

EXACT = 1e-9
RLOO_ALONE = RLOO.changed(name="rloo without KL", reference_kl=None)
CENTRED = RLOO_ALONE.changed(name="group centred", advantage=GroupCentred())
NORMALIZED = GRPO.changed(
    name="group normalized", reference_kl=None, advantage=GroupNormalized(epsilon=0.0), aggregation=PerEpisode()
)


def true_gradient(world: World) -> Tensor:
    return gradient(expected_return, world)


def assert_multiple(found: Tensor, true: Tensor, factor: float) -> None:
    """found = factor · true, to 1e-9 of its size."""
    assert float((found - factor * true).norm()) < EXACT * float(true.norm()), compare(found, true)


@pytest.mark.parametrize(("rewards", "seed"), [("dense", 0), ("final", 1), ("binary", 2)])
@pytest.mark.parametrize(
    ("method", "samples"),
    [
        (REINFORCE, 1),
        (REINFORCE, 2),
        (REINFORCE.changed(advantage=EpisodeReturn()), 1),
        (REINFORCE.changed(objective=ClippedSurrogate()), 2),
        (REINFORCE_BASELINE, 2),
        (REINFORCE_BASELINE, 3),
        (REINFORCE.changed(advantage=EpisodeReturn(baseline=OthersInBatch())), 2),
        (REINFORCE.changed(advantage=RewardToGo(baseline=OthersInGroup())), 3),
        (RLOO_ALONE, 2),
        (RLOO_ALONE, 3),
    ],
)
def test_unbiased_methods_have_the_true_gradient(method: PolicyGradient, samples: int, rewards: str, seed: int) -> None:
    world = random_world(seed, rewards=rewards, tree=Tree(3, 3 if samples < 3 else 2))
    assert_multiple(expected_gradient(method, world, samples), true_gradient(world), 1.0)


def test_a_baseline_from_other_prompts_is_as_unbiased() -> None:
    world = random_world(4, prompts=2)
    assert_multiple(expected_gradient(REINFORCE_BASELINE, world, 1), true_gradient(world), 1.0)


def test_groups_of_several_prompts_do_not_mix() -> None:
    world = random_world(5, prompts=2, tree=Tree(2, 3), rewards="final")
    assert_multiple(expected_gradient(RLOO_ALONE, world, 2), true_gradient(world), 1.0)
    assert_multiple(expected_gradient(CENTRED, world, 2), true_gradient(world), 0.5)


def test_a_batch_of_one_has_nothing_to_be_compared_with() -> None:
    world = random_world()
    assert float(expected_gradient(REINFORCE_BASELINE, world, 1).norm()) < EXACT


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_group_centring_shrinks_the_gradient_by_its_own_share(samples: int) -> None:
    world = random_world(1, rewards="final", tree=Tree(3, 2))
    assert_multiple(expected_gradient(CENTRED, world, samples), true_gradient(world), (samples - 1) / samples)


@pytest.mark.parametrize("samples", [2, 3, 4])
@pytest.mark.parametrize("seed", [2, 5, 9])
def test_grpo_with_right_or_wrong_rewards_is_a_multiple_of_the_gradient(seed: int, samples: int) -> None:
    world = random_world(seed, rewards="binary", tree=Tree(3, 2))
    p = float(expected_return(world))
    assert 0.05 < p < 0.95
    factor = {2: 1.0, 3: 2**0.5, 4: 3**0.5 + (3 - 2 * 3**0.5) * p * (1 - p)}[samples]
    assert constant(p, samples) == pytest.approx(factor, abs=1e-12)
    assert_multiple(expected_gradient(NORMALIZED, world, samples), true_gradient(world), factor)


@pytest.mark.parametrize("samples", [2, 3])
def test_the_sample_deviation_shrinks_grpo_by_a_known_factor(samples: int) -> None:
    world = random_world(2, rewards="binary", tree=Tree(3, 2))
    method = NORMALIZED.changed(advantage=GroupNormalized(epsilon=0.0, ddof=1))
    factor = constant(0.5, samples) * ((samples - 1) / samples) ** 0.5
    assert_multiple(expected_gradient(method, world, samples), true_gradient(world), factor)


def test_grpo_epsilon_shrinks_the_gradient_by_a_known_factor() -> None:
    world = random_world(0, rewards="binary")
    for epsilon in (1e-6, 0.1):
        method = NORMALIZED.changed(advantage=GroupNormalized(epsilon=epsilon))
        factor = 0.5 / (0.5 + epsilon)  # at G = 2 a group that differs has the deviation 1/2
        assert_multiple(expected_gradient(method, world, 2), true_gradient(world), factor)


def test_from_four_samples_grpo_weighs_prompts_by_their_difficulty() -> None:
    world = random_world(9, prompts=2, rewards="binary", tree=Tree(2, 2))
    p_P = (world.probs_PS() * world.returns_PS()).sum(-1).tolist()
    assert abs(p_P[0] * (1 - p_P[0]) - p_P[1] * (1 - p_P[1])) > 0.05
    true_PNV = true_gradient(world)
    for samples in (2, 3, 4):
        found_PNV = expected_gradient(NORMALIZED, world, samples)
        for prompt in range(2):
            assert_multiple(found_PNV[prompt], true_PNV[prompt], constant(p_P[prompt], samples))
        assert (compare(found_PNV, true_PNV).off_direction > 1e-3) == (samples == 4)


def test_grpo_with_other_rewards_climbs_something_else() -> None:
    """With two samples every advantage is ±1: what is climbed is E[sign(R - R')], the chance to win, not the return."""
    world = random_world(0, rewards="final")
    returns_S = world.returns_PS()[0]
    wins_S = (world.probs_PS()[0] * (returns_S[:, None] - returns_S[None]).sign()).sum(1)

    def chance_to_win(world: World, logits_PNV: Tensor) -> Tensor:
        return expected(world, wins_S[None], logits_PNV)

    found = expected_gradient(NORMALIZED, world, 2)
    assert_multiple(found, gradient(chance_to_win, world), 1.0)
    assert compare(found, true_gradient(world)).off_direction > 0.1


@pytest.mark.parametrize(("method", "factor"), [(RLOO_ALONE, 1.0), (CENTRED, 0.5), (NORMALIZED, 1.0)])
def test_equal_lengths_make_every_aggregation_a_multiple_of_the_gradient(method, factor: float) -> None:
    world = random_world(0, rewards="binary", tree=Tree(3, 1))
    for aggregation in (PerSequence(), PerToken(), PerEpisode(), PerPrompt(), PerConstantLength(length=1)):
        found = expected_gradient(method.changed(aggregation=aggregation), world, 2)
        assert_multiple(found, true_gradient(world), factor)


@pytest.mark.parametrize("samples", [2, 3])
def test_the_mean_per_sequence_climbs_the_return_per_token(samples: int) -> None:
    """1/|o_i| makes a leave-one-out method climb E[(R - J)/|o|] with J held still, and not E[R]: exactly so."""
    world = random_world(0, rewards="final", tree=Tree(3, 3 if samples == 2 else 2))
    mean = float(expected_return(world))

    def return_per_token(world: World, logits_PNV: Tensor) -> Tensor:
        return expected(world, (world.returns_PS() - mean) / world.tree.lengths_S, logits_PNV)

    found = expected_gradient(RLOO_ALONE.changed(aggregation=PerSequence()), world, samples)
    assert_multiple(found, gradient(return_per_token, world), 1.0)
    off = compare(found, true_gradient(world))
    assert off.cosine < 0.99 and off.off_direction > 0.05
    centred = expected_gradient(CENTRED.changed(aggregation=PerSequence()), world, samples)
    assert_multiple(centred, gradient(return_per_token, world), (samples - 1) / samples)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_grpo_with_the_mean_per_sequence_climbs_a_multiple_of_the_return_per_token(samples: int) -> None:
    """With rewards 0 and 1, GRPO as it is defined but for ε and KL: c(p, G) ∇E[(R - p)/|o|], p held still."""
    world = random_world(2, rewards="binary", tree=Tree(3, 2))
    p = float(expected_return(world))

    def return_per_token(world: World, logits_PNV: Tensor) -> Tensor:
        return expected(world, (world.returns_PS() - p) / world.tree.lengths_S, logits_PNV)

    method = GRPO.changed(reference_kl=None, advantage=GroupNormalized(epsilon=0.0))
    found = expected_gradient(method, world, samples)
    assert_multiple(found, gradient(return_per_token, world), constant(p, samples))
    assert compare(found, true_gradient(world)).off_direction > 0.05


def test_a_constant_length_only_scales_the_gradient() -> None:
    world = random_world(0, rewards="final")
    found = expected_gradient(RLOO_ALONE.changed(aggregation=PerConstantLength(length=8)), world, 2)
    assert_multiple(found, true_gradient(world), 1 / 8)


def test_the_mean_per_token_is_biased_where_lengths_differ() -> None:
    world = random_world(0, rewards="final")
    for aggregation in (PerToken(), PerPrompt()):  # one prompt a batch: the two are the same
        found = expected_gradient(RLOO_ALONE.changed(aggregation=aggregation), world, 2)
        assert compare(found, true_gradient(world)).off_direction > 0.01


# --- negative controls: what is wrong must be seen to be wrong ----------------------------------------------------


@dataclass(frozen=True)
class MeanWithItself:
    """The group's mean, the sample's own return included: RLOO gone wrong."""

    formula: ClassVar[str] = "mean_j R_j"
    needs_group: ClassVar[bool] = True

    def __call__(self, returns_B: Tensor, batch: Batch) -> Tensor:
        counted_B = batch.counted_B()
        total_B = group_sum(returns_B, batch.group_ids_B, counted_B)
        return total_B / group_size(batch.group_ids_B, counted_B).clamp(min=1)


def test_a_baseline_that_includes_the_sample_itself_is_caught() -> None:
    world = random_world(0, rewards="final")
    wrong = RLOO_ALONE.changed(advantage=EpisodeReturn(baseline=MeanWithItself()))  # type: ignore[arg-type]
    found = compare(expected_gradient(wrong, world, 2), true_gradient(world))
    assert found.relative_error == pytest.approx(0.5, abs=1e-9)


@dataclass(frozen=True)
class OwnLength:
    """A baseline that looks at the sample's own actions (their number)."""

    formula: ClassVar[str] = "|o_i|"
    needs_group: ClassVar[bool] = False

    def __call__(self, returns_B: Tensor, batch: Batch) -> Tensor:
        return batch.action_mask_BT.sum(1).double()


def test_a_baseline_that_depends_on_the_action_is_caught() -> None:
    world = random_world(0, rewards="final")
    wrong = REINFORCE.changed(advantage=EpisodeReturn(baseline=OwnLength()))  # type: ignore[arg-type]
    assert compare(expected_gradient(wrong, world, 1), true_gradient(world)).relative_error > 0.1


def test_an_end_token_left_out_of_the_mask_is_caught() -> None:
    """pad == eos, masked away with the padding: the policy is never told that it stopped."""

    def without_end(batch: Batch) -> Batch:
        mask_BT = batch.action_mask_BT & (batch.actions_BT != END)
        last_BT = mask_BT & ~mask_BT.roll(-1, 1)
        returns_B = batch.returns_B()
        rewards_BT = torch.where(last_BT, returns_B[:, None], 0.0)
        return batch.changed(action_mask_BT=mask_BT, rewards_BT=rewards_BT, cut_BT=torch.zeros_like(mask_BT))

    world = random_world(0, rewards="final")
    as_it_is = expected_gradient(REINFORCE, world, 1)
    found = expected_gradient(REINFORCE, world, 1, seen_as=without_end)
    assert_multiple(as_it_is, true_gradient(world), 1.0)
    assert compare(found, true_gradient(world)).relative_error > 0.1


def test_rewards_shifted_by_one_step_are_caught() -> None:
    def late(batch: Batch) -> Batch:
        rewards_BT = torch.where(batch.action_mask_BT, batch.rewards_BT, 0.0)
        return batch.changed(rewards_BT=rewards_BT.roll(-1, 1))

    world = random_world(0, rewards="dense")
    found = expected_gradient(REINFORCE, world, 1, seen_as=late)
    assert compare(found, true_gradient(world)).relative_error > 0.1
