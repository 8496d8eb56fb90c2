"""What a critic leaves unbiased, and what a sampler that differs from the learner makes biased: by enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from rung.batch import Batch
from rung.lab.referee.estimates import compare, expected_gradient
from rung.lab.referee.world import World, expected_return, gradient, random_world
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import GAE, EpisodeReturn, GroupNormalized, NStep
from rung.methods.parts.aggregations import PerEpisode, PerSequence
from rung.methods.parts.corrections import MaskedImportance, TruncatedImportance
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.filters import AccuraciesDiffer
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.reinforce import REINFORCE

EXACT = 1e-9


def with_values(world: World, seed: int):
    """Gives each batch a critic that depends on the prefix alone, however wrong."""
    generator = torch.Generator().manual_seed(seed)
    by_prefix_N = torch.randn(len(world.tree.prefixes), generator=generator, dtype=torch.float64)
    values_ST = torch.where(world.tree.mask_ST, by_prefix_N[world.tree.prefix_ST], torch.nan)

    def seen_as(batch: Batch) -> Batch:
        prompts = len(batch) // len(values_ST)
        return batch.changed(values_BT=values_ST.repeat(prompts, 1))

    return seen_as


def critic_method(advantage) -> PolicyGradient:
    return REINFORCE.changed(name="critic", advantage=advantage, critic=ValueFunction(), aggregation=PerEpisode())


@pytest.mark.parametrize("advantage", [GAE(discount=1.0, lam=1.0), NStep(discount=1.0, steps=9)])
def test_a_wrong_critic_leaves_the_gradient_unbiased_when_the_whole_return_counts(advantage) -> None:
    world = random_world(3)
    found = expected_gradient(critic_method(advantage), world, 1, seen_as=with_values(world, 0))
    true = gradient(expected_return, world)
    assert float((found - true).norm()) < EXACT * float(true.norm()), compare(found, true)


@pytest.mark.parametrize("advantage", [GAE(discount=1.0, lam=0.5), NStep(discount=1.0, steps=1)])
def test_and_biases_it_when_it_is_trusted_earlier(advantage) -> None:
    world = random_world(3)
    found = expected_gradient(critic_method(advantage), world, 1, seen_as=with_values(world, 0))
    true = gradient(expected_return, world)
    assert float((found - true).norm()) > 0.05 * float(true.norm())


def test_the_true_critic_may_be_trusted_at_once() -> None:
    """With V the policy's own values one-step advantages have the true gradient: no bias is left to trade."""
    world = random_world(3)
    tree, returns_S = world.tree, world.returns_PS()[0]
    probs_S = world.probs_PS()[0]
    values_ST = torch.full(tree.mask_ST.shape, torch.nan, dtype=torch.float64)
    for s, sequence in enumerate(tree.sequences):
        for t in range(len(sequence)):
            same = [k for k, other in enumerate(tree.sequences) if other[:t] == sequence[:t]]
            past = torch.where(tree.mask_ST[s], world.rewards_PST[0, s], 0.0)[:t].sum()
            values_ST[s, t] = (probs_S[same] * returns_S[same]).sum() / probs_S[same].sum() - past
    method = critic_method(GAE(discount=1.0, lam=0.0))
    found = expected_gradient(method, world, 1, seen_as=lambda batch: batch.changed(values_BT=values_ST))
    true = gradient(expected_return, world)
    assert float((found - true).norm()) < EXACT * float(true.norm()), compare(found, true)


