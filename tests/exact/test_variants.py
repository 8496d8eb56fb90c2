"""What the later kin climb: a teacher's KL, rewards by step, leave-one-out deviations, tokens chosen by covariance."""

from __future__ import annotations

import itertools

import pytest
import torch
from enumeration import kl_by_prefix
from torch import Tensor

from rung.batch import Batch
from rung.lab.referee.closed_forms import without_rewards
from rung.lab.referee.estimates import compare, expected_gradient
from rung.lab.referee.world import Tree, World, expected_return, gradient, kl, random_world
from rung.methods import METHODS
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import (
    EpisodeReturn,
    GroupNormalized,
    NormalizedByOthers,
    OthersInGroup,
    ProcessNormalized,
    TeacherLogRatio,
)
from rung.methods.parts.aggregations import PerEpisode
from rung.methods.parts.chosen_tokens import ClipCov, KLCov
from rung.methods.parts.objectives import ClippedSurrogate, ScoreFunction, Surrogate, WithinProbability
from rung.methods.parts.reference_kl import K1, KLInAdvantage, KLInReward
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.reinforce import REINFORCE, RLOO

EXACT = 1e-9
PLAIN = GRPO.changed(name="plain", reference_kl=None, aggregation=PerEpisode())


def assert_multiple(found: Tensor, true: Tensor, factor: float = 1.0) -> None:
    assert float((found - factor * true).norm()) < EXACT * float(true.norm()), compare(found, true)


# --- distillation -------------------------------------------------------------------------------------------------


def taught_by_the_reference(batch: Batch) -> Batch:
    return batch.changed(teacher_log_probs_BT=batch.reference_log_probs_BT)


@pytest.mark.parametrize("seed", range(4))
def test_distillation_climbs_each_tokens_own_kl_to_the_teacher(seed: int) -> None:
    """-∇ of the per-token KL(π ‖ teacher) with the prefixes held still: discount 0. Rewards do not enter."""
    world = random_world(seed)
    method = METHODS["distillation"].changed(aggregation=PerEpisode())
    found = expected_gradient(method, world, 1, seen_as=taught_by_the_reference)
    assert_multiple(found, gradient(kl_by_prefix, world), -1.0)
    assert_multiple(expected_gradient(method, without_rewards(world), 1, seen_as=taught_by_the_reference), found)


def test_which_is_not_the_sequences_kl() -> None:
    """The stated bias of discount 0: a token answers for its own KL, not for the prefixes that it leads to."""
    for seed in range(4):
        world = random_world(seed)
        stated = compare(gradient(kl_by_prefix, world), gradient(kl, world))
        assert stated.off_direction > 0.05
    whole = REINFORCE.changed(reference_kl=KLInReward(1.0, K1()))  # the exact one: the same reward, discount 1
    assert_multiple(expected_gradient(whole, without_rewards(world), 1), gradient(kl, world), -1.0)


def test_a_teacher_of_the_wrong_sign_is_caught() -> None:
    def exchanged(batch: Batch) -> Batch:
        assert batch.old_log_probs_BT is not None and batch.reference_log_probs_BT is not None
        return batch.changed(teacher_log_probs_BT=2 * batch.old_log_probs_BT - batch.reference_log_probs_BT)

    world = random_world(0)
    method = METHODS["distillation"].changed(aggregation=PerEpisode())
    found = compare(expected_gradient(method, world, 1, seen_as=exchanged), gradient(kl_by_prefix, world))
    assert found.cosine == pytest.approx(1.0)


def test_the_student_that_is_its_teacher_learns_nothing() -> None:
    world = random_world(0)
    method = REINFORCE.changed(advantage=TeacherLogRatio())
    found = expected_gradient(method, world, 1, seen_as=lambda b: b.changed(teacher_log_probs_BT=b.old_log_probs_BT))
    assert float(found.norm()) < EXACT


# --- process supervision ------------------------------------------------------------------------------------------


def every_token_is_a_step(batch: Batch) -> Batch:
    return batch.changed(step_ends_BT=batch.action_mask_BT.clone())


@pytest.mark.parametrize("samples", [2, 3])
def test_with_one_step_an_answer_process_supervision_is_grpo(samples: int) -> None:
    world = random_world(1, rewards="final", tree=Tree(3, 2))
    process = expected_gradient(PLAIN.changed(advantage=ProcessNormalized()), world, samples)
    assert_multiple(process, expected_gradient(PLAIN.changed(advantage=GroupNormalized()), world, samples))


