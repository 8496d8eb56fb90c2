"""The cart-pole of 1983: a pole hinged to a cart on a track, pushed left or right until the pole falls.

Not Gymnasium's CartPole-v1: a trial starts at the very centre, the only reward is -1 at the failure, and there is no
time limit. The state is seen as one of 162 boxes. Barto, Sutton and Anderson, IEEE Transactions on Systems, Man, and
Cybernetics 13:834-846.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from rung.errors import SettingsError

GRAVITY = 9.8
"""m/s²."""
CART, POLE = 1.0, 0.1
"""Masses, kg."""
HALF_LENGTH = 0.5
"""Of the pole, m."""
FORCE = 10.0
"""Of a push to either side, N."""
SECONDS = 0.02
"""One time step, by Euler's method."""
FARTHEST, STEEPEST = 2.4, math.radians(12)
"""Beyond these the trial has failed: m from the centre, rad from upright."""
POSITIONS = (-0.8, 0.8)
SPEEDS = (-0.5, 0.5)
ANGLES = tuple(math.radians(degrees) for degrees in (-6, -1, 0, 1, 6))
SPINS = (-math.radians(50), math.radians(50))
"""Where one box ends and the next begins; a state on an edge is in the upper box."""
BOX_COUNT = 162
FAILED = -1
"""In place of a box."""
NAME = "cartpole-1983"


@dataclass(frozen=True, kw_only=True)
class CartPole1983:
    """The cart-pole of 1983: a pole hinged to a cart on a track, pushed left or right until the pole falls.

    `load_task("cartpole-1983")` gives one.

    Friction is off, as in the authors' own program pole.c; the paper's equations have it. Simulators that descend from
    the paper use `track_friction` 5e-4 and `pivot_friction` 2e-6.
    """

    track_friction: float = 0.0
    """Between cart and track."""
    pivot_friction: float = 0.0
    """Between pole and cart."""
    most_steps: int = 500_000
    """A run ends after so many time steps of all its trials together: 2.8 hours of the cart's own time."""
    name: ClassVar[str] = NAME

    def __post_init__(self) -> None:
        problems = [
            f"{name}: got {value}, expected a number of at least 0"
            for name, value in (("track_friction", self.track_friction), ("pivot_friction", self.pivot_friction))
            if not (math.isfinite(value) and value >= 0)
        ]
        if self.most_steps < 1:
            problems.append(f"most_steps: got {self.most_steps}, expected at least 1")
        if problems:
            raise SettingsError(problems)

    @property
    def friction(self) -> tuple[float, float]:
        return self.track_friction, self.pivot_friction


def moved(
    position: float, speed: float, angle: float, spin: float, force: float, track: float, pivot: float
) -> tuple[float, float, float, float]:
    """The state 0.02 s later, each quantity advanced by its rate at the beginning (the paper's appendix).

        θ'' = [ g sin θ − cos θ (F + m l θ'² sin θ − μc sgn x') / M − μp θ' / (m l) ] / [ l (4/3 − m cos² θ / M) ]
        x'' = [ F + m l (θ'² sin θ − θ'' cos θ) − μc sgn x' ] / M            M: cart and pole together

    Args:
        position: m. speed: m/s. angle: rad from upright. spin: rad/s. force: N, to the right.
        track, pivot: coefficients of friction μc, μp.
    """
    sine, cosine = math.sin(angle), math.cos(angle)
    drag = track if speed > 0.0 else (-track if speed < 0.0 else 0.0)
    push = (force + POLE * HALF_LENGTH * spin * spin * sine - drag) / (CART + POLE)
    turn = (GRAVITY * sine - cosine * push - pivot * spin / (POLE * HALF_LENGTH)) / (
        HALF_LENGTH * (4.0 / 3.0 - POLE * cosine * cosine / (CART + POLE))
    )
    pull = push - POLE * HALF_LENGTH * turn * cosine / (CART + POLE)
    return position + SECONDS * speed, speed + SECONDS * pull, angle + SECONDS * spin, spin + SECONDS * turn


def box_of(position: float, speed: float, angle: float, spin: float) -> int:
    """The box that a state is in, 0..161, or FAILED: 3 positions x 3 speeds x 6 angles x 3 spins.

    Written out because numba compiles it, which knows neither `bisect` nor tuples of several lengths in one loop.

    >>> box_of(0.0, 0.0, 0.0, 0.0)
    85
    >>> box_of(2.5, 0.0, 0.0, 0.0)
    -1
    """
    if position < -FARTHEST or position > FARTHEST or angle < -STEEPEST or angle > STEEPEST:
        return FAILED
    box, size = 0, 1
    for edge in POSITIONS:
        if position >= edge:
            box += size
    size *= len(POSITIONS) + 1
    for edge in SPEEDS:
        if speed >= edge:
            box += size
    size *= len(SPEEDS) + 1
    for edge in ANGLES:
        if angle >= edge:
            box += size
    size *= len(ANGLES) + 1
    for edge in SPINS:
        if spin >= edge:
            box += size
    return box
