"""What the later advantages climb: pass@k exactly, others with a bias of a known form."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from test_policy_gradients import assert_multiple
from torch import Tensor

from rung.batch import Batch
from rung.lab.referee.closed_forms import constant
from rung.lab.referee.estimates import all_batches, compare, expected_gradient
from rung.lab.referee.world import Tree, World, expected, expected_return, gradient, random_world
from rung.methods.parts.advantages import (
    EachNormalized,
    EpisodeReturn,
    GroupCentred,
    GroupCentredOverMixed,
    LengthWeightedMean,
    PassAtK,
)
from rung.methods.parts.imitation import RightAnswersToo
from rung.methods.reinforce import REINFORCE

PLAIN = REINFORCE.changed(name="plain", advantage=EpisodeReturn())
SMALL = Tree(3, 2)


def pass_at(k: int):
    """1 - (1 - p)^k, the chance that one of k independent answers is right."""

    def chance(world: World, logits_PNV: Tensor) -> Tensor:
        return 1 - (1 - expected_return(world, logits_PNV)) ** k

    return chance


@pytest.mark.parametrize(("k", "samples"), [(1, 2), (1, 3), (2, 3), (2, 4), (3, 4)])
def test_pass_at_k_is_climbed_by_a_known_share(k: int, samples: int) -> None:
    """(1/k - 1/G) ∇pass@k: an answer is in 1/k of what its sets pass by, and its own sets are in the mean."""
    world = random_world(2, rewards="binary", tree=SMALL)
    method = PLAIN.changed(advantage=PassAtK(k=k, normalize=False))
    found = expected_gradient(method, world, samples)
    assert_multiple(found, gradient(pass_at(k), world), 1 / k - 1 / samples)


def test_with_k_of_1_the_deviation_makes_it_grpo() -> None:
    world = random_world(2, rewards="binary", tree=SMALL)
    p = float(expected_return(world))
    for samples in (2, 3, 4):
        found = expected_gradient(PLAIN.changed(advantage=PassAtK(k=1)), world, samples)
        assert_multiple(found, gradient(expected_return, world), constant(p, samples))


def test_a_prompt_that_is_seldom_solved_weighs_more_under_pass_at_k() -> None:
    """k (1-p)^(k-1) of ∇p: the hard prompt's share of the step grows."""
    world = random_world(9, prompts=2, rewards="binary", tree=Tree(2, 2))
    p_P = (world.probs_PS() * world.returns_PS()).sum(-1)
    found_PNV = expected_gradient(PLAIN.changed(advantage=PassAtK(k=2, normalize=False)), world, 3)
    true_PNV = gradient(expected_return, world)
    for prompt in range(2):
        assert_multiple(found_PNV[prompt], true_PNV[prompt], (1 / 2 - 1 / 3) * 2 * (1 - float(p_P[prompt])))


@pytest.mark.parametrize("samples", [2, 3])
def test_a_baseline_weighed_by_length_shrinks_the_gradient_where_lengths_are_equal(samples: int) -> None:
    world = random_world(1, rewards="final", tree=Tree(3, 1))
    found = expected_gradient(PLAIN.changed(advantage=EpisodeReturn(LengthWeightedMean())), world, samples)
    assert_multiple(found, gradient(expected_return, world), (samples - 1) / samples)


def test_and_leans_where_they_are_not() -> None:
    """By hand, over pairs: E[(R - b) ∇log π], b = (|o| R + |o'| R')/(|o| + |o'|)."""
    world = random_world(1, rewards="final")
    probs_S, returns_S, lengths_S = world.probs_PS()[0], world.returns_PS()[0], world.tree.lengths_S.double()
    top_SS = lengths_S[:, None] * returns_S[:, None] + lengths_S * returns_S
    baseline_SS = top_SS / (lengths_S[:, None] + lengths_S)
    advantage_S = returns_S - (probs_S * baseline_SS).sum(1)

    def climbed(world: World, logits_PNV: Tensor) -> Tensor:
        return expected(world, advantage_S[None], logits_PNV)

    found = expected_gradient(PLAIN.changed(advantage=EpisodeReturn(LengthWeightedMean())), world, 2)
    assert_multiple(found, gradient(climbed, world), 1.0)
    assert compare(found, gradient(expected_return, world)).off_direction > 0.01


def test_of_one_prompt_making_up_for_alike_ones_is_centring() -> None:
    world = random_world(2, rewards="binary", tree=SMALL)
    found = expected_gradient(PLAIN.changed(advantage=GroupCentredOverMixed()), world, 3)
    assert_multiple(found, gradient(expected_return, world), 2 / 3)


