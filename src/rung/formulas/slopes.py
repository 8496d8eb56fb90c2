"""Derivatives by hand: ∂loss/∂log π(a) and ∂loss/∂V, one value for each own step, [N].

For small networks, whose arithmetic takes less time than autograd's account of it. Each is what autograd makes of its
namesake in `policy_losses` and `value_losses`; there is no mask, because what is masked is not among the N.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rung.formulas.policy_losses import LARGEST_LOG_RATIO


def score_function_slope(advantages_N: Tensor) -> Tensor:
    """-A.

    >>> score_function_slope(torch.tensor([2.0])).tolist()
    [-2.0]
    """
    return -advantages_N


def own_ratio(log_probs_N: Tensor, old_log_probs_N: Tensor) -> Tensor:
    """ρ = π(a)/π_old(a) between e^-80 and e^80; ∂ρ/∂log π(a) = ρ.

    >>> own_ratio(torch.tensor([-1.0]), torch.tensor([-1.0])).tolist()
    [1.0]
    """
    return (log_probs_N - old_log_probs_N).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()


def surrogate_slope(ratio_N: Tensor, advantages_N: Tensor) -> Tensor:
    """-ρ A.

    >>> surrogate_slope(torch.tensor([1.5]), torch.tensor([2.0])).tolist()
    [-3.0]
    """
    return -ratio_N * advantages_N


def clipped_surrogate_slope(ratio_N: Tensor, advantages_N: Tensor, low: float, high: float) -> Tensor:
    """-ρ A, and 0 where the clip binds.

    >>> clipped_surrogate_slope(torch.tensor([1.5, 0.5]), torch.tensor([1.0, 1.0]), low=0.2, high=0.2).tolist()
    [0.0, -0.5]
    """
    binds_N = torch.where(advantages_N > 0, ratio_N > 1 + high, ratio_N < 1 - low)
    return surrogate_slope(ratio_N, advantages_N).masked_fill(binds_N, 0.0)


def kl_from_old_slope(ratio_N: Tensor) -> Tensor:
    """ρ - 1.

    >>> kl_from_old_slope(torch.tensor([1.0, 2.0])).tolist()
    [0.0, 1.0]
    """
    return ratio_N - 1


def squared_error_slope(values_N: Tensor, targets_N: Tensor) -> Tensor:
    """V - target.

    >>> squared_error_slope(torch.tensor([1.0]), torch.tensor([3.0])).tolist()
    [-2.0]
    """
    return values_N - targets_N
