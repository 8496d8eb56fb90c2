"""How far Q may be from its target, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rung.formulas import value_targets


@dataclass(frozen=True)
class SquaredError:
    """(y − Q)²: the gradient grows with the error."""

    @property
    def formula(self) -> str:
        return "(y − Q(s, a))²"

    def losses(self, errors_N: Tensor) -> Tensor:
        """[N] of y − Q."""
        return value_targets.squared(errors_N)

    def slopes(self, errors_N: Tensor) -> Tensor:
        """[N] their derivatives in Q."""
        return value_targets.squared_slope(errors_N)


@dataclass(frozen=True)
class ClippedError:
    """½ (y − Q)² whose gradient is clipped, so that no single error moves Q far: Huber's loss."""

    limit: float = 1.0
    """The largest gradient."""

    @property
    def formula(self) -> str:
        return f"½ (y − Q(s, a))², its gradient clipped to ±{self.limit:g}"

    def losses(self, errors_N: Tensor) -> Tensor:
        """[N] of y − Q."""
        return value_targets.clipped(errors_N, self.limit)

    def slopes(self, errors_N: Tensor) -> Tensor:
        """[N] their derivatives in Q."""
        return value_targets.clipped_slope(errors_N, self.limit)


TDError = SquaredError | ClippedError
