"""A few small layers with tanh or ReLU between them, forward and backward, in numpy.

For the some hundred rows that environments bring, torch's cost is that of each operation (5 to 10 microseconds, more
in the backward pass), not the arithmetic; numpy's is a quarter of it. The numbers are the same up to the order in
which products are summed.

Legend: **N** rows.
"""

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
