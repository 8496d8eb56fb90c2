"""How the gradient of Q's error becomes an update."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Adam:
    """One Adam update a minibatch, with a bound on the gradient's global norm where one is set."""

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    max_grad_norm: float | None = None

    @property
    def formula(self) -> str:
        return f"Adam, learning rate {self.learning_rate:g}{_bound(self.max_grad_norm)}"

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            parameters, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True
        )


@dataclass(frozen=True)
class CentredRMSprop:
    """θ ← θ − rate · g / √(mean of g² − (mean of g)² + ε), as DeepMind trained DQN (Graves 2013, arXiv:1308.0850)."""

    learning_rate: float = 2.5e-4
    decay: float = 0.95
    """Of both running means; the paper calls them gradient momentum and squared gradient momentum."""
    epsilon: float = 0.01
    """Under the root: the paper's minimum squared gradient."""
    max_grad_norm: float | None = None

    @property
    def formula(self) -> str:
        rate = f"{self.learning_rate:g}{_bound(self.max_grad_norm)}"
        return f"centred RMSProp, learning rate {rate}, {self.epsilon:g} under the root"

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return GravesRMSprop(parameters, lr=self.learning_rate, decay=self.decay, eps=self.epsilon)


class GravesRMSprop(torch.optim.Optimizer):
    """Torch's own centred RMSprop adds ε behind the root; Graves' has it under the root, where 0.01 is another size."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], *, lr: float, decay: float, eps: float) -> None:
        super().__init__(parameters, {"lr": lr, "decay": decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_of(parameter, parameter.grad, group)

    def _step_of(self, parameter: torch.nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["mean"], state["mean_square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        mean, mean_square, keep = state["mean"], state["mean_square"], group["decay"]
        mean.mul_(keep).add_(gradient, alpha=1 - keep)
        mean_square.mul_(keep).addcmul_(gradient, gradient, value=1 - keep)
        spread = torch.addcmul(mean_square, mean, mean, value=-1).add_(group["eps"]).sqrt_()
        parameter.addcdiv_(gradient, spread, value=-group["lr"])


def _bound(max_grad_norm: float | None) -> str:
    return "" if max_grad_norm is None else f", gradient norm at most {max_grad_norm:g}"


ValueStep = Adam | CentredRMSprop
