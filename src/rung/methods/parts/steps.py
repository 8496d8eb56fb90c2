"""How the gradient becomes an update."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch


def scheduled(update: int, warmup_steps: int, decay_steps: int) -> float:
    """The share of the learning rate that update 0, 1, 2, ... uses: rising linearly, then constant or falling to 0."""
    rising = min(1.0, (update + 1) / warmup_steps) if warmup_steps else 1.0
    falling = max(0.0, 1.0 - update / decay_steps) if decay_steps else 1.0
    return rising * falling


@dataclass(frozen=True)
class AdamW:
    """One AdamW update a minibatch, with linear warm-up and a bound on the gradient's global norm."""

    learning_rate: float = 1e-6
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    warmup_steps: int = 0
    """Updates over which the rate rises linearly."""
    decay_steps: int = 0
    """Updates after which the rate has fallen linearly to 0; 0: it stays."""
    max_grad_norm: float = 1.0

    @property
    def formula(self) -> str:
        return f"AdamW, learning rate {self.learning_rate:g}, gradient norm at most {self.max_grad_norm:g}"

    def learning_rate_at(self, update: int) -> float:
        """The rate of update 0, 1, 2, ...: linear from rate/warmup_steps, then constant or falling linearly to 0.

        >>> [round(AdamW(learning_rate=1.0, warmup_steps=2, decay_steps=4).learning_rate_at(u), 2) for u in range(5)]
        [0.5, 0.75, 0.5, 0.25, 0.0]
        """
        return self.learning_rate * scheduled(update, self.warmup_steps, self.decay_steps)

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
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
    """One RMSprop update a minibatch, with a bound on the gradient's global norm (A3C)."""

    learning_rate: float = 7e-4
    alpha: float = 0.99
    epsilon: float = 1e-5
    warmup_steps: int = 0
    """Updates over which the rate rises linearly."""
    decay_steps: int = 0
    """Updates after which the rate has fallen linearly to 0; 0: it stays."""
    max_grad_norm: float = 0.5

    @property
    def formula(self) -> str:
        return f"RMSprop, learning rate {self.learning_rate:g}, gradient norm at most {self.max_grad_norm:g}"

    def learning_rate_at(self, update: int) -> float:
        """The rate of update 0, 1, 2, ..., as AdamW's."""
        return self.learning_rate * scheduled(update, self.warmup_steps, self.decay_steps)

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=self.learning_rate, alpha=self.alpha, eps=self.epsilon)


@dataclass(frozen=True)
class NaturalGradient:
    """The longest step along F⁻¹g that keeps the mean KL(π_old ‖ π) within a bound, found by a line search (TRPO).

    F⁻¹g comes from conjugate gradients on Fisher-vector products; the critic learns by AdamW beside it.
    """

    max_kl: float = 0.01
    """δ, nats a step."""
    iterations: int = 10
    """Conjugate-gradient steps."""
    damping: float = 0.1
    """Added to F's diagonal."""
    fisher_share: float = 0.2
    """Share of the rows on which F is taken."""
    backtracks: int = 10
    """Shorter steps tried after the longest, at most; then the policy stays as it is."""
    shrink: float = 0.5
    """Each shorter step is so many times the one before."""
    accept: float = 1.5
    """A step is taken if its KL is at most so many times `max_kl`, and the surrogate has risen."""
    critic_learning_rate: float = 1e-3
    """Of the critic's AdamW."""
    critic_epochs: int = 5
    """The critic's passes over each rollout."""
    critic_minibatches: int = 1
    """Updates of the critic a pass, each on its share of the rollout."""

    @property
    def formula(self) -> str:
        bound = f"{self.accept:g}·{self.max_kl:g}"
        return f"θ ← θ + √(2·{self.max_kl:g} / sᵀFs) s, s = F⁻¹g, times {self.shrink:g} until KL ≤ {bound} and J rises"

    def critic_step(self) -> AdamW:
        """The critic's own step."""
        return AdamW(learning_rate=self.critic_learning_rate)


Step = AdamW | RMSprop | NaturalGradient
