"""What Q(s, a) is pulled towards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rung.formulas import value_targets


@dataclass(frozen=True)
class MaxTarget:
    """y = r + γ max_a Q(s', a): the network that the targets are made with both chooses and judges."""

    discount: float = 0.99
    steps: int = 1
    """Rewards that are taken as they came before Q is asked."""
    asks_twice: ClassVar[bool] = False
    """Whether the network being trained sees the next states too."""

    def formula(self, copy: bool) -> str:
        """In words; `copy`: there is a target network."""
        return f"y = {_rewards(self.steps, self.discount)} max_a {'Q⁻' if copy else 'Q'}(s', a)"

    def next_values(self, values_NV: Tensor | None, judged_NV: Tensor) -> Tensor:
        """[N] value of the next states: `values_NV` by the network being trained, `judged_NV` by the targets' own."""
        return value_targets.max_value(judged_NV)


@dataclass(frozen=True)
class DoubleTarget:
    """y = r + γ Q⁻(s', argmax_a Q(s', a)): Q chooses, its older copy judges (arXiv:1509.06461)."""

    discount: float = 0.99
    steps: int = 1
    """Rewards that are taken as they came before Q is asked."""
    asks_twice: ClassVar[bool] = True
    """Whether the network being trained sees the next states too."""

    def formula(self, copy: bool) -> str:
        """In words; `copy`: there is a target network, which `problems` of the method asks for."""
        return f"y = {_rewards(self.steps, self.discount)} Q⁻(s', argmax_a Q(s', a))"

    def next_values(self, values_NV: Tensor | None, judged_NV: Tensor) -> Tensor:
        """As MaxTarget's."""
        assert values_NV is not None, "both networks see the next states"
        return value_targets.double_value(values_NV, judged_NV)


def _rewards(steps: int, discount: float) -> str:
    if steps == 1:
        return f"r + {discount:g}"
    return f"∑_(k<{steps}) {discount:g}ᵏ rₖ + {discount:g}^{steps}"


ValueTarget = MaxTarget | DoubleTarget
