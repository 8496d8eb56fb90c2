"""A small network as a policy, for environments: the state is a vector of numbers, an action a choice or a vector.

Legend: **N** states, **O** numbers of an observation, **A** dimensions of an action.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rung.batch import Batch
from rung.errors import SettingsError
from rung.models.language.distributions import Categorical, Distribution, Gaussian, standard_normals
from rung.models.outputs import Outputs
from rung.models.small.acting import Acting
from rung.models.small.observation_scale import ObservationScale
from rung.models.state import load_shaped, save_shaped, take_over

NAME = "small_policy"
"""Of its files: a .json and a .safetensors."""
_MOST = 1 << 20
"""No size in a configuration file is believed beyond this."""


@dataclass(frozen=True, kw_only=True)
class SmallShape:
    """The sizes of a small policy.

    Example: `SmallShape(observations=4, choices=2)` for CartPole, `SmallShape(observations=17, dimensions=6)` for
    HalfCheetah.
    """

    observations: int
    """O: numbers of one observation, flattened."""
    choices: int | None = None
    """Actions to choose among; None: actions are vectors."""
    dimensions: int | None = None
    """A: numbers of one action; None: actions are choices."""
    hidden: tuple[int, ...] = (64, 64)
    """Width of each hidden layer of tanh, in the policy and in the critic."""
    critic: bool = True
    """Whether there is a value network beside the policy; the two share nothing."""

    def __post_init__(self) -> None:
        problems = [
            f"{name}: got {value!r}, expected a whole number from 1 to {_MOST}"
            for name, value in [
                ("observations", self.observations),
                ("choices", 1 if self.choices is None else self.choices),
                ("dimensions", 1 if self.dimensions is None else self.dimensions),
                *(("hidden", width) for width in self.hidden),
            ]
            if type(value) is not int or not 1 <= value <= _MOST
        ]
        if (self.choices is None) == (self.dimensions is None):
            problems.append(
                f"choices and dimensions: got {self.choices} and {self.dimensions}, expected one of them and None"
            )
        if type(self.critic) is not bool:
            problems.append(f"critic: got {self.critic!r}, expected true or false")
        if problems:
            raise SettingsError(problems)

    def numbers(self) -> int:
        """How many weights the policy's network has, biases and critic left out: 4,480 for CartPole."""
        widths = (self.observations, *self.hidden, self.choices or self.dimensions or 0)
        return sum(before * after for before, after in pairwise(widths))


