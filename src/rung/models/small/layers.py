"""Fully connected layers in numpy: the pass forward, and its gradients. For a few small layers faster than torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """The function between two layers."""

    apply: Callable[[Array], Any]
    """In place."""
    slope: Callable[[Array], Array]
    """Its derivative, from its result."""


TANH = Activation(apply=lambda inside_N: np.tanh(inside_N, out=inside_N), slope=lambda out_N: 1.0 - out_N * out_N)
RELU = Activation(apply=lambda inside_N: np.maximum(inside_N, 0.0, out=inside_N), slope=lambda out_N: out_N > 0)


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


product: Callable[..., Array] = np.matmul
"""Every matrix product of these layers, by this name: who counts operations stands in for it."""


def forward(layers: Arrays, inputs_N: Array, between: Activation) -> list[Array]:
    """The input of each layer, and, last, the output.

    >>> layer = np.array([[2.0]]), np.array([1.0])
    >>> [input_N.tolist() for input_N in forward([layer, layer], np.array([[-3.0]]), RELU)]
    [[[-3.0]], [[0.0]], [[1.0]]]
    """
    given, last = [inputs_N], len(layers) - 1
    for place, (weight, bias) in enumerate(layers):
        inside_N = product(given[-1], weight)
        inside_N += bias
        if place < last:
            between.apply(inside_N)
        given.append(inside_N)
    return given


def backward(layers: Arrays, given: Sequence[Array], gradient_N: Array, between: Activation, found: Arrays) -> None:
    """Fills `found` with the gradients of each layer's (weight, bias), from the gradient in the output of `forward`.

    The weights in `found` are as torch has them, not transposed.
    """
    for place in reversed(range(len(layers))):
        weight, bias = found[place]
        product(gradient_N.T, given[place], weight)
        gradient_N.sum(0, out=bias)
        if place:
            gradient_N = product(gradient_N, layers[place][0].T)
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


class Filled:
    """A network's tanh layers and their gradients as arrays that share torch's memory while the tensors stay there."""

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
        return NetworkPass.of(self.layers, inputs_N, self.gradients, TANH)


@dataclass(frozen=True)
class NetworkPass:
    """One network's pass forward, and its way back. Example: `NetworkPass.of(layers, inputs_N, gradients, RELU)`."""

    layers: Arrays
    given: Sequence[Array]
    """The input of each layer, and, last, the output."""
    gradients: Arrays
    between: Activation

    @staticmethod
    def of(layers: Arrays, inputs_N: Array, gradients: Arrays, between: Activation) -> NetworkPass:
        """`gradients` is the memory that `back` fills."""
        return NetworkPass(layers, forward(layers, inputs_N, between), gradients, between)

    @property
    def out_N(self) -> Array:
        return self.given[-1]

    def back(self, slope_N: Array) -> None:
        """Fill the gradients of the weights from the loss's gradient in the output."""
        backward(self.layers, self.given, slope_N, self.between, self.gradients)


def gradient_of(weight: Tensor) -> Array:
    assert weight.grad is not None, "there is no memory for the gradient"
    return weight.grad.numpy()
