"""Heads of small policies: distributions over actions in numpy, with their slopes, and drawing from them.

At the 8 states or so of one step, torch spends 140 microseconds on what numpy does in 50: its cost for each operation,
not the arithmetic. The distribution is the same as `SmallPolicy.distribution`, up to the rounding of its
log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.models.language.distributions import standard_normals
from rung.models.small.layers import TANH, Array, NetworkPass, as_arrays, forward


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
    """A normal distribution around the network's output, its deviation the same in every state.

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


@dataclass(frozen=True, kw_only=True)
class SmallPass:
    """Example: `policy.to_learn(batch).back(slope_N, None, None)`."""

    head: Choice | Vector
    """Made of `policy.out_N`, with the temperature inside."""
    temperature: float
    policy: NetworkPass
    log_std_gradient: Array | None
    critic: NetworkPass | None

    @property
    def values_N(self) -> Array:
        assert self.critic is not None
        return self.critic.out_N[:, 0]

    def back(self, log_prob_N: Array, entropy_N: Array | None, value_N: Array | None) -> None:
        """Fills the gradients from the loss's slopes in the own steps' log-probs, entropy and values, float32."""
        out_N = self.head.slope(log_prob_N, entropy_N)
        if isinstance(self.head, Vector):
            assert self.log_std_gradient is not None
            self.log_std_gradient[:] = self.head.log_std_slope(log_prob_N, entropy_N)
        elif self.temperature != 1.0:
            out_N /= self.temperature
        self.policy.back(out_N)
        if value_N is not None:
            assert self.critic is not None
            self.critic.back(value_N[:, None])


class SmallActor:
    """A policy's distribution, to draw from. It looks at the weights as they are when it is made: make one for each
    collecting.

    Example:
        actions_N, log_probs_N = policy.actor()(observations_NO, uniforms_N)
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], log_std_A: Tensor | None) -> None:
        self._layers = as_arrays(layers)
        self._log_std_A = None if log_std_A is None else log_std_A.detach().cpu().numpy()
        self._std_A = None if self._log_std_A is None else np.exp(self._log_std_A)

    def __call__(
        self, observations_NO: npt.NDArray[np.float32], uniforms: npt.NDArray[np.float64]
    ) -> tuple[Array, npt.NDArray[np.float32]]:
        """Drawn actions and their log-probabilities.

        Args:
            observations_NO: float32, scaled.
            uniforms: float64 in [0, 1): [N] for choices, [N, A] for vectors.

        Returns:
            [N] int64 choices or [N, A] float32 vectors, and [N] float32.
        """
        out_N = forward(self._layers, observations_NO, TANH)[-1]
        return self._choice(out_N, uniforms) if self._log_std_A is None else self._vector(out_N, uniforms)

    def mode(self, observations_NO: npt.NDArray[np.float32]) -> Array:
        """The likeliest action of each state: the first of equals, or the mean."""
        out_N = forward(self._layers, observations_NO, TANH)[-1]
        return out_N.argmax(1) if self._log_std_A is None else out_N

    @staticmethod
    def _choice(logits_NV: Array, uniforms_N: Array) -> tuple[Array, Array]:
        """As `distributions.Categorical.draw`: the first choice whose cumulative weight lies above u·total."""
        weights_NV = logits_NV.astype(np.float64)
        weights_NV -= weights_NV.max(1, keepdims=True)
        ends_NV = np.exp(weights_NV).cumsum(1)
        total_N = ends_NV[:, -1]
        drawn_N = (ends_NV <= (uniforms_N * total_N)[:, None]).sum(1)
        if drawn_N.max() == ends_NV.shape[1] or (ends_NV[:, -2:-1] == ends_NV[:, -1:]).any():
            drawn_N = np.minimum(drawn_N, (ends_NV < total_N[:, None]).sum(1))
        picked_N = weights_NV[np.arange(len(drawn_N)), drawn_N]
        return drawn_N, (picked_N - np.log(total_N)).astype(np.float32)

    def _vector(self, mean_NA: Array, uniforms_NA: Array) -> tuple[Array, Array]:
        assert self._log_std_A is not None and self._std_A is not None
        drawn_NA = (mean_NA + self._std_A * standard_normals(torch.from_numpy(uniforms_NA)).numpy()).astype(np.float32)
        return drawn_NA, Vector(mean_NA, self._log_std_A, drawn_NA).log_probs_N
