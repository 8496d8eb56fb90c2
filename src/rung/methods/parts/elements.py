"""Actors and critic of a state space that is divided into boxes, each with numbers of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from rung.methods.parts.protocols import Formula
from rung.methods.ranges import ABOVE_0, BELOW_1, FROM_0, SHARE


@dataclass(frozen=True)
class SearchElement:
    """The associative search element (ASE): one weight a box, pushed by whatever reinforcement follows its actions."""

    step_size: Annotated[float, ABOVE_0] = 1000.0
    """α. It is large because r̂ times the trace is small: a hundredth of r̂ at first."""
    decay: Annotated[float, BELOW_1] = 0.9
    """δ of the eligibility trace, a time step."""
    noise: Annotated[float, FROM_0] = 0.01
    """Standard deviation σ of the noise on the weighted sum."""
    tables: ClassVar[tuple[str, ...]] = ("prediction",)

    @property
    def formula(self) -> str:
        return (
            f"y = sign(w·x + n), n ~ N(0, {self.noise:g}²);  "
            f"e ← {self.decay:g} e + {1 - self.decay:g} y x;  w ← w + {self.step_size:g} r̂ e"
        )


@dataclass(frozen=True)
class CriticElement:
    """The adaptive critic element (ACE): predicts the reinforcement to come, and turns a rare r into an r̂ at every
    step."""

    step_size: Annotated[float, ABOVE_0] = 0.5
    """β: how far an error moves the values."""
    gamma: Annotated[float, SHARE] = 0.95
    """γ, the discount a time step."""
    decay: Annotated[float, BELOW_1] = 0.8
    """λ of the trace, a time step."""

    @property
    def formula(self) -> str:
        return (
            f"p = v·x, 0 at a failure;  r̂ = r + {self.gamma:g} p(t) - p(t-1);  "
            f"x̄ ← {self.decay:g} x̄ + {1 - self.decay:g} x;  v ← v + {self.step_size:g} r̂ x̄"
        )


@dataclass(frozen=True)
class Lifetimes:
    """BOXES: each box keeps, for left and for right, how long the pole stayed up after it decided so, and takes the
    better one until the next failure."""

    decay: Annotated[float, SHARE] = 0.99
    """DK of lives and usages, at each failure that the box had a part in."""
    weight: Annotated[float, ABOVE_0] = 1.0
    """K, how many lifetimes the desired level counts as."""
    base: Annotated[float, FROM_0] = 20.0
    """C0 of the desired level, in time steps."""
    multiple: Annotated[float, FROM_0] = 1.0
    """C1 of the desired level: this times the mean lifetime of all trials so far."""
    tables: ClassVar[tuple[str, ...]] = ("left_life", "left_usage", "right_life", "right_usage")
    reads_critic: ClassVar[bool] = False
    formula = Formula(
        "value = (life + {weight:g} target) / (usage + {weight:g}), of left and of right;  "
        "target = {base:g} + {multiple:g} mean lifetime;  at a failure life ← {decay:g} life "
        "+ ∑(T_end - T_entered), usage ← {decay:g} usage + entries"
    )
