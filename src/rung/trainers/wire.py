"""What processes that learn together send each other: JSON, and tensors beside it. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch, Processes
from rung.random import Stream
from rung.rollouts.sampling import Prompt
from rung.trainers.preferences.tokens import PairRows

CLASSES: Mapping[str, type[Any]] = {one.__name__: one for one in (Batch, PairRows, Prompt, Stream)}
TYPES = {str(one): one for one in (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int32, torch.bool)}
TENSOR, ARRAY, CLASS, TUPLE = "tensor", "array", "class", "tuple"


def packed(value: Any) -> tuple[Any, list[Tensor]]:
    """A value as JSON-like data, and the tensors that stand in it as numbers; one that stands there twice goes once, as
    the prompt that the rows of a group share."""
    tensors: list[Tensor] = []
    places: dict[int, int] = {}

    def place_of(tensor: Any, make: Any) -> int:
        if id(tensor) not in places:
            places[id(tensor)] = len(tensors)
            tensors.append(make(tensor))
        return places[id(tensor)]

    def pack(one: Any) -> Any:
        if isinstance(one, Tensor):
            return {TENSOR: place_of(one, lambda t: t.detach().cpu())}
        if isinstance(one, np.ndarray):
            return {ARRAY: place_of(one, torch.from_numpy)}
        if is_dataclass(one) and type(one).__name__ in CLASSES:
            inside = {f.name: getattr(one, f.name) for f in fields(one)}
            kept = {name: pack(field) for name, field in inside.items() if not isinstance(field, Processes)}
            return {CLASS: type(one).__name__, "fields": kept}
        if isinstance(one, Mapping):
            return {"items": [[name, pack(item)] for name, item in one.items()]}
        if isinstance(one, list | tuple):
            return {TUPLE: [pack(item) for item in one]}
        assert one is None or isinstance(one, str | int | float | bool), f"a {type(one).__name__} is not sent"
        return one

    return pack(value), tensors


def unpacked(data: Any, tensors: Sequence[Tensor]) -> Any:
    """The value that `packed` took apart."""
    if not isinstance(data, dict):
        return data
    if TENSOR in data:
        return tensors[data[TENSOR]]
    if ARRAY in data:
        return tensors[data[ARRAY]].numpy()
    if CLASS in data:
        return CLASSES[data[CLASS]](**{name: unpacked(field, tensors) for name, field in data["fields"].items()})
    if TUPLE in data:
        return tuple(unpacked(item, tensors) for item in data[TUPLE])
    return {name: unpacked(item, tensors) for name, item in data["items"]}


def header_of(tensors: Sequence[Tensor]) -> list[list[Any]]:
    """Type and shape of each, as JSON-like data."""
    return [[str(tensor.dtype), list(tensor.shape)] for tensor in tensors]


def empty(kind: str, shape: Sequence[int]) -> Tensor:
    """A tensor of a header's type and shape, to be received into."""
    return torch.empty(list(shape), dtype=TYPES[kind])


def bytes_of(tensor: Tensor) -> Tensor:
    """The tensor's bytes in its own memory."""
    return tensor.reshape(-1).view(torch.uint8)
