"""A few small layers of tanh, forward and backward, in numpy.

For the some hundred rows that environments bring, torch's cost is that of each operation (5 to 10 microseconds, more
in the backward pass), not the arithmetic; numpy's is a quarter of it. The numbers are the same up to the order in
which products are summed.

Legend: **N** rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
Layers = Sequence[tuple[Tensor, Tensor]]
"""(weight, bias) of each, in their order."""
FEW_ROWS = 4096
"""Beyond so many, torch's products are the faster ones."""


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


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs_N: Tensor, *flat: Tensor) -> Tensor:
        ctx.weights = [tensor.detach().numpy() for tensor in flat[::2]]
        biases = [tensor.detach().numpy() for tensor in flat[1::2]]
        ctx.active = [inputs_N.numpy()]
        for weight, bias in zip(ctx.weights[:-1], biases[:-1], strict=True):
            inside_N = ctx.active[-1] @ weight.T
            inside_N += bias
            ctx.active.append(np.tanh(inside_N, inside_N))
        out_N = ctx.active[-1] @ ctx.weights[-1].T
        out_N += biases[-1]
        return torch.from_numpy(out_N)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        gradient_N = gradients[0].numpy()
        found: list[Tensor] = []
        for place in reversed(range(len(ctx.weights))):
            weight = gradient_N.T @ ctx.active[place]
            found += [torch.from_numpy(gradient_N.sum(0)), torch.from_numpy(weight)]
            if place:
                gradient_N = gradient_N @ ctx.weights[place]
                gradient_N *= 1.0 - ctx.active[place] * ctx.active[place]
        return None, *reversed(found)
