"""What is done to the advantages of a whole batch before they are used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rung.formulas import whitening


@dataclass(frozen=True)
class Whiten:
    """A ← (A - mean) / (std + ε) over every real token: the step's size no longer depends on the reward's."""

    per_minibatch: bool = False
    """Over each minibatch instead of the whole rollout."""
    shift: bool = True
    """False: only scaled, the mean is kept."""
    epsilon: float = 1e-8
    ddof: int = 0
    """0: population deviation; 1: sample deviation."""

    @property
    def formula(self) -> str:
        over = "minibatch" if self.per_minibatch else "batch"
        return f"A ← (A - mean)/(std + {self.epsilon:g}){'' if self.shift else ' + mean'} over the {over}'s tokens"

    def __call__(self, values_BT: Tensor, mask_BT: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
        return whitening.whitened(values_BT, mask_BT, total, shift=self.shift, epsilon=self.epsilon, ddof=self.ddof)
