"""One pass through a Q network that is learnt from: the values, and the way back to the gradient of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from rung.models.small_layers import RELU, Arrays, backward, forward


@dataclass(frozen=True)
class QPass:
    """Example: `given = network.to_learn(observations_N); given.back(gradient_NV)`."""

    values_NV: Tensor
    """Without a graph."""
    back: Callable[[Tensor], None]
    """(the loss's gradient in the values [N, V]): puts that in the weights in the place of the one that was there."""

    @staticmethod
    def by_autograd(graph_NV: Tensor, flat: Tensor) -> QPass:
        """`flat.grad` holds the gradients of all weights that `graph_NV` was made of."""

        def back(gradient_NV: Tensor) -> None:
            assert flat.grad is not None
            flat.grad.zero_()
            graph_NV.backward(gradient_NV)

        return QPass(graph_NV.detach(), back)

    @staticmethod
    def by_hand(layers: Arrays, observations_N: npt.NDArray[Any], gradients: Arrays) -> QPass:
        """Layers with ReLU between them, in numpy; `gradients` are filled."""
        *given, values = forward(layers, observations_N, RELU)

        def back(gradient_NV: Tensor) -> None:
            backward(layers, given, gradient_NV.numpy(), RELU, gradients)

        return QPass(torch.from_numpy(values), back)
