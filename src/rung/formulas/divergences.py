"""Estimates of KL(π ‖ π_ref) from tokens that π drew, and the exact value where a distribution is small.

With the log-ratio d = log π(a) - log π_ref(a), a ~ π (Schulman, "Approximating KL divergence", 2020):

    k1 = d                    unbiased value, can be negative
    k2 = d²/2                 biased value, small variance
    k3 = exp(-d) - 1 + d      unbiased value, never negative

A value without bias is not a gradient without bias. As a loss, k1's expected gradient is zero; k3's is that of
KL(π_ref ‖ π)'s surrogate, not of KL(π ‖ π_ref); per-token k2 has the right gradient for each token's own
distribution but ignores how a token changes the later ones. Only k1 in the reward, with reward-to-go or the whole
return, has the gradient of the sequence's KL. tests/exact states each by how much.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rung.formulas.masked import same_shape


def k1(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """d = log π - log π_ref, elementwise."""
    same_shape(log_probs, reference_log_probs)
    return log_probs - reference_log_probs


def k2(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """d²/2, elementwise."""
    return k1(log_probs, reference_log_probs).square() / 2


def k3(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """exp(-d) - 1 + d, elementwise; GRPO's D_KL (arXiv:2402.03300, eq. 4).

    >>> k3(torch.tensor([-1.0]), torch.tensor([-1.0]))
    tensor([0.])
    """
    d = k1(log_probs, reference_log_probs)
    return torch.expm1(-d) + d


def categorical_kl(log_probs_V: Tensor, other_log_probs_V: Tensor) -> Tensor:
    """KL(p ‖ q) = ∑_v p_v (log p_v - log q_v) over the last dimension, from normalised log-probabilities.

    Outcomes with p = 0 add nothing, whatever q is.

    >>> categorical_kl(torch.tensor([0.0, -torch.inf]), torch.tensor([0.5, 0.5]).log())    # log 2
    tensor(0.6931)
    """
    same_shape(log_probs_V, other_log_probs_V)
    never_V = log_probs_V == -torch.inf
    difference_V = torch.where(never_V, torch.zeros_like(log_probs_V), log_probs_V - other_log_probs_V)
    return (log_probs_V.exp() * difference_V).sum(-1)


def generalised_jsd(log_probs_V: Tensor, teacher_log_probs_V: Tensor, beta: float) -> Tensor:
    """β KL(π_T ‖ m) + (1-β) KL(π ‖ m), m = β π_T + (1-β) π, over the last dimension (GKD, arXiv:2306.13649, eq. 1).

    Bounded, whatever either finds impossible. Over β it tends to KL(π_T ‖ π) as β → 0, over 1-β to KL(π ‖ π_T) as
    β → 1.

    >>> generalised_jsd(torch.tensor([1.0, 0.0]).log(), torch.tensor([0.0, 1.0]).log(), beta=0.5)    # log 2
    tensor(0.6931)
    """
    same_shape(log_probs_V, teacher_log_probs_V)
    mixed_V = torch.logaddexp(teacher_log_probs_V + math.log(beta), log_probs_V + math.log1p(-beta))
    return beta * categorical_kl(teacher_log_probs_V, mixed_V) + (1 - beta) * categorical_kl(log_probs_V, mixed_V)


def with_the_rest(log_probs_NV: Tensor, ids_NK: Tensor) -> Tensor:
    """log-probs of K choices, and of "any other" as one more: [N, K+1], still a distribution.

    A divergence of the two coarser distributions is at most that of the whole ones. K is below V.

    >>> with_the_rest(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0]]))
    tensor([[-0.6931, -0.6931]])
    """
    rest_N1 = log_probs_NV.scatter(1, ids_NK, -torch.inf).logsumexp(1, keepdim=True)
    return torch.cat([log_probs_NV.gather(1, ids_NK), rest_N1], dim=1)
