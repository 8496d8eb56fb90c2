"""How the gradient becomes an update."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch


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
        rising = min(1.0, (update + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        falling = max(0.0, 1.0 - update / self.decay_steps) if self.decay_steps else 1.0
        return self.learning_rate * rising * falling

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters,
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            weight_decay=self.weight_decay,
        )
