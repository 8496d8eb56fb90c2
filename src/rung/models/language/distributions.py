"""The distribution of an action at N states: what a policy says before anything is drawn.

Legend: **N** states, **V** choices, **A** dimensions of an action.

Two distributions, one protocol: `Categorical` for a choice among V, `Gaussian` (diagonal) for a vector of A numbers.
Both draw by inverse transform from given uniform numbers, so whoever holds the random stream decides what is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rung.formulas.divergences import categorical_kl

_TINY = 2.0**-54
"""Half the step of a stream's uniform numbers."""


@dataclass(frozen=True)
class Categorical:
    """A choice among V, at N states.

    >>> distribution = Categorical.of_logits(torch.tensor([[0.0, 0.0]]))
    >>> distribution.log_prob(torch.tensor([1]))
    tensor([-0.6931])
    """

    log_probs_NV: Tensor
    """Normalised, in nats; -inf for what is never chosen."""

    @staticmethod
    def of_logits(logits_NV: Tensor) -> Categorical:
        """softmax(logits)."""
        return Categorical(torch.log_softmax(logits_NV, -1))

    def log_prob(self, actions_N: Tensor) -> Tensor:
        """[N] log π(a) of int64 actions."""
        return self.log_probs_NV.gather(-1, actions_N[:, None])[:, 0]

    def entropy(self) -> Tensor:
        """[N] −∑ π log π, in nats."""
        probs_NV = self.log_probs_NV.exp()
        return -(probs_NV * torch.where(probs_NV > 0, self.log_probs_NV, 0.0)).sum(-1)

    def kl(self, other: Categorical) -> Tensor:
        """[N] KL(self ‖ other) = ∑ π (log π − log μ): exact; what self never chooses adds nothing."""
        return categorical_kl(self.log_probs_NV, other.log_probs_NV)

    def detached(self) -> Categorical:
        """The same distribution as a constant."""
        return Categorical(self.log_probs_NV.detach())

    def draw(self, uniforms_N: Tensor) -> Tensor:
        """[N] int64: min { v : ∑_{w ≤ v} π_w > u } for float64 u in [0, 1); never what has no probability.

        >>> Categorical.of_logits(torch.zeros(1, 4)).draw(torch.tensor([0.6], dtype=torch.float64))
        tensor([2])
        """
        ends_NV = self.log_probs_NV.double().exp().cumsum(-1)
        total_N1 = ends_NV[:, -1:]
        drawn_N = (ends_NV <= uniforms_N[:, None] * total_N1).sum(-1)
        # Rounding may put u·total at the very end: then the last choice of positive probability.
        return torch.minimum(drawn_N, (ends_NV < total_N1).sum(-1))


@dataclass(frozen=True)
class Gaussian:
    """A vector of A independent normal numbers, at N states.

    >>> Gaussian(torch.zeros(1, 2), torch.zeros(2)).log_prob(torch.zeros(1, 2))
    tensor([-1.8379])
    """

    mean_NA: Tensor
    log_std_NA: Tensor
    """The logarithm of the standard deviation; [A] where it is the same in every state."""

    def log_prob(self, actions_NA: Tensor) -> Tensor:
        """[N] log density: −∑_A ½ ((a − μ)/σ)² + log σ + ½ log 2π."""
        standard_NA = (actions_NA - self.mean_NA) * (-self.log_std_NA).exp()
        return -(0.5 * standard_NA.square() + self.log_std_NA + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """[N] differential entropy ∑_A log σ + ½ log 2πe, in nats; may be negative."""
        return (self.log_std_NA + 0.5 * math.log(2 * math.pi * math.e)).expand_as(self.mean_NA).sum(-1)

    def kl(self, other: Gaussian) -> Tensor:
        """[N] KL(self ‖ other) = ∑_A log(σ₂/σ₁) + (σ₁² + (μ₁ − μ₂)²) / 2σ₂² − ½."""
        precision_NA = (-2 * other.log_std_NA).exp()
        squares_NA = (2 * self.log_std_NA).exp() + (self.mean_NA - other.mean_NA).square()
        return (other.log_std_NA - self.log_std_NA + 0.5 * squares_NA * precision_NA - 0.5).sum(-1)

    def detached(self) -> Gaussian:
        """The same distribution as a constant."""
        return Gaussian(self.mean_NA.detach(), self.log_std_NA.detach())

    def draw(self, uniforms_NA: Tensor) -> Tensor:
        """[N, A] float32: μ + σ Φ⁻¹(u), one float64 u in [0, 1) for each dimension.

        >>> Gaussian(torch.ones(1, 1), torch.zeros(1)).draw(torch.full((1, 1), 0.5, dtype=torch.float64))
        tensor([[1.]])
        """
        return (self.mean_NA + self.log_std_NA.exp() * standard_normals(uniforms_NA)).float()


Distribution = Categorical | Gaussian


def standard_normals(uniforms: Tensor) -> Tensor:
    """Φ⁻¹(u) of float64 u in [0, 1), always finite: 0 itself would become −∞."""
    return torch.special.ndtri(uniforms.clamp(_TINY, 1 - 2 * _TINY))
