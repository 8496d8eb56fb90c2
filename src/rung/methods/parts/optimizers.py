"""Optimizers of a policy: how a gradient becomes an update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from rung.formulas.optimizer_steps import Rule
from rung.methods.parts.protocols import Formula, fact
from rung.methods.ranges import ABOVE_0, ABOVE_0_TO_1, BELOW_1, BETWEEN_0_AND_1, FROM_0, FROM_1


def scheduled(update: int, warmup_steps: int, anneal: bool, progress: float) -> float:
    """The share of the learning rate that update 0, 1, 2, ... uses at this `progress` of the run, 0 to 1."""
    rising = min(1.0, (update + 1) / warmup_steps) if warmup_steps else 1.0
    return rising * (1.0 - progress) if anneal else rising


def rate_in_words(step: AdamW | RMSprop) -> str:
    """The learning rate and whether it stays.

    >>> rate_in_words(AdamW(learning_rate=1e-3)), rate_in_words(RMSprop(anneal=True))
    ('learning rate 0.001', 'learning rate 0.0007 falling to 0')
    """
    falls = " falling to 0" if step.anneal else " falling by 1/√updates" if fact(step, "inverse_sqrt", False) else ""
    return f"learning rate {step.learning_rate:g}{falls}"


@dataclass(frozen=True)
class AdamW:
    """One AdamW update a minibatch, with linear warm-up and a bound on the gradient's global norm."""

    learning_rate: Annotated[float, ABOVE_0] = 1e-6
    beta1: Annotated[float, BELOW_1] = 0.9
    beta2: Annotated[float, BELOW_1] = 0.999
    epsilon: Annotated[float, ABOVE_0] = 1e-8
    weight_decay: Annotated[float, FROM_0] = 0.0
    warmup_steps: Annotated[int, FROM_0] = 0
    """Updates over which the rate rises linearly."""
    anneal: bool = False
    """The rate falls linearly from step to step, to 0 at the run's end; else it stays."""
    inverse_sqrt: bool = False
    """After the warm-up the rate falls with one over the square root of the updates made."""
    max_grad_norm: Annotated[float, ABOVE_0] = 1.0
    means: ClassVar[Mapping[str, float]] = {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    @property
    def rule(self) -> Rule:
        return Rule(self.beta1, self.beta2, self.epsilon, False, True, self.weight_decay)

    @property
    def formula(self) -> str:
        return f"AdamW, {rate_in_words(self)}, gradient norm at most {self.max_grad_norm:g}"

    def learning_rate_at(self, update: int, progress: float = 0.0) -> float:
        """The rate of update 0, 1, 2, ...; `progress`, 0 to 1, is how much of the run was over before its step.

        >>> step = AdamW(learning_rate=1.0, warmup_steps=2, anneal=True)
        >>> [step.learning_rate_at(update, progress=update / 4) for update in range(4)]
        [0.5, 0.75, 0.5, 0.25]
        """
        beyond = (update + 1) / max(self.warmup_steps, 1) if self.inverse_sqrt else 1.0
        rate = self.learning_rate * scheduled(update, self.warmup_steps, self.anneal, progress)
        return rate / math.sqrt(max(beyond, 1.0))

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters,
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            fused=True,
        )


@dataclass(frozen=True)
class RMSprop:
    """One RMSprop update a minibatch, with a bound on the gradient's global norm: θ ← θ − rate · g / (√v + ε)."""

    learning_rate: Annotated[float, ABOVE_0] = 7e-4
    alpha: Annotated[float, BELOW_1] = 0.99
    epsilon: Annotated[float, ABOVE_0] = 1e-5
    tensorflow: bool = False
    """As in TensorFlow and so in Baselines: g / √(v + ε), where v, the running mean of g², begins at 1 and not at 0."""
    warmup_steps: Annotated[int, FROM_0] = 0
    """Updates over which the rate rises linearly."""
    anneal: bool = False
    """The rate falls linearly from step to step, to 0 at the run's end; else it stays."""
    max_grad_norm: Annotated[float, ABOVE_0] = 0.5

    @property
    def means(self) -> Mapping[str, float]:
        return {"mean_square": 1.0} if self.tensorflow else {"square_avg": 0.0}

    @property
    def rule(self) -> Rule:
        return Rule(0.0, self.alpha, self.epsilon, self.tensorflow, False, 0.0)

    @property
    def formula(self) -> str:
        origin = ", ε under the root and v from 1" if self.tensorflow else ""
        return f"RMSprop{origin}, {rate_in_words(self)}, gradient norm at most {self.max_grad_norm:g}"

    def learning_rate_at(self, update: int, progress: float = 0.0) -> float:
        return self.learning_rate * scheduled(update, self.warmup_steps, self.anneal, progress)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        if self.tensorflow:
            return RMSpropUnderRoot(
                parameters, lr=self.learning_rate, decay=self.alpha, eps=self.epsilon, first=1.0, centred=False
            )
        return torch.optim.RMSprop(parameters, lr=self.learning_rate, alpha=self.alpha, eps=self.epsilon)


