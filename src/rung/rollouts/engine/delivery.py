"""What an engine is given: weights in buckets, in the engine's number format; of a LoRA the adapters alone.

Both sides take SHA-256 over what goes through the socket, so bytes that are lost or changed are seen. Whether the
engine then uses them is another question, which `proof.py` asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BUCKET = 256 * 2**20
"""Bytes of a bucket, at most; one tensor that is larger has a bucket of its own."""


@dataclass(frozen=True)
class Bucket:
    """Some tensors. `tensors`: name, number format and shape; `adapters`: of a weight the scale of its change."""

    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
    adapters: Mapping[str, float]
    parts: tuple[Any, ...]
    """Their bytes, one after another."""

    def header(self) -> dict[str, Any]:
        return {"ask": "bucket", "tensors": self.tensors, "adapters": self.adapters}

    def add_to(self, digest: Any) -> None:
        digest.update(json.dumps([self.tensors, self.adapters]).encode())
        for part in self.parts:
            digest.update(part)


def cut(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The names of each bucket, of tensors of so many bytes; both halves of an adapter stand in one."""
    names: list[str] = []
    for name, size in sizes.items():
        if names and not name.endswith(".weight.B") and sum(sizes[one] for one in names) + size > BUCKET:
            yield names
            names = []
        names.append(name)
    yield names


def bucket_of(tensors: Mapping[str, Tensor], scales: Mapping[str, float]) -> Bucket:
    """These tensors; of the adapters among them the scales too."""
    told = tuple((name, format_name(one.dtype), tuple(one.shape)) for name, one in tensors.items())
    parts = [one.detach().contiguous().cpu().view(-1).view(torch.uint8).numpy() for one in tensors.values()]
    return Bucket(told, {name: scale for name, scale in scales.items() if f"{name}.A" in tensors}, tuple(parts))


def format_name(dtype: torch.dtype) -> str:
    """A number format as an engine names it: `bfloat16`."""
    return str(dtype).removeprefix("torch.")
