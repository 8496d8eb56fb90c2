"""Small networks computed by hand in numpy: layers, passes and heads with their gradients, for speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
Layers = Sequence[tuple[Tensor, Tensor]]
"""(weight, bias) of each, in their order."""
Arrays = Sequence[tuple[Array, Array]]
"""The same in numpy, each weight transposed."""
FEW_ROWS = 4096
"""Beyond so many, torch's products are the faster ones."""


@dataclass(frozen=True)
class Activation:
    """What stands between two layers."""

    bend: Callable[[Array], Any]
    """In place."""
    slope: Callable[[Array], Array]
    """Its derivative, from what it gave."""


TANH = Activation(bend=lambda inside_N: np.tanh(inside_N, out=inside_N), slope=lambda given_N: 1.0 - given_N * given_N)
RELU = Activation(bend=lambda inside_N: np.maximum(inside_N, 0.0, out=inside_N), slope=lambda given_N: given_N > 0)


def through(layers: Layers, inputs_N: Tensor, *, twice: bool = False) -> Tensor:
    """W_n tanh(... tanh(W_1 x + b_1) ...) + b_n, differentiable in the weights, once, or `twice` by torch.

    >>> layer = torch.tensor([[2.0]]), torch.tensor([1.0])
    >>> through([layer, layer], torch.tensor([[0.0]]))
    tensor([[2.5232]])
    """
    small = len(inputs_N) <= FEW_ROWS and inputs_N.device.type == "cpu" and inputs_N.dtype == torch.float32
    if small and not twice and not inputs_N.requires_grad:
        return _Dense.apply(inputs_N, *(tensor for layer in layers for tensor in layer))
    for weight, bias in layers[:-1]:
        inputs_N = torch.tanh(torch.nn.functional.linear(inputs_N, weight, bias))
    return torch.nn.functional.linear(inputs_N, *layers[-1])


def as_arrays(layers: Layers) -> list[tuple[Array, Array]]:
    """On the CPU these are views, which follow the tensors as they are trained."""
    return [(weight.detach().cpu().numpy().T, bias.detach().cpu().numpy()) for weight, bias in layers]


def forward(layers: Arrays, inputs_N: Array, between: Activation) -> list[Array]:
    """What goes into each layer, and, last, what comes out.

    >>> layer = np.array([[2.0]]), np.array([1.0])
    >>> [given_N.tolist() for given_N in forward([layer, layer], np.array([[-3.0]]), RELU)]
    [[[-3.0]], [[0.0]], [[1.0]]]
    """
    given, last = [inputs_N], len(layers) - 1
    for place, (weight, bias) in enumerate(layers):
        inside_N = given[-1] @ weight
        inside_N += bias
        if place < last:
            between.bend(inside_N)
        given.append(inside_N)
    return given


def backward(layers: Arrays, given: Sequence[Array], gradient_N: Array, between: Activation, found: Arrays) -> None:
    """Fills `found` with the gradients of each layer's (weight, bias), from that of what `forward` gave last.

    Here the weights of `found` stand as torch has them, not transposed.
    """
    for place in reversed(range(len(layers))):
        weight, bias = found[place]
        np.matmul(gradient_N.T, given[place], out=weight)
        gradient_N.sum(0, out=bias)
        if place:
            gradient_N = gradient_N @ layers[place][0].T
            gradient_N *= between.slope(given[place])


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs_N: Tensor, *flat: Tensor) -> Tensor:
        ctx.layers = as_arrays(list(zip(flat[::2], flat[1::2], strict=True)))
        ctx.given = forward(ctx.layers, inputs_N.numpy(), TANH)
        return torch.from_numpy(ctx.given.pop())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        found = [(np.empty(weight.shape[::-1], weight.dtype), np.empty_like(bias)) for weight, bias in ctx.layers]
        backward(ctx.layers, ctx.given, gradients[0].numpy(), TANH, found)
        return None, *(torch.from_numpy(gradient) for layer in found for gradient in layer)


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


class Filled:
    """A network's layers and the memory of their gradients as arrays, kept while the tensors stay where they are."""

    def __init__(self, layers: Layers) -> None:
        self._tensors = [tensor for layer in layers for tensor in layer]
        self._layers, self._where = layers, []
        self.layers: Arrays = []
        self.gradients: Arrays = []

    def there(self) -> bool:
        """Whether every weight is on the CPU and has a gradient that can be filled; the arrays are then right."""
        if any(tensor.grad is None or tensor.device.type != "cpu" for tensor in self._tensors):
            return False
        where = [pointer for tensor in self._tensors for pointer in (tensor.data_ptr(), tensor.grad.data_ptr())]
        if where != self._where:
            self._where, self.layers = where, as_arrays(self._layers)
            self.gradients = [(gradient_of(weight), gradient_of(bias)) for weight, bias in self._layers]
        return True

    def through(self, inputs_N: Array) -> NetworkPass:
        return NetworkPass(self.layers, forward(self.layers, inputs_N, TANH), self.gradients)


@dataclass(frozen=True)
class NetworkPass:
    """One network's part of a pass."""

    layers: Arrays
    given: Sequence[Array]
    """What went into each layer, and, last, what came out."""
    gradients: Arrays

    @property
    def out_N(self) -> Array:
        return self.given[-1]

    def back(self, slope_N: Array) -> None:
        """From the loss's slope in what came out, that in each weight, in the place of what was there."""
        backward(self.layers, self.given, slope_N, TANH, self.gradients)


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


def gradient_of(weight: Tensor) -> Array:
    assert weight.grad is not None, "there is no memory for the gradient"
    return weight.grad.numpy()
