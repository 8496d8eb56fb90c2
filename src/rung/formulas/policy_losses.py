"""Policy-gradient losses, one value a token. To be minimised; [B,T] in, [B,T] out, 0 where masked."""

from __future__ import annotations

import torch
from torch import Tensor

from rung.formulas.masked import same_shape, zeroed

LARGEST_LOG_RATIO = 80.0
"""exp of it, 5.5e34, is still a float32, and so is its product with any advantage up to a few thousand; and so is exp
of its negative, 1.8e-35, whose logarithm can be taken again."""


def score_function(log_probs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """-A log π(a). Its gradient is Williams' (r - b) ∂log π (1992, eq. 4), so its value means nothing.

    >>> score_function(torch.tensor([[-0.5]]), torch.tensor([[2.0]]), torch.tensor([[True]]))
    tensor([[1.]])
    """
    same_shape(log_probs_BT, advantages_BT, mask_BT)
    return -zeroed(advantages_BT, mask_BT) * zeroed(log_probs_BT, mask_BT)


def ratio(log_probs_BT: Tensor, old_log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """ρ = π(a)/π_old(a) at the policy's own actions, exactly 1 elsewhere; its value stays between e^-80 and e^80.

    An infinite ρ would make the gradient of a clipped token 0·∞ = NaN, where it is 0, and a ρ of 0 that of -log ρ
    infinite, where it is -1. The bounds are on the value alone:
    ∂ρ stays huge where no clip binds, so that a policy that ran away is seen and stopped, not hidden.
    """
    same_shape(log_probs_BT, old_log_probs_BT, mask_BT)
    log_ratio_BT = zeroed(log_probs_BT, mask_BT) - zeroed(old_log_probs_BT, mask_BT)
    bounded_BT = log_ratio_BT.detach().clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    return (log_ratio_BT - (log_ratio_BT.detach() - bounded_BT)).exp()


def clipped_surrogate(ratio_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, low: float, high: float) -> Tensor:
    """-min(ρ A, clip(ρ, 1-low, 1+high) A) (PPO, arXiv:1707.06347, eq. 7; two bounds: DAPO, arXiv:2503.14476, eq. 8).

    >>> mask = torch.tensor([[True, True]])
    >>> clipped_surrogate(torch.tensor([[1.5, 0.5]]), torch.tensor([[1.0, 1.0]]), mask, low=0.2, high=0.2)
    tensor([[-1.2000, -0.5000]])
    """
    same_shape(ratio_BT, advantages_BT, mask_BT)
    advantages_BT = zeroed(advantages_BT, mask_BT)
    clipped_BT = ratio_BT.clamp(1 - low, 1 + high)
    return zeroed(-torch.minimum(ratio_BT * advantages_BT, clipped_BT * advantages_BT), mask_BT)


def dual_clipped(
    ratio_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, low: float, high: float, bound: float
) -> Tensor:
    """The clipped surrogate, and where A < 0 never worse than bound · A (Ye et al. 2020, arXiv:1912.09729).

    Without it a token that became very likely although its advantage is negative has a loss without limit.

    >>> mask = torch.tensor([[True]])
    >>> dual_clipped(torch.tensor([[9.0]]), torch.tensor([[-1.0]]), mask, low=0.2, high=0.2, bound=3.0)
    tensor([[3.]])
    """
    losses_BT = clipped_surrogate(ratio_BT, advantages_BT, mask_BT, low, high)
    advantages_BT = zeroed(advantages_BT, mask_BT)
    return torch.where(advantages_BT < 0, torch.minimum(losses_BT, -bound * advantages_BT), losses_BT)


def sequence_ratio(log_probs_BT: Tensor, old_log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """s = (π(o)/π_old(o))^(1/|o|) at each of a row's own tokens, 1 elsewhere (GSPO, arXiv:2507.18071). [B,T].

    Its gradient flows to every token of the row: ∂s = s · mean_t ∂log π(o_t).

    >>> log_probs = torch.tensor([[-1.0, -2.0]])
    >>> sequence_ratio(log_probs, torch.tensor([[-1.0, -3.0]]), torch.tensor([[True, True]]))    # e^(1/2)
    tensor([[1.6487, 1.6487]])
    """
    same_shape(log_probs_BT, old_log_probs_BT, mask_BT)
    log_ratio_BT = zeroed(log_probs_BT, mask_BT) - zeroed(old_log_probs_BT, mask_BT)
    mean_B1 = log_ratio_BT.sum(1, keepdim=True) / mask_BT.sum(1, keepdim=True).clamp(min=1)
    mean_B1 = mean_B1 - (mean_B1 - LARGEST_LOG_RATIO).clamp(min=0).detach()
    return torch.where(mask_BT, mean_B1.exp(), torch.ones_like(log_ratio_BT))


def clipped_weight(
    ratio_BT: Tensor, log_probs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, high: float
) -> Tensor:
    """-sg(min(ρ, high)) A log π(a) (CISPO, arXiv:2506.13585): the weight is clipped, no token is.

    >>> mask = torch.tensor([[True]])
    >>> clipped_weight(torch.tensor([[9.0]]), torch.tensor([[-1.0]]), torch.tensor([[2.0]]), mask, high=5.0)
    tensor([[10.]])
    """
    same_shape(ratio_BT, log_probs_BT, advantages_BT, mask_BT)
    weight_BT = ratio_BT.detach().clamp(max=high)
    return weight_BT * score_function(log_probs_BT, advantages_BT, mask_BT)


def within_probability(
    ratio_BT: Tensor, log_probs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, low: float, high: float
) -> Tensor:
    """-ρ A, and 0 where the token's probability has moved too far the way A pushes it (DPPO, arXiv:2602.04879).

    ρ = π(a)/μ(a), μ the distribution it was drawn from: too far is π(a) - μ(a) > high where A > 0, < -low elsewhere.
    What is bounded is the token's share of the total variation, so a rare token may change its ratio freely.

    >>> mask, log_half = torch.tensor([[True, True]]), torch.tensor([[0.5, 0.5]]).log()
    >>> within_probability(torch.tensor([[1.25, 2.0]]), log_half, torch.ones(1, 2), mask, low=0.2, high=0.2)
    tensor([[-1.2500,  0.0000]])
    """
    low_BT, high_BT = probability_binds(ratio_BT, log_probs_BT, advantages_BT, mask_BT, low, high)
    return zeroed(-ratio_BT * zeroed(advantages_BT, mask_BT), mask_BT & ~low_BT & ~high_BT)


def probability_binds(
    ratio_BT: Tensor, log_probs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Two bool [B,T]: where `within_probability` takes a token's gradient away, below and above."""
    same_shape(ratio_BT, log_probs_BT, advantages_BT, mask_BT)
    advantages_BT = zeroed(advantages_BT, mask_BT)
    probs_BT = zeroed(log_probs_BT, mask_BT).detach().exp()
    moved_BT = probs_BT - probs_BT / ratio_BT.detach()
    return mask_BT & (moved_BT < -low) & (advantages_BT < 0), mask_BT & (moved_BT > high) & (advantages_BT > 0)


def capped(log_probs_BT: Tensor, old_log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """bool [B,T]: where `ratio` stands at its cap of e^80 instead of its true value.

    >>> capped(torch.tensor([[0.0, -1.0]]), torch.tensor([[-81.0, -1.0]]), torch.tensor([[True, True]]))
    tensor([[ True, False]])
    """
    same_shape(log_probs_BT, old_log_probs_BT, mask_BT)
    return mask_BT & (zeroed(log_probs_BT, mask_BT) - zeroed(old_log_probs_BT, mask_BT) > LARGEST_LOG_RATIO)


def surrogate(ratio_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """-ρ A: what TRPO improves inside its trust region (arXiv:1502.05477, eq. 14).

    >>> surrogate(torch.tensor([[1.5]]), torch.tensor([[2.0]]), torch.tensor([[True]]))
    tensor([[-3.]])
    """
    same_shape(ratio_BT, advantages_BT, mask_BT)
    return zeroed(-ratio_BT * zeroed(advantages_BT, mask_BT), mask_BT)


def kl_from_old(ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """ρ - 1 - log ρ: a sample's share of KL(π_old ‖ π), unbiased in value and, as π_old drew it, in gradient. [B,T].

    >>> kl_from_old(torch.tensor([[1.0, 2.0]]), torch.tensor([[True, True]]))
    tensor([[0.0000, 0.3069]])
    """
    same_shape(ratio_BT, mask_BT)
    ratio_BT = torch.where(mask_BT, ratio_BT, torch.ones_like(ratio_BT))
    return ratio_BT - 1 - ratio_BT.log()


def clip_binds(
    ratio_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Two bool [B,T]: where the lower bound, and where the upper bound, takes a token's gradient away.

    The lower bound binds when ρ < 1-low and A < 0, the upper one when ρ > 1+high and A > 0.
    """
    same_shape(ratio_BT, advantages_BT, mask_BT)
    advantages_BT = zeroed(advantages_BT, mask_BT)
    binds_low_BT = mask_BT & (ratio_BT < 1 - low) & (advantages_BT < 0)
    binds_high_BT = mask_BT & (ratio_BT > 1 + high) & (advantages_BT > 0)
    return binds_low_BT, binds_high_BT
