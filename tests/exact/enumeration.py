"""What only the exact tests need beside the referee's world: optima, ascent to the end, closed forms.

P prompts, N prefixes, S sequences, as in `rung.lab.referee.world`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from rung.lab.referee.estimates import expected_gradient
from rung.lab.referee.world import NAN, World
from rung.methods import PolicyGradient


def without_rewards(world: World) -> World:
    """The same world with every reward 0, so that a KL's gradient stands alone."""
    return replace(world, rewards_PST=torch.where(world.tree.mask_ST, torch.zeros_like(world.rewards_PST), NAN))


def optimum_PS(world: World, beta: float) -> Tensor:
    """π*(y) = π_ref(y) exp(R(y)/β) / Z: the policy that climbs E[R] - β KL(π ‖ π_ref) to its top."""
    return (world.log_probs_PS(world.reference_PNV) + world.returns_PS() / beta).softmax(-1)


def total_variation(one_PS: Tensor, other_PS: Tensor) -> float:
    """½ ∑|p - q|, averaged over prompts."""
    return float((one_PS - other_PS).abs().sum(-1).mean() / 2)


def reached_PN(world: World) -> Tensor:
    """How probable it is that a sample passes through each prefix."""
    probs_PS = world.probs_PS()
    reached = torch.zeros(probs_PS.shape[0], len(world.tree.prefixes), dtype=torch.float64)
    for prompt in range(probs_PS.shape[0]):
        shares_ST = torch.where(world.tree.mask_ST, probs_PS[prompt][:, None], 0.0)
        reached[prompt].index_add_(0, world.tree.prefix_ST.flatten(), shares_ST.flatten())
    return reached


def kl_by_prefix(world: World, logits_PNV: Tensor, *, reverse: bool = False) -> Tensor:
    """∑_prefix d(prefix) KL(π(·|prefix) ‖ π_ref(·|prefix)) with d held still: what a token-level loss can see.

    `reverse`: KL(π_ref ‖ π) instead. Without `reverse` its value is `kl`'s; its gradient lacks d's own.
    """
    policy, reference = logits_PNV.log_softmax(-1), world.reference_PNV.log_softmax(-1)
    first, second = (reference, policy) if reverse else (policy, reference)
    return (reached_PN(world) * (first.exp() * (first - second)).sum(-1)).sum(-1).mean()


def constant(p: float, samples: int, ddof: int = 0) -> float:
    """c(p, G) = E[m(1-m)/std] / (p(1-p)), m the group's mean: with 0/1 rewards and ε = 0 GRPO's expected gradient is
    this times the true one. With the population deviation (ddof 0) it is E[std] / (p(1-p)).
    """
    expectation = 0.0
    for right in range(1, samples):
        share = math.comb(samples, right) * p**right * (1 - p) ** (samples - right)
        mean = right / samples
        expectation += share * mean * (1 - mean) / math.sqrt(mean * (1 - mean) * samples / (samples - ddof))
    return expectation / (p * (1 - p))


def climb(
    method: PolicyGradient, world: World, samples: int, *, steps: int, rate: float, drawn_from: Tensor | None = None
) -> Tensor:
    """The sequence probabilities [P, S] after exact ascent of a method's expected gradient, by Adam, from π_ref."""
    logits_PNV = world.reference_PNV.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits_PNV], lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for _ in range(steps):
        here = replace(world, logits_PNV=logits_PNV.detach())
        logits_PNV.grad = -expected_gradient(method, here, samples, drawn_from=drawn_from)
        optimizer.step()
        schedule.step()
    return world.probs_PS(logits_PNV.detach())