def test_process_supervision_does_not_see_how_many_steps_there_are() -> None:
    """Its stated bias. A reward of 1 a step is a return of the answer's length; all step rewards are equal, and
    nothing is learnt. And where they differ, what is climbed is not the return."""
    world = random_world(2)
    ones = World(
        world.tree, world.logits_PNV, world.reference_PNV, torch.where(world.tree.mask_ST, 1.0, torch.nan)[None]
    )
    method = PLAIN.changed(advantage=ProcessNormalized(epsilon=0.0))
    assert float(expected_gradient(method, ones, 2, seen_as=every_token_is_a_step).norm()) < EXACT
    assert float(gradient(expected_return, ones).norm()) > 0.05
    found = expected_gradient(method, world, 2, seen_as=every_token_is_a_step)
    assert compare(found, gradient(expected_return, world)).off_direction > 0.05


def test_shifting_or_scaling_all_step_rewards_changes_nothing() -> None:
    world = random_world(3)
    method = PLAIN.changed(advantage=ProcessNormalized(epsilon=0.0))
    found = expected_gradient(method, world, 2, seen_as=every_token_is_a_step)

    def moved(batch: Batch) -> Batch:
        return every_token_is_a_step(batch.changed(rewards_BT=3 * batch.rewards_BT - 7))

    assert_multiple(expected_gradient(method, world, 2, seen_as=moved), found)


# --- the presets' own parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rewards", ["final", "binary"])
def test_a_deviation_that_leaves_the_sample_out_keeps_the_direction(rewards: str) -> None:
    """E[1/s] ∇E[R] with s the deviation of the others, for any rewards: s does not depend on the sample itself.

    GRPO's own deviation has no such property (test_policy_gradients).
    """
    world = random_world(1, rewards=rewards, tree=Tree(3, 2))
    returns_S, probs_S = world.returns_PS()[0], world.probs_PS()[0]
    factor = 0.0
    for a, b in itertools.product(range(len(probs_S)), repeat=2):
        pair = returns_S[[a, b]]
        scale = 1.0 if pair[0] == pair[1] else 1 / (float(pair.std(correction=1)) + 1e-6)
        factor += float(probs_S[a] * probs_S[b]) * scale
    found = expected_gradient(PLAIN.changed(advantage=NormalizedByOthers()), world, 3)
    assert_multiple(found, gradient(expected_return, world), factor)


def test_a_kl_taken_off_the_advantage_has_the_gradient_of_the_sequence_kl() -> None:
    world = random_world(6, rewards="final")
    method = RLOO.changed(reference_kl=KLInAdvantage(0.3, K1()), advantage=EpisodeReturn(baseline=OthersInGroup()))

    def regularised(world: World, logits_PNV: Tensor) -> Tensor:
        return expected_return(world, logits_PNV) - 0.3 * kl(world, logits_PNV)

    assert_multiple(expected_gradient(method, world, 2), gradient(regularised, world))


def test_a_bound_on_the_probability_does_nothing_on_fresh_samples() -> None:
    world = random_world(0)
    fresh = REINFORCE.changed(objective=WithinProbability())
    assert_multiple(expected_gradient(fresh, world, 1), gradient(expected_return, world))


# --- tokens chosen by covariance ----------------------------------------------------------------------------------


def with_objective(objective) -> PolicyGradient:
    return REINFORCE.changed(objective=objective, advantage=EpisodeReturn())


def test_clip_cov_without_candidates_and_kl_cov_on_fresh_samples_are_unbiased() -> None:
    """|log ρ| is 0 and has no slope where ρ = 1: on the first update KL-Cov is the plain surrogate."""
    world = random_world(0)
    for objective in (
        ClipCov(above=1e6, below=2e6),
        KLCov(share=0.5),
        Surrogate(),
        ScoreFunction(),
        ClippedSurrogate(),
    ):
        assert_multiple(expected_gradient(with_objective(objective), world, 2), gradient(expected_return, world))


def test_clip_covs_stated_bias_is_what_the_chosen_tokens_would_have_taught() -> None:
    world = random_world(0)
    true = gradient(expected_return, world)
    few, many = (
        compare(expected_gradient(with_objective(ClipCov(share=share, above=0.0, below=50.0)), world, 2), true)
        for share in (0.01, 1.0)
    )
    assert 0.01 < few.relative_error < many.relative_error
