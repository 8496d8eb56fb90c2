"""Q-networks: the value Q(s, ·) of every action, for observations that are vectors or stacks of images.

Legend: **N** states, **O** numbers of a vector, **V** actions.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rung.errors import SettingsError
from rung.formulas.value_targets import duelling
from rung.models.small.acting import Acting
from rung.models.state import load_shaped, save_shaped, take_over

Array = npt.NDArray[Any]
NAME = "q_network"
"""Of its files: a .json and a .safetensors."""
_MOST = 1 << 20
"""No size in a configuration file is believed beyond this."""


@dataclass(frozen=True, kw_only=True)
class QShape:
    """The sizes of a Q network, and how its actions are drawn for a score.

    Example: `QShape(observation=(4,), choices=2)` for CartPole, `QShape(observation=(4, 84, 84), choices=6,
    convolutions=((16, 8, 4), (32, 4, 2)), hidden=(256,))` for Pong.
    """

    observation: tuple[int, ...]
    """(O,) for a vector; (frames, height, width) of bytes for images."""
    choices: int
    """V: actions to choose among."""
    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer of ReLU, behind the convolutions where there are some."""
    convolutions: tuple[tuple[int, int, int], ...] = ()
    """Channels, kernel and stride of each, for images."""
    duelling: bool = False
    """V(s) and A(s, ·) in place of one output layer."""
    epsilon: float = 0.05
    """The chance of a random action when actions are drawn for a score."""
    temperature: float | None = None
    """Drawn from softmax(Q / temperature) instead; None: ε-greedy."""

    def __post_init__(self) -> None:
        sizes = [*self.observation, self.choices, *self.hidden, *(size for one in self.convolutions for size in one)]
        wrong = [size for size in sizes if type(size) is not int or not 1 <= size <= _MOST]
        problems = [f"Q network: got a size of {size!r}, expected a whole number from 1 to {_MOST}" for size in wrong]
        if len(self.observation) not in (1, 3) or bool(self.convolutions) != (len(self.observation) == 3):
            problems.append(
                f"Q network: got observations of shape {self.observation} and {len(self.convolutions)} convolutions, "
                "expected (numbers,) and none, or (frames, height, width) and some"
            )
        for name, value in (("epsilon", self.epsilon), ("temperature", self.temperature)):
            if value is not None and not (type(value) in (int, float) and 0 <= value < math.inf):
                problems.append(f"Q network: got {name} {value!r}, expected a number of at least 0")
        if type(self.duelling) is not bool:
            problems.append(f"Q network: got duelling {self.duelling!r}, expected true or false")
        if not problems and min(self.sizes_after()) < 1:
            problems.append(f"Q network: an image of {self.observation} is too small for {self.convolutions}")
        if problems:
            raise SettingsError(problems)

    def sizes_after(self) -> tuple[int, int]:
        """Height and width behind the convolutions; (1, 1) for a vector."""
        if len(self.observation) == 1:
            return 1, 1
        height, width = self.observation[1:]
        for _, kernel, stride in self.convolutions:
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        return height, width

    def layers(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Each layer's name and the shape of its weight."""
        channels = self.observation[0]
        for index, (count, kernel, _) in enumerate(self.convolutions):
            yield f"q.convolution{index}", (count, channels, kernel, kernel)
            channels = count
        width = channels * math.prod(self.sizes_after())
        for index, units in enumerate(self.hidden):
            yield f"q.hidden{index}", (units, width)
            width = units
        if self.duelling:
            yield "q.value", (1, width)
        yield "q.out", (self.choices, width)

    def numbers(self) -> int:
        """How many weights there are, biases included."""
        return sum(math.prod(shape) + shape[0] for _, shape in self.layers())

    def uses(self) -> int:
        """As `numbers`, each weight as often as one observation uses it: a convolution's at every place it is put."""
        height, width = self.observation[1:] if len(self.observation) == 3 else (1, 1)
        places: list[int] = []
        for _, kernel, stride in self.convolutions:
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
            places.append(height * width)
        sizes = [math.prod(shape) + shape[0] for _, shape in self.layers()]
        return sum(size * count for size, count in zip(sizes, [*places, *[1] * len(sizes)], strict=False))


class QNetwork(Acting):
    """Weights are drawn as torch draws them for such layers (uniform, ±1/√inputs). Images are divided by 255.

    `flat` is one parameter that holds all weights, its gradient all of theirs: what an optimizer is given.

    Example:
        network = QNetwork(QShape(observation=(4,), choices=2), seed=1)
        network.values(torch.zeros(8, 4))  # [8, 2]
    """

    scale = None
    """Observations are taken as they are."""

    def __init__(self, shape: QShape, *, seed: int = 0, device: str | torch.device = "cpu") -> None:
        self.shape, self.device = shape, torch.device(device)
        generator = torch.Generator().manual_seed(seed)
        drawn: dict[str, Tensor] = {}
        for name, size in shape.layers():
            bound = 1.0 / math.sqrt(math.prod(size[1:]))
            for part, dimensions in (("weight", size), ("bias", size[:1])):
                drawn[f"{name}.{part}"] = torch.empty(dimensions).uniform_(-bound, bound, generator=generator)
        self._lay_out(drawn, trained=True)

    def _lay_out(self, tensors: Mapping[str, Tensor], *, trained: bool) -> None:
        """All weights as views of one row of numbers, and their gradients too: an optimizer's cost is by tensor."""
        flat = torch.cat([t.reshape(-1) for t in tensors.values()]).to(self.device)
        self.flat = nn.Parameter(flat, requires_grad=trained)
        self.flat.grad = torch.zeros_like(flat) if trained else None
        self._parameters: dict[str, nn.Parameter] = {}
        end = 0
        for name, tensor in tensors.items():
            begin, end = end, end + tensor.numel()
            own = nn.Parameter(self.flat.data[begin:end].view(tensor.shape), requires_grad=trained)
            own.grad = self.flat.grad[begin:end].view(tensor.shape) if self.flat.grad is not None else None
            self._parameters[name] = own
        self._gather()

    def _gather(self) -> None:
        """Keeps the layers in order: a look-up by name at every step would take longer than a layer."""
        own = self._parameters
        pairs = {name: (own[f"{name}.weight"], own[f"{name}.bias"]) for name, _ in self.shape.layers()}
        self._convolutions = [
            (*pairs[f"q.convolution{index}"], stride) for index, (_, _, stride) in enumerate(self.shape.convolutions)
        ]
        self._hidden = [pairs[f"q.hidden{index}"] for index in range(len(self.shape.hidden))]
        self._value, self._out = pairs.get("q.value"), pairs["q.out"]
        plain = not self._convolutions and self._value is None and self.device.type == "cpu"
        layers = [*self._hidden, self._out]
        self._passes = self.arrays = self._gradients = None
        """`arrays`: the layers as views for numpy, of a network without images and on the CPU; None of any other."""
        if plain:
            from rung.models.small import passes

            self._passes, self.arrays = passes, passes.layers_of(layers)
            self._gradients = passes.layers_of(layers, gradients=True) if self.flat.requires_grad else None

    def values(self, observations_N: Tensor) -> Tensor:
        """Q of every action, differentiable. [N, O] float32 or [N, frames, height, width] uint8 -> [N, V]."""
        if self.arrays is not None and not torch.is_grad_enabled():
            return torch.from_numpy(self.values_of(observations_N.numpy()))
        inside_N = observations_N.to(self.device)
        if self._convolutions:
            inside_N = inside_N.float() / 255.0
            for weight, bias, stride in self._convolutions:
                inside_N = F.relu(F.conv2d(inside_N, weight, bias, stride))
            inside_N = inside_N.flatten(1)
        for weight, bias in self._hidden:
            inside_N = F.relu(F.linear(inside_N, weight, bias))
        out_NV = F.linear(inside_N, *self._out)
        return out_NV if self._value is None else duelling(F.linear(inside_N, *self._value)[:, 0], out_NV)

    def actor(self) -> QNetwork:
        """Itself: it chooses actions by the weights as they are at each call."""
        return self

    def __call__(self, observations_N: Array, uniforms_N: Array) -> tuple[Array, npt.NDArray[np.float32]]:
        """Actions drawn as for a score, by one uniform number each, and the logarithms of their chances."""
        shape, values_NV = self.shape, self.values_of(observations_N)
        if shape.temperature is None:
            actions_N = epsilon_greedy(values_NV, uniforms_N, shape.epsilon)
            chances_N = shape.epsilon / shape.choices + (1 - shape.epsilon) * (actions_N == values_NV.argmax(1))
        else:
            actions_N, chances_N = boltzmann(values_NV, uniforms_N, shape.temperature)
        return actions_N, np.log(chances_N).astype(np.float32)

    @property
    def observation_form(self) -> tuple[tuple[int, ...], type[np.generic]]:
        return self.shape.observation, np.uint8 if self._convolutions else np.float32

    def mode(self, observations_N: Array, /) -> Array:
        """The best action of each state; the first of equals."""
        return self.values_of(observations_N).argmax(1)

    def state_values(self, observations_N: Array, /) -> npt.NDArray[np.float32]:
        """[N] the value of each state's best action."""
        return self.values_of(observations_N).max(1)

    def values_of(self, observations_N: Array) -> npt.NDArray[np.float32]:
        """As `values`, in numpy and without a graph."""
        if self._passes is not None:
            return self._passes.forward(self.arrays, np.ascontiguousarray(observations_N), False)[-1]
        with torch.inference_mode():
            return self.values(torch.from_numpy(observations_N)).cpu().numpy()

    @property
    def both(self) -> Any:
        """The layers and their gradients as arrays, for compiled passes; None of images, of two heads, elsewhere than
        on the CPU, and of a frozen copy."""
        return None if self._gradients is None else (self.arrays, self._gradients)

    def to_learn(self, observations_N: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """`values` [N, V], and a way back: given the loss's gradient in the values, it puts that in the weights into
        `flat.grad`, in the place of the one that was there."""
        graph_NV = self.values(observations_N)

        def back(gradient_NV: Tensor) -> None:
            assert self.flat.grad is not None
            self.flat.grad.zero_()
            graph_NV.backward(gradient_NV)

        return graph_NV.detach(), back

    def scaled(self, raw_N: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """Unchanged."""
        return raw_N

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters, by name."""
        return {name: p for name, p in self._parameters.items() if p.requires_grad}

    def reference(self) -> QNetwork:
        """A frozen copy of the network as it is now."""
        made = copy.copy(self)
        made._lay_out(self.state(), trained=False)
        return made

    @torch.no_grad()
    def follow(self, other: QNetwork, share: float) -> None:
        """Move this network's weights towards another's by a share of the way; 1: all of it."""
        if share == 1:
            self.flat.copy_(other.flat)
        else:
            self.flat.lerp_(other.flat, share)

    def state(self) -> dict[str, Tensor]:
        """All parameters, detached."""
        return {name: p.detach() for name, p in self._parameters.items()}

    def weights(self) -> dict[str, Tensor]:
        return self.state()

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of `state`. CheckpointError when names, shapes or types differ; nothing is changed."""
        take_over(self._parameters, tensors, "this Q network")

    def save(self, folder: str | Path) -> None:
        """Write the shape as JSON and the tensors as safetensors into `folder`."""
        save_shaped(Path(folder), NAME, self.shape, self.state())

    @staticmethod
    def load(folder: Path) -> QNetwork:
        """The network that `save` wrote. DataError when the folder holds none or it does not fit together."""
        return load_shaped(folder, NAME, QShape, QNetwork)


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
