"""An ensemble of small networks that predict the reward of a step, each normalised, then averaged.

Legend: **P** predictors, **N** steps, **D** numbers of a step: its observation, then its action.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from rung.models.small.observation_scale import ObservationScale
from rung.models.state import take_over

SLOPE = 0.01
"""Of the leaky ReLU below 0 (Christiano et al. 2017, appendix A.1)."""
_LEAST_STD = 1e-6


class RewardEnsemble:
    """r̂(o, a): P networks of two hidden layers of leaky ReLU that share nothing, computed as one.

    `scale` brings inputs to mean 0 and variance 1, once somebody has set it. A prediction is only known up to a
    constant and a factor, so `normalise` measures each network's mean and standard deviation over steps that are
    given, and `rewards` is the mean over the networks of what is left, brought to standard deviation 1 again.

    Example:
        ensemble = RewardEnsemble(inputs=4, members=3, seed=1)
        ensemble.normalise(steps_ND)
        ensemble.rewards(steps_ND).std()  # 1
    """

    def __init__(self, *, inputs: int, members: int, seed: int = 0) -> None:
        self.members = members
        self.scale: ObservationScale | None = None
        generator = torch.Generator().manual_seed(seed)
        self._parameters: dict[str, nn.Parameter] = {}
        widths = (inputs, 64, 64, 1)
        gain = math.sqrt(2 / (1 + SLOPE**2))
        for index, (before, after) in enumerate(pairwise(widths)):
            last = index == len(widths) - 2
            weights = [
                nn.init.orthogonal_(torch.empty(before, after), 0.1 if last else gain, generator=generator)
                for _ in range(members)
            ]
            self._parameters[f"{index}.weight"] = nn.Parameter(torch.stack(weights))
            self._parameters[f"{index}.bias"] = nn.Parameter(torch.zeros(members, 1, after))
        self._depth = len(widths) - 1
        self.mean_P = torch.zeros(members)
        self.std_P = torch.ones(members)
        self.std = 1.0
        """Of the mean of the normalised predictions, which disagreement makes less than 1."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """By name; the first dimension is the predictor's."""
        return self._parameters

    def squared_weights(self) -> Tensor:
        """[P] the sum of squares of each predictor's weights, biases left out; differentiable."""
        weights = [tensor for name, tensor in self._parameters.items() if name.endswith("weight")]
        return torch.stack([tensor.square().sum((1, 2)) for tensor in weights]).sum(0)

    def __call__(self, steps: Tensor) -> Tensor:
        """[P, N] predictions, not normalised, differentiable.

        Args:
            steps: float32, [N, D] for the same steps to all, or [P, N, D] for each predictor's own.
        """
        hidden = self._scaled(steps)
        hidden = hidden.expand(self.members, *hidden.shape) if hidden.ndim == 2 else hidden
        for index in range(self._depth):
            bias, weight = self._parameters[f"{index}.bias"], self._parameters[f"{index}.weight"]
            hidden = torch.baddbmm(bias, hidden, weight)
            if index < self._depth - 1:
                hidden = torch.nn.functional.leaky_relu(hidden, SLOPE)
        return hidden[..., 0]

    def _scaled(self, steps: Tensor) -> Tensor:
        if self.scale is None:
            return steps
        flat = steps.reshape(-1, steps.shape[-1]).numpy()
        return torch.from_numpy(self.scale(flat)).view(steps.shape)

    @torch.no_grad()
    def normalise(self, steps_ND: Tensor) -> None:
        """From now on predictions have mean 0 and standard deviation 1 over these steps, one by one and together."""
        raw_PN = self(steps_ND).double()
        self.mean_P = raw_PN.mean(1).float()
        self.std_P = raw_PN.std(1, correction=0).clamp(min=_LEAST_STD).float()
        self.std = max(float(self._averaged(raw_PN).std(correction=0)), _LEAST_STD)

    def _averaged(self, raw_PN: Tensor) -> Tensor:
        return ((raw_PN - self.mean_P[:, None].double()) / self.std_P[:, None].double()).mean(0)

    @torch.no_grad()
    def rewards(self, steps_ND: Tensor) -> Tensor:
        """[N] float64: the reward to learn from."""
        return self._averaged(self(steps_ND).double()) / self.std

    def state(self) -> dict[str, Tensor]:
        """All tensors, detached."""
        scale = {} if self.scale is None else self.scale.tensors()
        measured = {"mean": self.mean_P, "std": self.std_P, "std_of_mean": torch.tensor(self.std, dtype=torch.float64)}
        return {**{name: p.detach() for name, p in self._parameters.items()}, **measured, **scale}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave. CheckpointError when it is another ensemble's."""
        first = self._parameters["0.weight"]
        scale, rest, wrong = ObservationScale.from_tensors(tensors, first.shape[1])
        measured = {name: torch.zeros(self.members) for name in ("mean", "std")}
        measured["std_of_mean"] = torch.zeros((), dtype=torch.float64)
        take_over({**self._parameters, **measured}, rest, "this ensemble of reward predictors", wrong=wrong)
        self.mean_P, self.std_P, self.std = measured["mean"], measured["std"], float(measured["std_of_mean"])
        self.scale = scale
