"""One pass through a small policy that is learnt from: what it says, and the way back to the weights' gradients.

By hand, in numpy: at 64 rows autograd's account of a pass takes several times its arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rung.models.small_heads import Choice, Vector
from rung.models.small_layers import TANH, Array, Arrays, Layers, as_arrays, backward, forward


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