class RMSpropUnderRoot(torch.optim.Optimizer):
    """g / √(mean of g² + ε), or centred g / √(mean of g² − (mean of g)² + ε).

    Torch's own adds ε behind the root, where it is another size, and its means begin at 0.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        *,
        lr: float,
        decay: float,
        eps: float,
        first: float,
        centred: bool,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "decay": decay, "eps": eps, "first": first, "centred": centred})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_of(parameter, parameter.grad, group)

    def _step_of(self, parameter: torch.nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state, keep = self.state[parameter], group["decay"]
        if not state:
            state["mean_square"] = torch.full_like(parameter, group["first"])
            if group["centred"]:
                state["mean"] = torch.zeros_like(parameter)
        spread = state["mean_square"].mul_(keep).addcmul_(gradient, gradient, value=1 - keep)
        if group["centred"]:
            mean = state["mean"].mul_(keep).add_(gradient, alpha=1 - keep)
            spread = torch.addcmul(spread, mean, mean, value=-1)
        parameter.addcdiv_(gradient, (spread + group["eps"]).sqrt_(), value=-group["lr"])


@dataclass(frozen=True)
class NaturalGradient:
    """The longest step along F⁻¹g that keeps the mean KL(π_old ‖ π) within a bound, found by a line search (TRPO).

    F⁻¹g comes from conjugate gradients on Fisher-vector products; the critic learns by AdamW beside it.
    """

    max_kl: Annotated[float, ABOVE_0] = 0.01
    """δ, nats a step."""
    iterations: Annotated[int, FROM_1] = 10
    """Conjugate-gradient steps."""
    damping: Annotated[float, FROM_0] = 0.1
    """Added to F's diagonal."""
    fisher_share: Annotated[float, ABOVE_0_TO_1] = 0.2
    """Share of the steps (of text: rows) from which F is estimated: every n-th, n the whole number nearest to its
    inverse."""
    backtracks: Annotated[int, FROM_0] = 9
    """Shorter steps tried after the longest, at most; then the policy stays as it is."""
    shrink: Annotated[float, BETWEEN_0_AND_1] = 0.5
    """Each shorter step is this fraction of the one before."""
    accept: Annotated[float, ABOVE_0] = 1.5
    """A step is taken if its KL is at most this multiple of `max_kl` and the surrogate has risen."""
    critic_learning_rate: Annotated[float, ABOVE_0] = 1e-3
    """Learning rate of the critic's AdamW."""
    num_critic_epochs: Annotated[int, FROM_0] = 5
    """The critic's passes over each rollout."""
    num_critic_minibatches: Annotated[int, FROM_1] = 1
    """Updates of the critic a pass, each on its share of the rollout."""
    trust_region: ClassVar[bool] = True
    alone: ClassVar[str] = "takes a natural-gradient step, which needs the whole gradient in one process"
    updates_allowed: ClassVar[int] = 1
    needs_old_log_probs: ClassVar[bool] = True
    means: ClassVar[Mapping[str, float]] = AdamW.means
    formula = Formula(
        "θ ← θ + √(2·{max_kl:g} / sᵀFs) s, s = F⁻¹g, times {shrink:g} until KL ≤ {accept:g}·{max_kl:g} and J rises"
    )

    @property
    def learning_rate(self) -> float:
        """The critic's, as are the next three."""
        return self.critic_learning_rate

    @property
    def max_grad_norm(self) -> float:
        return self._critics().max_grad_norm

    @property
    def rule(self) -> Rule:
        return self._critics().rule

    def learning_rate_at(self, update: int, progress: float = 0.0) -> float:
        return self._critics().learning_rate_at(update, progress)

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return self._critics().build(parameters)

    def _critics(self) -> AdamW:
        return AdamW(learning_rate=self.critic_learning_rate)
