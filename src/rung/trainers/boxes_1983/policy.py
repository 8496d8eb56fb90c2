"""Policy of the methods of 1968 and 1983: a table with a push for every box of a divided state space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rung.errors import DataError
from rung.models.state import load_shaped, save_shaped, take_over
from rung.tasks.cart_pole import FAILED, box_of

NAME = "box_policy"
"""Of its files: a .json and a .safetensors."""
PUSH = "push"


@dataclass(frozen=True, kw_only=True)
class BoxShape:
    """How many boxes, and the tables kept of each. Example: `BoxShape(boxes=162, tables=("push", "prediction"))`."""

    boxes: int
    tables: tuple[str, ...]

    def __post_init__(self) -> None:
        if type(self.boxes) is not int or PUSH not in self.tables:
            raise ValueError(f"got {self.boxes!r} boxes with {self.tables}, expected a whole number and '{PUSH}'")

    def numbers(self) -> int:
        """How many numbers the tables hold."""
        return self.boxes * len(self.tables)


class BoxPolicy:
    """Float64 tables, one number a box. `push` decides: right where it is at least 0, else left.

    Other tables of a method have names too: the critic's `prediction`, BOXES' lives.

    Example: `BoxPolicy(("push", "prediction"), boxes=162).push` is 162 zeros.
    """

    def __init__(self, names: tuple[str, ...], *, boxes: int) -> None:
        assert PUSH in names, names
        self.boxes = boxes
        self.tables = {name: torch.zeros(boxes, dtype=torch.float64) for name in names}

    @property
    def push(self) -> Tensor:
        return self.tables[PUSH]

    def act(self, observation: Sequence[float]) -> int:
        """The likelier push for a state of the cart (position, speed, angle, angular speed): 1 right, 0 left.

        Right too in a state beyond the track or the angle, where the trial is over.
        """
        box = box_of(*(float(number) for number in observation))
        return int(box == FAILED or bool(self.push[box] >= 0))

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """None: a table learns within a trial, without gradients."""
        return {}

    def state(self) -> dict[str, Tensor]:
        return {name: table.clone() for name, table in self.tables.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `state` gave. CheckpointError when the tables are other ones; nothing is changed then."""
        take_over(self.tables, tensors, "this table of boxes")

    def save(self, folder: str | Path) -> None:
        """The tables as safetensors, their names and number of boxes as JSON."""
        save_shaped(Path(folder), NAME, BoxShape(boxes=self.boxes, tables=tuple(self.tables)), self.state())

    @staticmethod
    def load(folder: Path, *, boxes: int) -> BoxPolicy:
        """The policy that `save` wrote. DataError when the folder holds none for so many boxes."""
        policy = load_shaped(folder, NAME, BoxShape, lambda shape: BoxPolicy(shape.tables, boxes=shape.boxes))
        if policy.boxes != boxes or any(not bool(table.isfinite().all()) for table in policy.tables.values()):
            said = f"{policy.boxes} numbers a table, expected finite ones, {boxes} each"
            raise DataError([f"policy: {folder} has {said}"])
        return policy