def off_policy_error(correction, *, in_flight: bool = False) -> float:
    """‖E_μ[gradient] - ∇J(π)‖ / ‖∇J(π)‖ where μ drew the samples and π learns from them. `in_flight`: μ's weights
    changed meanwhile, so that later tokens are of versions nearer to π, the third of π itself."""
    world = random_world(1, rewards="final")
    noise = torch.randn(world.logits_PNV.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if in_flight:
        depth_N = torch.tensor([len(prefix) for prefix in world.tree.prefixes])
        noise = noise * (1 - depth_N / 2).clamp(min=0.0)[:, None]
    sampler = World(world.tree, world.logits_PNV + 0.6 * noise, world.reference_PNV, world.rewards_PST)
    logits_PNV = world.logits_PNV.clone().requires_grad_()
    log_probs_ST = world.tree.log_probs(logits_PNV)[0]
    method = REINFORCE.changed(name="off", advantage=EpisodeReturn(), correction=correction)
    loss = torch.zeros((), dtype=torch.float64)
    for row, probability in enumerate(sampler.probs_PS()[0].tolist()):
        batch = method.with_advantages(rows_of(sampler, log_probs_ST).rows(torch.tensor([row])))
        losses_BT = method.losses(batch, log_probs_ST[[row]])
        loss = loss + probability * (method.weights(batch, lambda count: count) * losses_BT).sum()
    found = -torch.autograd.grad(loss, logits_PNV)[0]
    true = gradient(expected_return, world)
    return float((found - true).norm() / true.norm())


def rows_of(sampler: World, log_probs_ST: Tensor) -> Batch:
    from rung.lab.referee.estimates import every_row

    drawn = sampler.tree.log_probs(sampler.logits_PNV)
    batch = every_row(sampler, drawn, drawn)
    return batch.changed(old_log_probs_BT=log_probs_ST.detach())


@pytest.mark.parametrize("in_flight", [False, True])
def test_sequence_weights_are_exact_and_token_weights_are_not(in_flight: bool) -> None:
    """Also of answers whose tokens were drawn by several versions, each weighed by its own."""
    uncorrected = off_policy_error(None, in_flight=in_flight)
    token = off_policy_error(TruncatedImportance(cap=1e9), in_flight=in_flight)
    sequence = off_policy_error(TruncatedImportance(cap=1e9, whole_sequence=True), in_flight=in_flight)
    assert sequence < EXACT
    assert 0.02 < token < uncorrected


def test_the_bias_of_a_truncated_weight_falls_with_its_cap() -> None:
    errors = [off_policy_error(TruncatedImportance(cap=cap, whole_sequence=True)) for cap in (0.5, 1.0, 2.0, 8.0)]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors)), errors
    assert errors[-1] < 1e-3 < errors[0]


def test_a_masked_weight_is_biased_where_it_masks_and_exact_where_it_does_not() -> None:
    assert off_policy_error(MaskedImportance(low=0.0, high=1e9, whole_sequence=True)) < EXACT
    assert off_policy_error(MaskedImportance(low=0.5, high=2.0, whole_sequence=True)) > 0.01


def test_dynamic_sampling_keeps_the_direction_and_changes_the_step() -> None:
    """0/1 rewards, one prompt: given that the group differs, GRPO's gradient is its own over P(the group differs)."""
    world = random_world(2, rewards="binary")
    method = GRPO.changed(
        name="ds", reference_kl=None, advantage=GroupNormalized(epsilon=0.0), aggregation=PerSequence()
    )
    keep, samples = AccuraciesDiffer(), 3
    plain = expected_gradient(method, world, samples)
    p = float((world.probs_PS()[0] * world.returns_PS()[0]).sum())
    mixed = 1 - p**samples - (1 - p) ** samples
    assert 0 < mixed < 1 and keep([0.0, 1.0]) and not keep([1.0, 1.0])
    # groups that are alike have advantage 0: leaving them out divides what remains by P(mixed), direction unchanged
    conditional = plain / mixed
    cosine = torch.nn.functional.cosine_similarity(plain.flatten(), conditional.flatten(), dim=0)
    assert float(cosine) == pytest.approx(1.0)
    flat = method.with_advantages(
        rows_of(world, world.tree.log_probs(world.logits_PNV)[0]).rows(torch.tensor([0, 0, 0]))
    )
    assert float(flat.advantages_BT[flat.action_mask_BT].abs().max()) == 0.0