class SmallPolicy(Acting):
    """Hidden layers of tanh for the policy, as many for the critic; two of 64 in the PPO paper (arXiv:1707.06347).

    Weights are orthogonal (gain √2; policy's last layer 0.01, critic's 1), biases 0. A vector action is normal with a
    log standard deviation that is the same in every state and begins at 0.

    **Who scales observations**: `scale` holds the running mean and variance that the collector counted, is saved with
    the policy, and is applied by `scaled(raw)` alone. Everything else here takes observations that are scaled already,
    because a batch holds them as the policy saw them.

    Example:
        policy = SmallPolicy(SmallShape(observations=4, choices=2), seed=1)
        policy(batch, with_entropy=True, with_values=True).values_BT
    """

    def __init__(self, shape: SmallShape, *, seed: int = 0, device: str | torch.device = "cpu") -> None:
        self.shape = shape
        self.device = torch.device(device)
        self.scale: ObservationScale | None = None
        generator = torch.Generator().manual_seed(seed)
        head = shape.choices or shape.dimensions
        assert head is not None
        self._parameters = _network("policy", shape, head, 0.01, generator)
        if shape.dimensions is not None:
            self._parameters["policy.log_std"] = nn.Parameter(torch.zeros(shape.dimensions))
        if shape.critic:
            self._parameters |= _network("critic", shape, 1, 1.0, generator)
        for parameter in self._parameters.values():
            parameter.data = parameter.data.to(self.device)
        self._gather()

    def _gather(self) -> None:
        """Keeps each network's layers in order: a look-up by name at every step would take longer than a layer."""
        depth = len(self.shape.hidden) + 1
        own = self._parameters
        self._policy = [(own[f"policy.{i}.weight"], own[f"policy.{i}.bias"]) for i in range(depth)]
        self._value = [(own[f"critic.{i}.weight"], own[f"critic.{i}.bias"]) for i in range(depth) if self.shape.critic]
        self._log_std = own.get("policy.log_std")
        self._views: tuple[Any, Any] = (None, None)
        """What `networks` gave last, and where the tensors stood: to make views takes longer than a layer."""

    def __call__(
        self, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False, with_values: bool = False
    ) -> Outputs:
        """Log-probabilities of the batch's actions, differentiable; entropy and values where asked for.

        Raises:
            ValueError: temperature is not above 0; values are asked for and there is no critic.
        """
        mask_BT = batch.action_mask_BT
        observations_NO, actions_N = self._flattened(batch)
        distribution = self._distribution(observations_NO, temperature)
        return Outputs(
            spread(distribution.log_prob(actions_N), mask_BT),
            spread(distribution.entropy(), mask_BT) if with_entropy else None,
            spread(self._values(observations_NO), mask_BT) if with_values else None,
        )

    def networks(self, which: tuple[bool, bool]) -> tuple[Any, Any]:
        """What `passes.epoch` learns with, views of the weights and of their gradients: the policy and the critic, and
        log σ. Of `which` is not learnt (policy, critic) there need be no gradients."""
        from rung.models.small.passes import layers_of

        policy, critic = self._policy if which[0] else self._value, self._value if which[1] else self._policy
        every = [one for own in (policy, critic) for pair in own for one in pair]
        stands = which, [(one.data_ptr(), 0 if one.grad is None else one.grad.data_ptr()) for one in every]
        if stands != self._views[0]:
            found = tuple(layers_of(own, gradients=grads) for own in (policy, critic) for grads in (False, True))
            self._views = stands, found
        networks = self._views[1]
        nothing = np.zeros(0, np.float32)
        if self._log_std is None or not which[0]:
            return networks, (nothing, nothing)
        assert self._log_std.grad is not None
        return networks, (self._log_std.detach().numpy(), self._log_std.grad.numpy())

    def distribution(self, batch: Batch, *, temperature: float = 1.0, twice: bool = False) -> Distribution:
        """The distribution at each of the batch's own actions, [N] in row order, differentiable once, and `twice`."""
        return self._distribution(self._flattened(batch)[0], temperature)

    def fisher(self, batch: Batch, *, temperature: float = 1.0) -> Callable[[Tensor], Tensor]:
        """v -> F v over the policy's numbers in a row, F the Hessian of the mean KL(π_old ‖ π) at π = π_old: what
        autograd finds by differentiating twice, without its graph."""
        from rung.models.small import passes

        layers = passes.layers_of(self._policy)
        given = tuple(passes.forward(layers, np.ascontiguousarray(self._flattened(batch)[0].numpy()), True))
        log_std_A = np.zeros(0, np.float32) if self._log_std is None else self._log_std.detach().numpy()

        def image(vector_P: Tensor) -> Tensor:
            along_P = np.ascontiguousarray(vector_P.numpy(), np.float32)
            found_P = 2.0 * along_P  # ∂²KL/∂(log σ)² = 2 in each dimension
            along, found = passes.layers_in(along_P, layers), passes.layers_in(found_P, layers)
            passes.fisher_image(layers, given, log_std_A, along, found, temperature)
            return torch.from_numpy(found_P)

        return image

    def actor(self) -> SmallActor:
        """Draws actions from the distribution as it is now; for collecting."""
        return SmallActor(self._policy, self._log_std)

    @property
    def observation_form(self) -> tuple[tuple[int, ...], type[np.generic]]:
        return (self.shape.observations,), np.float32

    def mode(self, observations_NO: npt.NDArray[np.float32], /) -> npt.NDArray[Any]:
        """The likeliest action of each state, for a greedy evaluation."""
        return self.actor().mode(observations_NO)

    def values(self, observations_NO: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[N] the critic's V of each state. ValueError when there is no critic."""
        from rung.models.small.passes import forward, layers_of

        self._require_critic()
        return forward(layers_of(self._value), observations_NO, True)[-1][:, 0]

    def state_values(self, observations_NO: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32] | None:
        """[N] the critic's V; None without one."""
        return self.values(observations_NO) if self._value else None

    def scaled(self, raw_NO: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
        """Raw observations as the networks want them; unchanged where `scale` is None."""
        return raw_NO if self.scale is None else self.scale(raw_NO)

    def _distribution(self, observations_NO: Tensor, temperature: float) -> Distribution:
        """π^(1/temperature), normalised: logits / temperature, or a variance times temperature."""
        if not temperature > 0:
            raise ValueError(f"temperature: got {temperature}, expected a number above 0")
        out_NV = through(self._policy, observations_NO)
        if self._log_std is None:
            return Categorical.of_logits(out_NV if temperature == 1.0 else out_NV / temperature)
        return Gaussian(out_NV, self._tempered(self._log_std, temperature))

    @staticmethod
    def _tempered(log_std_A: Tensor, temperature: float) -> Tensor:
        return log_std_A if temperature == 1.0 else log_std_A + 0.5 * math.log(temperature)

    def _require_critic(self) -> None:
        if not self._value:
            raise ValueError("this policy has no critic: make it with SmallShape(critic=True)")

    def _values(self, observations_NO: Tensor) -> Tensor:
        self._require_critic()
        return through(self._value, observations_NO)[:, 0]

    def _flattened(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Observations [N, O] and actions [N] or [N, A] where the mask is True, in row order; the rest is not read."""
        mask_BT, contexts = batch.action_mask_BT, batch.contexts
        whole = bool(mask_BT.all())
        if isinstance(contexts, Tensor):
            seen_N = contexts.flatten(0, 1) if whole else contexts[mask_BT]
        else:
            seen_N = torch.cat([row[mask_T[: len(row)]] for row, mask_T in zip(contexts, mask_BT, strict=True)])
        actions_N = batch.actions_BT.flatten(0, 1) if whole else batch.actions_BT[mask_BT]
        assert len(seen_N) == len(actions_N), (len(seen_N), len(actions_N))
        return seen_N.flatten(1).to(self.device), actions_N.to(self.device)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained: `policy.*` and the critic's `critic.*`."""
        return {name: p for name, p in self._parameters.items() if p.requires_grad}

    def reference(self) -> SmallPolicy:
        """A frozen copy of the policy as it is now."""
        made = copy.copy(self)
        made._parameters = {
            name: nn.Parameter(p.detach().clone(), requires_grad=False) for name, p in self._parameters.items()
        }
        made._gather()
        return made

    def weights(self) -> dict[str, Tensor]:
        """Every weight by name."""
        return {name: p.detach() for name, p in self._parameters.items()}

    def state(self) -> dict[str, Tensor]:
        """All tensors, detached: parameters, and `observation.mean` and `.variance` where observations are scaled."""
        scale = {} if self.scale is None else self.scale.tensors()
        return {**{name: p.detach() for name, p in self._parameters.items()}, **scale}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over the tensors of `state`. CheckpointError when they do not fit; nothing is changed then."""
        scale, rest, wrong = ObservationScale.from_tensors(tensors, self.shape.observations)
        take_over(self._parameters, rest, "this small policy", wrong=wrong)
        self.scale = scale

    def save(self, folder: str | Path) -> None:
        """Write the shape as JSON and the tensors as safetensors into `folder`, with the observations' scale."""
        save_shaped(Path(folder), NAME, self.shape, self.state())

    @staticmethod
    def load(folder: Path) -> SmallPolicy:
        """The policy that `save` wrote. DataError when the folder holds none or it does not fit together."""
        return load_shaped(folder, NAME, SmallShape, SmallPolicy)


def _network(
    name: str, shape: SmallShape, out: int, last_gain: float, generator: torch.Generator
) -> dict[str, nn.Parameter]:
    widths = (shape.observations, *shape.hidden, out)
    made: dict[str, nn.Parameter] = {}
    for index in range(len(widths) - 1):
        weight = torch.empty(widths[index + 1], widths[index])
        gain = last_gain if index == len(widths) - 2 else math.sqrt(2)
        made[f"{name}.{index}.weight"] = nn.Parameter(nn.init.orthogonal_(weight, gain, generator=generator))
        made[f"{name}.{index}.bias"] = nn.Parameter(torch.zeros(widths[index + 1]))
    return made


def through(layers: Sequence[tuple[Tensor, Tensor]], inputs_N: Tensor) -> Tensor:
    """W_n tanh(... tanh(W_1 x + b_1) ...) + b_n, differentiable.

    >>> layer = torch.tensor([[2.0]]), torch.tensor([1.0])
    >>> through([layer, layer], torch.tensor([[0.0]]))
    tensor([[2.5232]])
    """
    if not torch.is_grad_enabled() and inputs_N.device.type == "cpu" and inputs_N.dtype == torch.float32:
        from rung.models.small.passes import forward, layers_of

        return torch.from_numpy(forward(layers_of(layers), inputs_N.contiguous().numpy(), True)[-1])
    for weight, bias in layers[:-1]:
        inputs_N = torch.tanh(F.linear(inputs_N, weight, bias))
    return F.linear(inputs_N, *layers[-1])


class SmallActor:
    """A policy's distribution, to draw from. It looks at the weights as they are when it is made: make one for each
    collecting.

    Example:
        actions_N, log_probs_N = policy.actor()(observations_NO, uniforms_N)
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], log_std_A: Tensor | None) -> None:
        from rung.models.small import passes

        self._passes, self.layers = passes, passes.layers_of(layers)
        self.log_std_A = np.zeros(0, np.float32) if log_std_A is None else log_std_A.detach().cpu().numpy()

    def __call__(
        self, observations_NO: npt.NDArray[np.float32], uniforms: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Drawn actions and their log-probabilities.

        Args:
            observations_NO: float32, scaled.
            uniforms: float64 in [0, 1): [N] for choices, [N, A] for vectors.

        Returns:
            [N] int64 choices or [N, A] float32 vectors, and [N] float32.
        """
        luck = self.luck(uniforms)
        if not len(self.log_std_A):
            return self._passes.draw_choices(self.layers, observations_NO, luck)
        return self._passes.draw_vectors(self.layers, self.log_std_A, observations_NO, luck)

    def luck(self, uniforms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What is drawn by: the uniform numbers themselves for choices, for vectors normal ones."""
        return standard_normals(torch.from_numpy(uniforms)).numpy() if len(self.log_std_A) else uniforms

    def mode(self, observations_NO: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """The likeliest action of each state: the first of equals, or the mean."""
        out_N = self._out(observations_NO)
        return out_N if len(self.log_std_A) else out_N.argmax(1)

    def _out(self, observations_NO: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._passes.forward(self.layers, np.ascontiguousarray(observations_NO), True)[-1]


def spread(values_N: Tensor, mask_BT: Tensor) -> Tensor:
    """[B,T] with the N numbers where the mask is True, exactly 0 elsewhere."""
    if values_N.numel() == mask_BT.numel():
        return values_N.view(mask_BT.shape)
    return values_N.new_zeros(mask_BT.shape).masked_scatter(mask_BT.to(values_N.device), values_N)
