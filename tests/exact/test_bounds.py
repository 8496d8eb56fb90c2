"""What the later bounds climb: exact on fresh samples, and off them a bias of a known form."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from test_policy_gradients import assert_multiple
from torch import Tensor

from rung.batch import Batch
from rung.lab.referee.estimates import compare, expected_gradient
from rung.lab.referee.world import NAN, Tree, World, expected_return, gradient, random_world
from rung.methods.parts.advantages import EpisodeReturn, GroupCentred
from rung.methods.parts.aggregations import PerEpisode, Whiten
from rung.methods.parts.chosen_tokens import HighEntropy
from rung.methods.parts.corrections import GeometricMask, StaleNegatives
from rung.methods.parts.objectives import GeometricMean, SoftGate, Surrogate, WithinKL, WithinProbability
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.reinforce import REINFORCE
from rung.methods.variants import REINFORCE_PLUS_PLUS_BASELINE

PLAIN = REINFORCE.changed(name="plain", advantage=EpisodeReturn(), objective=Surrogate())
STALE = 0.6
"""How far the older policy is: its logits plus so much of the reference's."""


def of_older(world: World) -> tuple[Tensor, Callable[[Batch], Batch]]:
    """The logits of an older policy, and the batches as it would have drawn them."""
    older_PNV = world.logits_PNV + STALE * world.reference_PNV
    older_BT = world.tree.log_probs(older_PNV).flatten(0, 1)
    return older_PNV, lambda batch: batch.changed(old_log_probs_BT=older_BT, sampler_log_probs_BT=older_BT)


def climbed(method: PolicyGradient, world: World, *, fresh: bool = False) -> Tensor:
    """The expected gradient at the world's policy from samples of the older one; `fresh`: before the first update, so
    that ρ is 1 and the sampler's gap is all there is."""
    older_PNV, of_both = of_older(world)
    now_BT = world.tree.log_probs(world.logits_PNV).flatten(0, 1)

    def seen_as(batch: Batch) -> Batch:
        return of_both(batch).changed(old_log_probs_BT=now_BT) if fresh else of_both(batch)

    return expected_gradient(method, world, 1, drawn_from=older_PNV, seen_as=seen_as)


