"""Preferences between two segments of behaviour, from the rewards predicted for their steps (Christiano et al. 2017).

Legend: **N** pairs of segments, **P** predictors of an ensemble. A segment's predicted return is the plain sum of its
steps' predicted rewards, undiscounted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def preference(first_N: Tensor, second_N: Tensor, error: float = 0.0) -> Tensor:
    """P[σ¹ ≻ σ²] = (1 - e) · exp R̂(σ¹) / (exp R̂(σ¹) + exp R̂(σ²)) + e / 2 (arXiv:1706.03741, equation 1 and 2.2.3).

    Bradley-Terry on the predicted returns R̂ = ∑ r̂(o, a), and whoever answers tosses a coin with probability e.

    Args:
        first_N, second_N: predicted returns of the two segments; any equal shapes.
        error: e, from 0 to 1; the paper's is 0.1, so that P lies between 0.05 and 0.95.

    >>> preference(torch.tensor([0.0, 50.0]), torch.tensor([0.0, 0.0]), error=0.1)
    tensor([0.5000, 0.9500])
    """
    assert first_N.shape == second_N.shape, (first_N.shape, second_N.shape)
    return (1.0 - error) * torch.sigmoid(first_N - second_N) + error / 2


def cross_entropy(first_N: Tensor, second_N: Tensor, preferred_N: Tensor, error: float = 0.0) -> Tensor:
    """-(μ log P[σ¹ ≻ σ²] + (1 - μ) log P[σ² ≻ σ¹]), nats a pair; finite however far the returns are apart.

    Args:
        preferred_N: μ, the weight on the first: 1 or 0, and 0.5 where both were said to be as good. Pairs that nobody
            could compare are not given at all.

    >>> cross_entropy(torch.tensor([0.0]), torch.tensor([0.0]), torch.tensor([1.0]), error=0.1)
    tensor([0.6931])
    """
    apart_N = first_N - second_N
    log_first_N, log_second_N = _log_preference(apart_N, error), _log_preference(-apart_N, error)
    return -(preferred_N * log_first_N + (1.0 - preferred_N) * log_second_N)


def _log_preference(apart_N: Tensor, error: float) -> Tensor:
    """log((1 - e) σ(apart) + e/2), without leaving the logarithm."""
    chosen_N = torch.nn.functional.logsigmoid(apart_N)
    if error == 0.0:
        return chosen_N
    coin_N = torch.full_like(apart_N, math.log(error / 2))
    return coin_N if error == 1.0 else torch.logaddexp(chosen_N + math.log1p(-error), coin_N)


def disagreement(first_PN: Tensor, second_PN: Tensor) -> Tensor:
    """Var over the ensemble of P[σ¹ ≻ σ²], [N]: how far the predictors are apart on each pair (2.2.4).

    Each predictor's own preference without the error term, which would only scale it; the variance divides by P.

    >>> disagreement(torch.tensor([[9.0, 9.0], [9.0, -9.0]]), torch.zeros(2, 2)).round(decimals=2)
    tensor([0.0000, 0.2500])
    """
    assert first_PN.ndim == 2, first_PN.shape
    return preference(first_PN, second_PN).var(0, correction=0)


def labels_by(step: float, *, steps: float, labels: int, first: int, rate_halves_at: float) -> float:
    """How many labels were asked for by time step T, when the rate falls as h / (T + h) (section 3.1: h = 2e6).

        L(T) = L_0 + (L - L_0) · log(1 + T/h) / log(1 + N/h)

    the integral of the rate, scaled so that all L are asked for by the run's last step N.

    Args:
        step: T. steps: N. labels: L. first: L_0, asked for at the start. rate_halves_at: h, in steps.

    >>> [round(labels_by(t, steps=1000, labels=100, first=25, rate_halves_at=500)) for t in (0, 500, 1000)]
    [25, 72, 100]
    """
    if steps <= 0:
        return float(labels)
    share = math.log1p(step / rate_halves_at) / math.log1p(steps / rate_halves_at)
    return first + (labels - first) * min(share, 1.0)


def adapted_l2(coefficient_P: Tensor, train_P: Tensor, validation_P: Tensor, low: float, high: float) -> Tensor:
    """Each predictor's L2 coefficient for the next fit: doubled when validation loss > high · training loss, halved
    when it is < low · training loss, kept in between (2.2.3: 1.1 to 1.5). It stays between 1e-8 and 1.

    A predictor with no held-out label yet (validation loss NaN) keeps its own.

    >>> loss = torch.tensor([1.0, 1.0, 1.0])
    >>> adapted_l2(torch.full((3,), 0.01), loss, torch.tensor([1.0, 1.3, 2.0]), 1.1, 1.5)
    tensor([0.0050, 0.0100, 0.0200])
    """
    factor_P = torch.ones_like(coefficient_P)
    factor_P[validation_P > high * train_P] = 2.0
    factor_P[validation_P < low * train_P] = 0.5
    return (coefficient_P * factor_P).clamp(1e-8, 1.0)
