"""Derivatives by hand in numpy: ∂loss/∂log π(a), ∂loss/∂V and those of a softmax, one value for each own step, [N].

For small networks, whose arithmetic takes less time than autograd's account of it: their updates are compiled from
these. Each is what autograd makes of its namesakes in `policy_losses`, `value_losses` and `whitening`; there is no
mask, because what is masked is not among the N.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rung.formulas.policy_losses import LARGEST_LOG_RATIO


class Slope(NamedTuple):
    """The numbers of a surrogate's derivative; as they are by default, of −ρ A.

    −A log π(a), whose one update is at ρ = 1, has the same derivative there.
    """

    low: float = 1.0
    high: float = math.inf
    """Of the clip; 1 and infinity: none."""
    kl: float = 0.0
    """β, the weight of KL(π_old ‖ π)."""


def own_ratio(log_probs_N: Any, old_log_probs_N: Any) -> Any:
    """ρ = π(a)/π_old(a) between e^-80 and e^80; ∂ρ/∂log π(a) = ρ.

    >>> own_ratio(np.array([-1.0]), np.array([-1.0])).tolist()
    [1.0]
    """
    return np.exp(np.minimum(np.maximum(log_probs_N - old_log_probs_N, -LARGEST_LOG_RATIO), LARGEST_LOG_RATIO))


def surrogate_slope(ratio_N: Any, advantages_N: Any, slope: Slope) -> Any:
    """−ρ A, 0 where the clip binds, and β (ρ − 1).

    >>> surrogate_slope(np.array([1.5, 0.5]), np.array([1.0, 1.0]), Slope(low=0.2, high=0.2)).tolist()
    [0.0, -0.5]
    >>> surrogate_slope(np.array([2.0]), np.array([3.0]), Slope(kl=0.5)).tolist()
    [-5.5]
    """
    high_N, low_N = (advantages_N > 0) & (ratio_N > 1 + slope.high), (advantages_N < 0) & (ratio_N < 1 - slope.low)
    return np.where(high_N | low_N, 0.0, -ratio_N * advantages_N) + slope.kl * (ratio_N - 1)


def squared_error_slope(values_N: Any, targets_N: Any) -> Any:
    """V - target.

    >>> squared_error_slope(np.array([1.0]), np.array([3.0])).tolist()
    [-2.0]
    """
    return values_N - targets_N


def gae_before(error: float, going: float, cut: bool, after: float, discount: float, lam: float) -> float:
    """`returns.gae` at one step, from the advantage of the step `after`: δ_t + γλ d_t A_{t+1}, δ_t at a cut.

    >>> gae_before(1.0, 1.0, False, 2.0, 0.5, 0.5), gae_before(1.0, 1.0, True, 2.0, 0.5, 0.5)
    (1.5, 1.0)
    """
    return error + (0.0 if cut else discount * lam * going * after)


class ErrorSlope(NamedTuple):
    """The numbers of a TD error's derivative in Q: −clip(factor · δ, ±limit)."""

    factor: float
    limit: float


def error_slope(error: Any, slope: ErrorSlope) -> Any:
    """`value_targets.squared_slope` with a factor of 2 and no limit, `clipped_slope` with 1 and its limit.

    >>> error_slope(3.0, ErrorSlope(2.0, math.inf)), error_slope(-3.0, ErrorSlope(1.0, 1.0))
    (-6.0, 1.0)
    """
    return -min(max(slope.factor * error, -slope.limit), slope.limit)


def bootstrapped_window(rewards_K: Any, discounts_K: Any, cut_K: Any, discount: float) -> tuple[Any, Any, int]:
    """`value_targets.n_step` of one window: its return, the factor before the next state's value, and its steps.

    >>> bootstrapped_window([1.0, 2.0], [1.0, 0.0], [False, False], 0.5)
    (2.0, 0.0, 2)
    """
    total, power = rewards_K[0], discount
    steps = 1
    while steps < len(rewards_K) and discounts_K[steps - 1] != 0 and not cut_K[steps - 1]:
        total += power * rewards_K[steps]
        power *= discount
        steps += 1
    return total, discounts_K[steps - 1] * power, steps


def softmax_slope(log_prob_N: Any, entropy_slope_N: Any, picked_N: Any, log_probs_N: Any, entropy_N: Any) -> Any:
    """The slope in one choice's logit of what has these slopes in log π(a) and in the entropy.

    ∂log π(a)/∂logit_v = 1[v = a] − π_v; ∂H/∂logit_v = −π_v (log π_v + H).

    Args:
        log_prob_N, entropy_slope_N: the two slopes.
        picked_N: whether a is this choice. log_probs_N: log π_v of this choice. entropy_N: H.

    >>> softmax_slope(np.array([2.0]), np.zeros(1), np.array([False]), np.log([0.5]), np.log([2.0])).tolist()
    [-1.0]
    """
    probs_N, finite_N = np.exp(log_probs_N), np.maximum(log_probs_N, -1e30)  # so that 0 log 0 is 0
    return log_prob_N * (picked_N - probs_N) - entropy_slope_N * probs_N * (finite_N + entropy_N)


def softmax_fisher(chances_N: Any, tangent_N: Any, mean_N: Any) -> Any:
    """(diag π − π πᵀ) t of one choice: π (t − ∑ π t), the Hessian of KL(π_old ‖ π) in the logits along t.

    >>> softmax_fisher(np.array([0.5]), np.array([1.0]), np.array([0.5])).tolist()
    [0.25]
    """
    return chances_N * (tangent_N - mean_N)


def whitened_rows(values_N: Any, shift: bool, epsilon: float, ddof: int) -> Any:
    """`whitening.whitened` of own steps alone: (x - mean) / (std + ε).

    >>> whitened_rows(np.array([1.0, 3.0]), True, 0.0, 0).tolist()
    [-1.0, 1.0]
    """
    mean = values_N.sum() / len(values_N)
    centred_N = values_N - mean
    variance = (centred_N * centred_N).sum() / max(len(values_N) - ddof, 1)
    scale = 0.0 if variance <= (mean * 1e-12) ** 2 else 1.0 / (math.sqrt(variance) + epsilon)
    return centred_N * scale + (0.0 if shift else mean)
