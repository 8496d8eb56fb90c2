"""Policy-gradient losses, one value a token. To be minimised; [B,T] in, [B,T] out, 0 where masked."""

from __future__ import annotations

import torch
from torch import Tensor

from rung.formulas.masked import same_shape, zeroed

LARGEST_LOG_RATIO = 80.0
"""exp of it, 5.5e34, is still a float32, and so is its product with any advantage up to a few thousand."""


def score_function(log_probs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """-A log π(a). Its gradient is Williams' (r - b) ∂log π (1992, eq. 4), so its value means nothing.

    >>> score_function(torch.tensor([[-0.5]]), torch.tensor([[2.0]]), torch.tensor([[True]]))
    tensor([[1.]])
    """
    same_shape(log_probs_BT, advantages_BT, mask_BT)
    return -zeroed(advantages_BT, mask_BT) * zeroed(log_probs_BT, mask_BT)


def ratio(log_probs_BT: Tensor, old_log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """ρ = π(a)/π_old(a) at the policy's own actions, exactly 1 elsewhere; its value never passes e^80.

    An infinite ρ would make the gradient of a clipped token 0·∞ = NaN, where it is 0. The cap is on the value alone:
    ∂ρ stays huge where no clip binds, so that a policy that ran away is seen and stopped, not hidden.
    """
    same_shape(log_probs_BT, old_log_probs_BT, mask_BT)
    log_ratio_BT = zeroed(log_probs_BT, mask_BT) - zeroed(old_log_probs_BT, mask_BT)
    return (log_ratio_BT - (log_ratio_BT - LARGEST_LOG_RATIO).clamp(min=0).detach()).exp()


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
