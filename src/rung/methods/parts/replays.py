"""The replay: how many steps are kept, and which of them are learnt from again. On a text task a step is a token."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rung.formulas import value_targets


@dataclass(frozen=True)
class Uniform:
    """Every step that is kept is drawn with the same chance (Lin 1993; arXiv:1312.5602)."""

    capacity: int = 1_000_000
    """Steps that are kept; the oldest goes first."""
    starts: int = 50_000
    """Steps before the first update."""
    batch: int = 32
    """Steps of one update."""

    @property
    def formula(self) -> str:
        return f"{self.batch} steps of the last {self.capacity:,}, drawn uniformly"


@dataclass(frozen=True)
class Prioritised:
    """A step is drawn in proportion to how wrong Q was about it, and weighted for that (arXiv:1511.05952)."""

    capacity: int = 1_000_000
    starts: int = 50_000
    batch: int = 32
    alpha: float = 0.6
    """0: uniform; 1: in proportion to the error."""
    beta: float = 0.4
    """Of the weights (size · P)^−β, at the start; it rises linearly to 1."""
    beta_over: int = 12_500_000
    """Updates over which β rises to 1."""
    epsilon: float = 1e-6
    """Added to every error, so that no step is lost for good."""

    @property
    def formula(self) -> str:
        return (
            f"{self.batch} steps of the last {self.capacity:,}, drawn in proportion to (|δ| + {self.epsilon:g})^"
            f"{self.alpha:g}, weighted by (size · P)^−β / max, β from {self.beta:g} to 1"
        )

    def priorities(self, errors_N: Tensor) -> Tensor:
        """[N] from the errors that the steps were learnt with."""
        return value_targets.priority(errors_N, self.alpha, self.epsilon)

    def weights(self, chances_N: Tensor, size: int, update: int) -> Tensor:
        """[N] of a minibatch drawn with these chances from `size` steps, at update 0, 1, 2, ..."""
        beta = min(1.0, self.beta + (1.0 - self.beta) * update / self.beta_over)
        return value_targets.importance(chances_N, size, beta)


Replay = Uniform | Prioritised
