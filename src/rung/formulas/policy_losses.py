"""Policy-gradient losses, one value a token. To be minimised; [B,T] in, [B,T] out, 0 where masked."""

from __future__ import annotations

import torch
from torch import Tensor

from rung.formulas.masked import same_shape, zeroed
from rung.formulas.sequences import mean_log_ratio

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
    mean_BT = mean_log_ratio(log_probs_BT, old_log_probs_BT, mask_BT)
    return torch.where(mask_BT, _bounded(mean_BT).exp(), torch.ones_like(mean_BT))


def _bounded(log_ratio_BT: Tensor) -> Tensor:
    """The same gradient, and a value of at most LARGEST_LOG_RATIO."""
    return log_ratio_BT - (log_ratio_BT - LARGEST_LOG_RATIO).clamp(min=0).detach()


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


def soft_gate(ratio_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, positive: float, negative: float) -> Tensor:
    """-4/τ σ(τ (ρ - 1)) A, τ = positive where A > 0, else negative (SAPO, arXiv:2511.20347). [B,T].

    Its slope in ρ is 1 at ρ = 1, as the surrogate's, and 4 σ (1 - σ) elsewhere: it fades on both sides, for either sign
    of A, where a clip is all or nothing and on one side only.

    >>> mask = torch.tensor([[True]])
    >>> soft_gate(torch.tensor([[1.0]]), torch.tensor([[1.0]]), mask, positive=1.0, negative=1.05)
    tensor([[-2.]])
    """
    same_shape(ratio_BT, advantages_BT, mask_BT)
    advantages_BT = zeroed(advantages_BT, mask_BT)
    tau_BT = torch.where(advantages_BT > 0, ratio_BT.new_tensor(positive), ratio_BT.new_tensor(negative))
    return -4 / tau_BT * torch.sigmoid(tau_BT * (ratio_BT - 1)) * advantages_BT


def geometric_mean(
    log_probs_BT: Tensor,
    old_log_probs_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    low: float,
    high: float,
) -> Tensor:
    """-(∏_t ρ̂_t)^(1/|o|) A, log ρ̂ = log ρ held at -low or high where moving on would gain (GMPO, arXiv:2507.20673).

    One ratio for the sequence, as GSPO's, but clipped token by token: one outlier stops its own gradient only. [B,T].

    >>> log_probs, mask = torch.tensor([[0.0, -1.0]]), torch.tensor([[True, True]])
    >>> geometric_mean(log_probs, torch.tensor([[-2.0, -1.0]]), torch.ones(1, 2), mask, low=0.4, high=0.4)    # e^0.2
    tensor([[-1.2214, -1.2214]])
    """
    same_shape(log_probs_BT, old_log_probs_BT, advantages_BT, mask_BT)
    advantages_BT = zeroed(advantages_BT, mask_BT)
    log_ratio_BT = zeroed(log_probs_BT, mask_BT) - zeroed(old_log_probs_BT, mask_BT)
    held_BT = log_ratio_BT.clamp(-low, high)
    least_BT = torch.where(
        advantages_BT > 0, torch.minimum(log_ratio_BT, held_BT), torch.maximum(log_ratio_BT, held_BT)
    )
    return -_bounded(mean_log_ratio(least_BT, torch.zeros_like(least_BT), mask_BT)).exp() * advantages_BT


def probability_moved(log_probs_BT: Tensor, sampler_log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """π(a) - μ(a), μ the distribution the token was drawn from: its size is the total variation of "this token or
    another". [B,T], 0 where masked, without gradient.

    >>> probability_moved(torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log(), torch.tensor([[True]]))
    tensor([[0.2500]])
    """
    same_shape(log_probs_BT, sampler_log_probs_BT, mask_BT)
    moved_BT = zeroed(log_probs_BT, mask_BT).detach().exp() - zeroed(sampler_log_probs_BT, mask_BT).exp()
    return zeroed(moved_BT, mask_BT)


def binary_kl(log_probs_BT: Tensor, sampler_log_probs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """KL(μ ‖ π) of "this token or another": μ log μ/π + (1-μ) log (1-μ)/(1-π), at most the whole vocabulary's. [B,T],
    0 where masked, without gradient.

    >>> binary_kl(torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log(), torch.tensor([[True]]))
    tensor([[0.1308]])
    """
    same_shape(log_probs_BT, sampler_log_probs_BT, mask_BT)
    least = -torch.finfo(log_probs_BT.dtype).eps
    both = (log_probs_BT.detach(), sampler_log_probs_BT)
    log_now_BT, log_mu_BT = (zeroed(one_BT, mask_BT).clamp(max=least) for one_BT in both)
    other_mu_BT, other_now_BT = -torch.expm1(log_mu_BT), -torch.expm1(log_now_BT)
    of_other_BT = other_mu_BT * (other_mu_BT.log() - other_now_BT.log())
    return zeroed(log_mu_BT.exp() * (log_mu_BT - log_now_BT) + of_other_BT, mask_BT)


def divergence_binds(
    moved_BT: Tensor, divergence_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Two bool [B,T]: where a token has moved too far the way A pushes it, down and up (DPPO, arXiv:2602.04879).

    Too far is a divergence above `low` for a token that became rarer while A < 0, above `high` for one that became more
    frequent while A > 0. The bound is on the distribution, not on its ratio: a rare token may change its ratio freely.

    >>> one = torch.ones(1, 1)
    >>> divergence_binds(one * 0.3, one * 0.3, one, one.bool(), low=0.2, high=0.2)
    (tensor([[False]]), tensor([[True]]))
    """
    same_shape(moved_BT, divergence_BT, advantages_BT, mask_BT)
    advantages_BT = zeroed(advantages_BT, mask_BT)
    down_BT = (moved_BT < 0) & (advantages_BT < 0) & (divergence_BT > low)
    return mask_BT & down_BT, mask_BT & (moved_BT > 0) & (advantages_BT > 0) & (divergence_BT > high)


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
