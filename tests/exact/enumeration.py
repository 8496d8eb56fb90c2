"""What only the exact tests need beside the referee's world: ascent to the end, and a KL prefix by prefix.

P prompts, N prefixes, S sequences, as in `rung.lab.referee.world`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rung.lab.referee.estimates import expected_gradient
from rung.lab.referee.world import World
from rung.methods import PolicyGradient


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
