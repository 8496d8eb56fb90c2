"""Choosing actions by a Q network while collecting.

At the one to eight states of a step torch's cost is that of each operation, not the arithmetic; numpy's is a third of
it. So vectors go through numpy, over the very weights that are being trained; images go through torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rung.models.small_layers import RELU, forward

if TYPE_CHECKING:
    from rung.models.q_network import QNetwork

Array = npt.NDArray[Any]


class QActor:
    """Example: `actor.explore(observations_N, uniforms_N, epsilon=0.1)`."""

    def __init__(self, network: QNetwork) -> None:
        self._network = network
        self._layers = network.arrays

    def __call__(self, observations_N: Array, uniforms_N: Array) -> tuple[Array, npt.NDArray[np.float32]]:
        """Actions drawn as for a score, by one uniform number each, and the logarithms of their chances."""
        shape = self._network.shape
        values_NV = self.values(observations_N)
        if shape.temperature is None:
            actions_N = epsilon_greedy(values_NV, uniforms_N, shape.epsilon)
            chances_N = shape.epsilon / shape.choices + (1 - shape.epsilon) * (actions_N == values_NV.argmax(1))
        else:
            actions_N, chances_N = boltzmann(values_NV, uniforms_N, shape.temperature)
        return actions_N, np.log(chances_N).astype(np.float32)

    def mode(self, observations_N: Array) -> Array:
        """The best action of each state; the first of equals."""
        return self.values(observations_N).argmax(1)

    def values(self, observations_N: Array) -> npt.NDArray[np.float32]:
        """[N, V]."""
        if self._layers is None:
            with torch.inference_mode():
                return self._network.values(torch.from_numpy(observations_N)).cpu().numpy()
        return forward(self._layers, observations_N, RELU)[-1]


def epsilon_greedy(values_NV: Array, uniforms_N: Array, epsilon: float) -> Array:
    """The best action, or, where the uniform number is below ε, the action that its place in [0, ε) stands for.

    >>> epsilon_greedy(np.array([[0.0, 1.0, 0.0]] * 3), np.array([0.01, 0.09, 0.5]), 0.1).tolist()
    [0, 2, 1]
    """
    best_N = values_NV.argmax(1)
    random_N = uniforms_N < epsilon
    if not random_N.any():
        return best_N
    choices = values_NV.shape[1]
    any_N = np.minimum((uniforms_N / epsilon * choices).astype(np.int64), choices - 1)
    return np.where(random_N, any_N, best_N)


def boltzmann(values_NV: Array, uniforms_N: Array, temperature: float) -> tuple[Array, Array]:
    """Actions drawn from softmax(Q / temperature), and their chances.

    >>> boltzmann(np.array([[0.0, 0.0]]), np.array([0.6]), 1.0)
    (array([1]), array([0.5]))
    """
    weights_NV = np.exp((values_NV - values_NV.max(1, keepdims=True)).astype(np.float64) / temperature)
    ends_NV = weights_NV.cumsum(1)
    passed_NV = ends_NV <= (uniforms_N * ends_NV[:, -1])[:, None]
    actions_N = np.minimum(passed_NV.sum(1), values_NV.shape[1] - 1)
    return actions_N, weights_NV[np.arange(len(actions_N)), actions_N] / ends_NV[:, -1]
