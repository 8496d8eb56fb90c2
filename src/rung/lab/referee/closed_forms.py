"""What is known of a world without enumerating batches: its optimum, distances of policies, GRPO's constant.

P prompts, S sequences, as in `rung.lab.referee.world`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from rung.lab.referee.world import NAN, World


def without_rewards(world: World) -> World:
    """The same world with every reward 0, so that a KL's gradient stands alone."""
    return replace(world, rewards_PST=torch.where(world.tree.mask_ST, torch.zeros_like(world.rewards_PST), NAN))


def optimum_PS(world: World, beta: float) -> Tensor:
    """π*(y) = π_ref(y) exp(R(y)/β) / Z: the policy that climbs E[R] - β KL(π ‖ π_ref) to its top."""
    return (world.log_probs_PS(world.reference_PNV) + world.returns_PS() / beta).softmax(-1)


def total_variation(one_PS: Tensor, other_PS: Tensor) -> float:
    """½ ∑|p - q|, averaged over prompts."""
    return float((one_PS - other_PS).abs().sum(-1).mean() / 2)


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