def by_hand(world: World, weigh: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """∑_y μ(y) ∑_t w_t R(y) ∇log π(y_t): w from the tokens' log π, log μ, the return, and the mask. [P, N, V]."""
    tree, logits_PNV = world.tree, world.logits_PNV.clone().requires_grad_()
    now_ST = torch.where(tree.mask_ST, tree.log_probs(logits_PNV)[0], 0.0)
    older_PNV, _ = of_older(world)
    old_ST = torch.where(tree.mask_ST, tree.log_probs(older_PNV)[0], 0.0)
    returns_S = world.returns_PS()[0]
    weights_ST = weigh(now_ST.detach(), old_ST, returns_S[:, None], tree.mask_ST)
    total = (old_ST.sum(1).exp()[:, None] * weights_ST * returns_S[:, None] * now_ST).sum()
    return torch.autograd.grad(total, logits_PNV)[0]


@pytest.mark.parametrize("objective", [SoftGate(), GeometricMean(), WithinProbability(pull=0.0), WithinKL()])
def test_on_fresh_samples_each_bound_leaves_the_gradient(objective) -> None:
    world = random_world(0, rewards="final")
    found = expected_gradient(PLAIN.changed(objective=objective), world, 1)
    assert_multiple(found, gradient(expected_return, world), 1.0)


def gate(now: Tensor, old: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    ratio, tau = (now - old).exp(), torch.where(returns > 0, 1.0, torch.tensor(1.05, dtype=torch.float64))
    share = 1 / (1 + torch.exp(-tau * (ratio - 1)))
    return 4 * share * (1 - share) * ratio


def within_tv(now: Tensor, old: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    moved = now.exp() - old.exp()
    dropped = torch.where(returns > 0, moved > 0.05, moved < -0.05)
    return (now - old).exp() * ~dropped


def within_kl(now: Tensor, old: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    p, q = old.exp(), now.exp()
    kl = torch.where(mask, p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log(), 0.0)
    return (now - old).exp() * ~((kl > 0.02) & ((q - p) * returns > 0))


def geometric(now: Tensor, old: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    gap, sign = now - old, returns.sign()
    free = (gap * sign <= 0.2) & mask
    held = torch.where(free, gap, 0.2 * sign)
    mean = torch.where(mask, held, 0.0).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return mean.exp() * free


def stale_negatives(now: Tensor, old: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    away = (old - now).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return (now - old).exp() * ((returns >= 0) | (away <= 0.02))


def masked_by_mean(now: Tensor, old: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    mean = ((now - old).sum(1, keepdim=True) / mask.sum(1, keepdim=True)).exp()
    return ((mean >= 0.8) & (mean <= 1.25)).expand_as(now).double()


@pytest.mark.parametrize(
    ("slots", "weigh"),
    [
        ({"objective": SoftGate()}, gate),
        ({"objective": WithinProbability(0.05, 0.05, pull=0.0)}, within_tv),
        ({"objective": WithinKL(0.02, 0.02)}, within_kl),
        ({"objective": GeometricMean(0.2, 0.2)}, geometric),
        ({"correction": StaleNegatives(above=0.02)}, stale_negatives),
        ({"correction": GeometricMask(low=0.8, high=1.25)}, masked_by_mean),
    ],
    ids=["gate", "tv", "kl", "geometric", "stale negatives", "geometric mask"],
)
def test_off_policy_each_bound_has_the_gradient_of_its_formula_and_a_bias(slots, weigh) -> None:
    """The weights are written out here once more, from the papers; the unbounded ratio is the true gradient's but for
    the prefixes' own distribution, so what is asserted of the bias is that the bound, and not that, makes it."""
    for seed in (0, 8):
        world = random_world(seed, rewards="final")
        learner_drifted = weigh is masked_by_mean
        found, free = (climbed(one, world, fresh=learner_drifted) for one in (PLAIN.changed(**slots), PLAIN))
        assert_multiple(found, by_hand(world, weigh), 1.0)
        assert compare(found, free).relative_error > 0.02


def test_a_loose_bound_binds_nothing() -> None:
    """Negative control: the bias comes from the bounds' numbers and from nothing else."""
    world = random_world(0, rewards="final")
    free = climbed(PLAIN, world)
    for slots in (
        {"objective": WithinProbability(1.0, 1.0, pull=0.0)},
        {"objective": WithinKL(99.0, 99.0)},
        {"correction": StaleNegatives(above=99.0)},
    ):
        assert_multiple(climbed(PLAIN.changed(**slots), world), free, 1.0)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_learning_at_the_uncertain_tokens_alone_is_the_gradient_there(share: float) -> None:
    """All of the gradient at the tokens that are chosen, none elsewhere; all of it at a share of 1."""
    world = random_world(2, rewards="final", tree=Tree(3, 2))
    entropy_PN = -(world.logits_PNV.softmax(-1) * world.logits_PNV.log_softmax(-1)).sum(-1)
    entropy_BT = torch.where(world.tree.mask_ST, entropy_PN[0][world.tree.prefix_ST], NAN)

    def knows_entropy(batch: Batch) -> Batch:
        return batch.changed(entropy_BT=entropy_BT)

    method = PLAIN.changed(objective=HighEntropy(share=share, low=1.0, high=9.0))
    found = expected_gradient(method, world, 1, seen_as=knows_entropy)
    lengths_S = world.tree.lengths_S
    count_S = torch.tensor([max(1, math.floor(share * int(length))) for length in lengths_S])
    order_ST = torch.where(world.tree.mask_ST, entropy_BT, -1.0).argsort(dim=1, descending=True, stable=True)
    rank_ST = order_ST.argsort(1)
    chosen_ST = (rank_ST < count_S[:, None]) & world.tree.mask_ST
    logits_PNV = world.logits_PNV.clone().requires_grad_()
    log_ST = torch.where(world.tree.mask_ST, world.tree.log_probs(logits_PNV)[0], 0.0)
    total = (world.probs_PS()[0][:, None] * world.returns_PS()[0][:, None] * chosen_ST * log_ST).sum()
    assert_multiple(found, torch.autograd.grad(total, logits_PNV)[0], 1.0)
    off = compare(found, gradient(expected_return, world)).relative_error
    assert off < 1e-9 if share == 1.0 else off > 0.05


def test_the_global_baseline_of_reinforce_plus_plus_is_group_centring_over_the_batchs_deviation() -> None:
    """One group a batch: E[(R_i - mean)/std] as GRPO's, so with rewards 0 and 1 and two samples the gradient is exact
    but for ε; with the mean over tokens it is biased by length, as stated there."""
    world = random_world(2, rewards="binary", tree=Tree(3, 1))
    method = REINFORCE_PLUS_PLUS_BASELINE.changed(
        reference_kl=None, aggregation=PerEpisode(), whiten=Whiten(epsilon=0.0)
    )
    assert isinstance(method.advantage, GroupCentred)
    assert_multiple(expected_gradient(method, world, 2), gradient(expected_return, world), 1.0)
    longer = random_world(2, rewards="binary")
    whole = REINFORCE_PLUS_PLUS_BASELINE.changed(reference_kl=None)
    assert compare(expected_gradient(whole, longer, 2), gradient(expected_return, longer)).off_direction > 0.01
