"""Entropy: a bonus that comes when the policy grows too sure, and goes when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from rung.methods.ranges import ABOVE_0, FROM_0


@dataclass(frozen=True)
class EntropyTarget:
    """An entropy bonus only while the entropy is at or below a target; its weight grows and shrinks by steps.

    A bonus of fixed weight is too much for one task and too little for another (Skywork-OR1, arXiv:2505.22312).
    """

    target: Annotated[float, ABOVE_0] = 0.2
    """Nats a token."""
    weight: Annotated[float, FROM_0] = 0.0
    """Of the bonus, while it is on; its first value."""
    step: Annotated[float, ABOVE_0] = 0.005
    most: Annotated[float, ABOVE_0] = 1.0
    on: bool = False
    """Whether the entropy of the latest rollout was at or below the target."""

    @property
    def formula(self) -> str:
        return (
            f"+ α H where H ≤ {self.target:g} in the rollout before; "
            f"then α grows by {self.step:g} (at most {self.most:g}), else it shrinks"
        )

    def adapted(self, measured: Mapping[str, float]) -> EntropyTarget:
        """The bonus for the next rollout, from the mean entropy of the latest one's tokens."""
        if "entropy" not in measured:  # no token was left to learn from
            return self
        on = measured["entropy"] <= self.target
        weight = min(self.weight + self.step, self.most) if on else max(self.weight - self.step, 0.0)
        return replace(self, weight=weight, on=on)
