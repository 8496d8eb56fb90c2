"""The cart-pole of 1983 as a picture, with the few methods that filming an episode needs."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rung.tasks.cart_pole import FAILED, FARTHEST, FORCE, HALF_LENGTH, SECONDS, CartPole1983, box_of, moved

WIDTH, HEIGHT, SCALE = 400, 150, 70
"""Pixels; pixels a metre."""
GROUND, CART_WIDTH, CART_HEIGHT = 128, 34, 16

State = tuple[float, float, float, float]


class PicturedCartPole:
    """A trial from the centre. Actions are 1 and -1.

    Example: `PicturedCartPole(CartPole1983()).render().shape` is (150, 400, 3).
    """

    metadata: ClassVar[dict[str, int]] = {"render_fps": round(1 / SECONDS)}

    def __init__(self, task: CartPole1983) -> None:
        self.task = task
        self.state: State = (0.0, 0.0, 0.0, 0.0)

    def reset(self, *, seed: int | None = None) -> tuple[State, dict[str, Any]]:
        """Begins at the centre, whatever the seed."""
        self.state = (0.0, 0.0, 0.0, 0.0)
        return self.state, {}

    def step(self, action: int) -> tuple[State, float, bool, bool, dict[str, Any]]:
        self.state = moved(*self.state, FORCE * action, *self.task.friction)
        failed = box_of(*self.state) == FAILED
        return self.state, -1.0 if failed else 0.0, failed, False, {}

    def render(self) -> npt.NDArray[np.uint8]:
        """[height, width, 3]: the track with its two ends, the cart, the pole at its full length."""
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
        draw = ImageDraw.Draw(picture)
        ends = [WIDTH / 2 + side * FARTHEST * SCALE for side in (-1, 1)]
        draw.line([(ends[0], GROUND), (ends[1], GROUND)], fill="#8aa0bf", width=2)
        for end in ends:
            draw.line([(end, GROUND - 10), (end, GROUND + 2)], fill="#8aa0bf", width=2)
        position, _, angle, _ = self.state
        middle, top = WIDTH / 2 + position * SCALE, GROUND - CART_HEIGHT
        draw.rectangle([middle - CART_WIDTH / 2, top, middle + CART_WIDTH / 2, GROUND - 2], fill="#33507a")
        length = 2 * HALF_LENGTH * SCALE
        tip = (middle + length * math.sin(angle), top - length * math.cos(angle))
        draw.line([(middle, top), tip], fill="#b5652b", width=5)
        return np.asarray(picture)

    def close(self) -> None:
        """Nothing stands open."""
