"""Distillation over the whole vocabulary: the expectation of the drawn token's gradient, with less noise."""

from __future__ import annotations

import math

import pytest
import torch
from enumeration import kl_by_prefix
from test_policy_gradients import assert_multiple
from torch import Tensor

from rung.batch import Batch
from rung.lab.referee.estimates import compare, every_row, expected_gradient
from rung.lab.referee.world import NAN, World, gradient, random_world
from rung.methods import METHODS
from rung.methods.parts.aggregations import PerEpisode
from rung.methods.parts.distillation import ForwardKL, GeneralisedJSD, ReverseKL, ToTeacher
from rung.methods.policy_gradient import PolicyGradient


def of_sequences(method: PolicyGradient, world: World, logits_PNV: Tensor) -> Tensor:
    """[S] the method's loss of each sequence by itself, the world's reference being its teacher."""
    objective = method.objective
    assert isinstance(objective, ToTeacher)
    own_NV, teacher_NV = logits_PNV[0].log_softmax(-1), world.reference_PNV[0].log_softmax(-1)
    divergence_N = objective.to_teacher(own_NV, teacher_NV)
    log_probs_PST = world.tree.log_probs(logits_PNV)
    everything = every_row(world, log_probs_PST, world.tree.log_probs(world.reference_PNV))
    divergence_BT = torch.where(world.tree.mask_ST, divergence_N[world.tree.prefix_ST], NAN)
    batch = method.with_advantages(everything.changed(divergence_BT=divergence_BT))
    weights_BT = method.weights(batch, lambda count: count) * len(batch)
    return (weights_BT * method.losses(batch, log_probs_PST.flatten(0, 1))).sum(1)


def climbed(method: PolicyGradient, world: World) -> Tensor:
    """E[-∇loss] over the student's own sequences, held still."""
    probs_S = world.probs_PS()[0]
    return gradient(lambda here, logits_PNV: -(probs_S * of_sequences(method, here, logits_PNV)).sum(), world)


WHOLE = METHODS["distillation_whole"].changed(aggregation=PerEpisode())
assert isinstance(WHOLE, PolicyGradient)
SAMPLED = METHODS["distillation"].changed(aggregation=PerEpisode())
assert isinstance(SAMPLED, PolicyGradient)


@pytest.mark.parametrize("seed", range(3))
def test_the_whole_distribution_has_the_drawn_tokens_expected_gradient(seed: int) -> None:
    world = random_world(seed)
    found = climbed(WHOLE, world)
    assert_multiple(found, gradient(kl_by_prefix, world), -1.0)

    def taught(batch: Batch) -> Batch:
        return batch.changed(teacher_log_probs_BT=batch.reference_log_probs_BT)

    assert_multiple(found, expected_gradient(SAMPLED, world, 1, seen_as=taught), 1.0)


def spread(gradients_SD: Tensor, probs_S: Tensor) -> float:
    """The variance of a gradient over single sequences, summed over its numbers."""
    mean_D = (probs_S[:, None] * gradients_SD).sum(0)
    return float((probs_S[:, None] * (gradients_SD - mean_D).square()).sum())


def test_and_less_noise() -> None:
    """The variance that is left is that of which prefixes a sequence passes through."""
    world = random_world(1)
    tree, probs_S, logits_PNV = world.tree, world.probs_PS()[0], world.logits_PNV.clone().requires_grad_()
    losses_S = of_sequences(WHOLE, world, logits_PNV)
    log_ST = torch.where(tree.mask_ST, tree.log_probs(logits_PNV)[0], 0.0)
    ratio_ST = torch.where(tree.mask_ST, tree.log_probs(world.reference_PNV)[0], 0.0) - log_ST.detach()
    drawn_S = -(ratio_ST * log_ST).sum(1)

    def each(values_S: Tensor) -> Tensor:
        rows = [torch.autograd.grad(value, logits_PNV, retain_graph=True)[0].flatten() for value in values_S]
        return torch.stack(rows)

    assert spread(each(losses_S), probs_S) < 0.5 * spread(each(drawn_S), probs_S)


def test_the_forward_kl_draws_to_the_teacher_from_the_other_side() -> None:
    world = random_world(0)
    found = climbed(WHOLE.changed(objective=ToTeacher(ForwardKL())), world)

    def reverse(here: World, logits_PNV: Tensor) -> Tensor:
        return kl_by_prefix(here, logits_PNV, reverse=True)

    assert_multiple(found, gradient(reverse, world), -1.0)
    assert compare(found, climbed(WHOLE, world)).cosine < 0.99


@pytest.mark.parametrize(("beta", "limit"), [(1e-6, ForwardKL()), (1 - 1e-6, ReverseKL())])
def test_the_generalised_divergence_ends_at_the_two_kls(beta: float, limit) -> None:
    """Over β, and over 1-β, in the limit; between them it is another one, at most log 2 a token at a half."""
    world = random_world(0)
    found = climbed(WHOLE.changed(objective=ToTeacher(GeneralisedJSD(beta))), world) / min(beta, 1 - beta)
    ends = climbed(WHOLE.changed(objective=ToTeacher(limit)), world)
    assert compare(found, ends).relative_error < 1e-4
    half = GeneralisedJSD(0.5)
    rows = world.logits_PNV[0].log_softmax(-1), world.reference_PNV[0].log_softmax(-1)
    assert 0 < float(half(*rows).max()) < math.log(2)


def test_all_but_the_likeliest_as_one_token() -> None:
    """A lower bound of the whole divergence, and that itself where k leaves one token out; k of all is the whole."""
    world = random_world(3)
    own_NV, teacher_NV = world.logits_PNV[0].log_softmax(-1), world.reference_PNV[0].log_softmax(-1)
    whole_N = ToTeacher(ReverseKL()).to_teacher(own_NV, teacher_NV)
    one_N, two_N, all_N = (ToTeacher(ReverseKL(), top_k=k).to_teacher(own_NV, teacher_NV) for k in (1, 2, 9))
    assert bool((one_N < whole_N - 1e-6).all()) and bool((one_N > 0).all())
    torch.testing.assert_close(two_N, whole_N)
    torch.testing.assert_close(all_N, whole_N)
    best_N = teacher_NV.argmax(-1, keepdim=True)
    p_N, q_N = (x_NV.gather(1, best_N)[:, 0].exp() for x_NV in (own_NV, teacher_NV))
    torch.testing.assert_close(one_N, p_N * (p_N / q_N).log() + (1 - p_N) * ((1 - p_N) / (1 - q_N)).log())
    biased = compare(climbed(WHOLE.changed(objective=ToTeacher(top_k=1)), world), climbed(WHOLE, world))
    assert biased.off_direction > 0.05


def test_a_student_that_is_its_teacher_learns_nothing() -> None:
    world = random_world(0)
    same = World(world.tree, world.logits_PNV, world.logits_PNV, world.rewards_PST)
    for objective in (ToTeacher(), ToTeacher(ForwardKL()), ToTeacher(GeneralisedJSD()), ToTeacher(top_k=1)):
        assert float(climbed(WHOLE.changed(objective=objective), same).norm()) < 1e-12
