"""A table with a push for every box of a divided state space: what the methods of 1968 and 1983 train."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rung.errors import CheckpointError, DataError

CONFIG, WEIGHTS = "box_policy.json", "box_policy.safetensors"
PUSH = "push"


class BoxPolicy:
    """Float64 tables, one number a box. `push` decides: right where it is at least 0, else left.

    What else a method keeps of each box stands beside it by name: the critic's `prediction`, BOXES' lives.

    Example: `BoxPolicy(("push", "prediction"), boxes=162).push` is 162 zeros.
    """

    def __init__(self, names: tuple[str, ...], *, boxes: int) -> None:
        assert PUSH in names, names
        self.boxes = boxes
        self.tables = {name: torch.zeros(boxes, dtype=torch.float64) for name in names}

    @property
    def push(self) -> Tensor:
        return self.tables[PUSH]

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """None: a table learns within a trial, without gradients."""
        return {}

    def numbers(self) -> int:
        """How many numbers are trained."""
        return self.boxes * len(self.tables)

    def state(self) -> dict[str, Tensor]:
        return {name: table.clone() for name, table in self.tables.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `state` gave. CheckpointError when the tables are other ones."""
        here = {name: tuple(table.shape) for name, table in self.tables.items()}
        there = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if here != there:
            raise CheckpointError(f"the tables saved are {there}, this method has {here}")
        for name, table in self.tables.items():
            table.copy_(tensors[name])

    def save(self, folder: Path) -> None:
        """The tables as safetensors, their names and number of boxes as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.state(), folder / WEIGHTS)
        said = {"boxes": self.boxes, "tables": list(self.tables)}
        (folder / CONFIG).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def load(folder: Path, *, boxes: int) -> BoxPolicy:
        """The policy that `save` wrote. DataError when the folder holds none for so many boxes."""
        try:
            tensors = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise DataError([f"policy: {folder} could not be loaded: {error}"]) from error
        sizes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        wrong = {name: size for name, size in sizes.items() if size != (boxes,)}
        if PUSH not in sizes or wrong or any(not bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise DataError(
                [f"policy: {folder} holds tables {sizes}, expected '{PUSH}' and finite numbers, {boxes} each"]
            )
        policy = BoxPolicy(tuple(tensors), boxes=boxes)
        policy.load_state({name: tensor.double() for name, tensor in tensors.items()})
        return policy
