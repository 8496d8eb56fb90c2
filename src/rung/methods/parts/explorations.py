"""How actions are chosen while learning: mostly the best by Q, sometimes another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpsilonGreedy:
    """The best action by Q, but with probability ε any action, each alike; ε falls linearly, then stays."""

    start: float = 1.0
    end: float = 0.1
    over: int = 1_000_000
    """Environment steps, or tokens, over which ε falls from `start` to `end`."""
    evaluation: float = 0.05
    """ε when the policy is scored by drawn actions (`evaluation.temperature` above 0), in environments."""

    @property
    def formula(self) -> str:
        return (
            f"ε-greedy, ε from {self.start:g} to {self.end:g} over {self.over:,} steps; {self.evaluation:g} when scored"
        )

    def epsilon_at(self, step: int) -> float:
        """ε of environment step, or token, 0, 1, 2, ...

        >>> [round(EpsilonGreedy(over=100).epsilon_at(step), 2) for step in (0, 50, 100, 1000)]
        [1.0, 0.55, 0.1, 0.1]
        """
        return self.start + (self.end - self.start) * min(1.0, step / self.over)


@dataclass(frozen=True)
class Boltzmann:
    """π(a|s) ∝ exp(Q(s, a) / τ): better actions are likelier, and none is ruled out (Watkins 1989)."""

    temperature: float = 1.0
    """τ, in the units of Q."""

    @property
    def formula(self) -> str:
        return f"π(a|s) ∝ exp(Q(s, a) / {self.temperature:g})"


Exploration = EpsilonGreedy | Boltzmann
