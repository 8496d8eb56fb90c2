"""What a small network's output says of the actions that were taken, and the way back to its slope, in numpy.

The same laws as `laws.Categorical` and `laws.Gaussian`, without autograd. Legend: **N** states, **V** choices, **A**
dimensions of an action.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from rung.models.small_layers import Array


class Choice:
    """π = softmax(logits).

    >>> head = Choice(np.array([[0.0, 0.0]]), np.array([1]))
    >>> head.log_probs_N.round(4).tolist(), head.slope(np.array([2.0]), None).tolist()
    ([-0.6931], [[-1.0, 1.0]])
    """

    def __init__(self, logits_NV: Array, actions_N: Array) -> None:
        self.actions_N, self._rows_N = actions_N, np.arange(len(actions_N))
        shifted_NV = logits_NV - logits_NV.max(1, keepdims=True)
        weights_NV = np.exp(shifted_NV)
        total_N1 = weights_NV.sum(1, keepdims=True)
        self._log_probs_NV = shifted_NV - np.log(total_N1)
        self._probs_NV = weights_NV / total_N1
        self.log_probs_N = self._log_probs_NV[self._rows_N, actions_N]

    @cached_property
    def entropy_N(self) -> Array:
        """−∑ π log π, in nats."""
        return -(self._probs_NV * self._finite).sum(1)

    def slope(self, log_prob_N: Array, entropy_N: Array | None) -> Array:
        """[N, V] the slope in the logits of what has these slopes in the log-probs and in the entropy.

        ∂log π(a)/∂logit_v = 1[v = a] − π_v; ∂H/∂logit_v = −π_v (log π_v + H).
        """
        slope_NV = self._probs_NV * -log_prob_N[:, None]
        slope_NV[self._rows_N, self.actions_N] += log_prob_N
        if entropy_N is not None:
            slope_NV -= entropy_N[:, None] * self._probs_NV * (self._finite + self.entropy_N[:, None])
        return slope_NV

    @cached_property
    def _finite(self) -> Array:
        """log π, and 0 for what is never chosen."""
        return np.where(self._probs_NV > 0, self._log_probs_NV, 0.0).astype(self._probs_NV.dtype)


class Vector:
    """A normal law around the network's output, its deviation the same in every state.

    >>> head = Vector(np.zeros((1, 1)), np.zeros(1), np.array([[3.0]]))
    >>> head.slope(np.array([2.0]), None).tolist(), head.log_std_slope(np.array([2.0]), None).tolist()
    ([[6.0]], [16.0])
    """

    def __init__(self, mean_NA: Array, log_std_A: Array, actions_NA: Array) -> None:
        self._log_std_A, self._std_A = log_std_A, np.exp(log_std_A)
        self._standard_NA = (actions_NA - mean_NA) / self._std_A
        half_log = np.float32(0.5 * math.log(2 * math.pi))
        self.log_probs_N = -(0.5 * self._standard_NA * self._standard_NA + (log_std_A + half_log)).sum(1)

    @cached_property
    def entropy_N(self) -> Array:
        """∑_A log σ + ½ log 2πe, in nats."""
        each_A = self._log_std_A + np.float32(0.5 * math.log(2 * math.pi * math.e))
        return np.full(len(self._standard_NA), each_A.sum())

    def slope(self, log_prob_N: Array, entropy_N: Array | None) -> Array:
        """[N, A] the slope in the mean of what has these slopes in the log-probs and in the entropy.

        ∂log π(a)/∂μ = (a − μ)/σ²; ∂H/∂μ = 0.
        """
        return self._standard_NA * log_prob_N[:, None] / self._std_A

    def log_std_slope(self, log_prob_N: Array, entropy_N: Array | None) -> Array:
        """[A] the same in log σ: ∂log π(a)/∂log σ = ((a − μ)/σ)² − 1; ∂H/∂log σ = 1."""
        squares_NA = self._standard_NA * self._standard_NA
        by_log_prob_A = log_prob_N @ (squares_NA - 1)
        return by_log_prob_A if entropy_N is None else by_log_prob_A + entropy_N.sum()