def test_of_two_prompts_each_keeps_its_direction_and_steps_longer_when_the_other_is_alike() -> None:
    """Of pairs, (1/2) (1 + P(the other's pair is alike)) times the true gradient of each prompt."""
    world = random_world(9, prompts=2, rewards="binary", tree=Tree(2, 2))
    p_P = (world.probs_PS() * world.returns_PS()).sum(-1)
    found_PNV = expected_gradient(PLAIN.changed(advantage=GroupCentredOverMixed()), world, 2)
    true_PNV = gradient(expected_return, world)
    for prompt, other in ((0, 1), (1, 0)):
        alike = float(p_P[other] ** 2 + (1 - p_P[other]) ** 2)
        assert_multiple(found_PNV[prompt], true_PNV[prompt], 0.5 * (1 + alike))
    plain_PNV = expected_gradient(PLAIN.changed(advantage=GroupCentred()), world, 2)
    assert_multiple(plain_PNV, true_PNV, 0.5)


def two_rewards(world: World, weights: dict[str, float]):
    """A batch whose answers were judged twice: whether they end with each of two tokens, 0 or 1."""
    last_S = torch.tensor([sequence[-1] for sequence in world.tree.sequences])
    first_S, long_S = (last_S == 1).double(), (world.tree.lengths_S > 1).double()

    def seen_as(batch: Batch) -> Batch:
        return batch.changed(reward_parts={"first": first_S, "long": long_S}, reward_weights=weights)

    return seen_as, {"first": first_S, "long": long_S}


def test_each_reward_apart_climbs_the_sum_of_what_grpo_climbs_of_each() -> None:
    """w_1 c(p_1) ∇p_1 + w_2 c(p_2) ∇p_2: a multiple of each reward's own gradient, exactly; not the weighted sum's."""
    world, weights = random_world(4, rewards="final", tree=SMALL), {"first": 0.25, "long": 1.0}
    seen_as, parts = two_rewards(world, weights)
    found = expected_gradient(PLAIN.changed(advantage=EachNormalized(epsilon=0.0)), world, 4, seen_as=seen_as)
    wanted, summed = torch.zeros_like(found), torch.zeros_like(found)
    for name, part_S in parts.items():
        own = gradient(lambda here, logits_PNV, part_S=part_S: expected(here, part_S[None], logits_PNV), world)
        p = float((world.probs_PS()[0] * part_S).sum())
        wanted += weights[name] * constant(p, 4) * own
        summed += weights[name] * own
    assert_multiple(found, wanted, 1.0)
    assert compare(found, summed).off_direction > 0.01


def test_a_reward_that_did_not_apply_is_left_out() -> None:
    """NaN in one reward: the answer is compared by the others, and no NaN is climbed."""
    world = random_world(3, rewards="final", tree=SMALL)
    seen_as, parts = two_rewards(world, {"first": 1.0, "long": 1.0})
    holes_S = torch.where(torch.arange(len(parts["long"])) % 2 == 0, torch.nan, parts["long"])

    def with_holes(batch: Batch) -> Batch:
        return seen_as(batch).changed(reward_parts={"first": parts["first"], "long": holes_S})

    method = PLAIN.changed(advantage=EachNormalized())
    found = expected_gradient(method, world, 2, seen_as=with_holes)
    assert bool(torch.isfinite(found).all())
    assert compare(found, expected_gradient(method, world, 2, seen_as=seen_as)).relative_error > 0.01


def test_pass_at_k_by_counting_sets() -> None:
    """The closed form against every set of k, one by one."""
    from rung.formulas.advantages import pass_at_k

    right = [True, False, False, True, False, False]
    k, n = 3, len(right)
    passes = [any(right[i] for i in chosen) for chosen in itertools.combinations(range(n), k)]
    mean = sum(passes) / math.comb(n, k)
    wanted = [
        sum(p for p, chosen in zip(passes, itertools.combinations(range(n), k), strict=True) if i in chosen)
        / math.comb(n - 1, k - 1)
        - mean
        for i in range(n)
    ]
    every = torch.ones(n, dtype=torch.bool)
    found = pass_at_k(torch.tensor(right), torch.zeros(n, dtype=torch.int64), every, k, normalize=False)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))
    assert next(iter(all_batches(random_world(tree=Tree(2, 1)), 1)))


@pytest.mark.parametrize("samples", [1, 2])
def test_imitating_right_answers_climbs_their_mean_log_prob_beside_the_return(samples: int) -> None:
    """E[μ ∑_right ∑_t ∇log π / ∑_right |o|], by hand over all batches: a mean over the right answers' tokens of an
    update, so that one right answer among wrong ones weighs as much as many. It is another gradient: a bias."""
    world = random_world(3, rewards="binary")
    logits_PNV = world.logits_PNV.clone().requires_grad_()
    log_S = world.log_probs_PS(logits_PNV)[0]
    right_S, lengths_S = world.returns_PS()[0] >= 1, world.tree.lengths_S
    total = torch.zeros((), dtype=torch.float64)
    for probability, rows in all_batches(world, samples):
        right = [row for row in rows if bool(right_S[row])]
        if right:
            total = total + probability * 0.3 * log_S[right].sum() / sum(int(lengths_S[row]) for row in right)
    (imitated,) = torch.autograd.grad(total, logits_PNV)
    found = expected_gradient(PLAIN.changed(imitation=RightAnswersToo(weight=0.3)), world, samples)
    assert_multiple(found - gradient(expected_return, world), imitated, 1.0)
    assert compare(imitated, gradient(expected_return, world)).off_direction > 0.05
