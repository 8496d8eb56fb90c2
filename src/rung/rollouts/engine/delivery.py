"""What an engine is given: weights in buckets, in the engine's number format; of a LoRA the adapters alone.

Both sides take SHA-256 over what goes through the socket, so bytes that are lost or changed are seen. Whether the
engine then uses them is another question, which `proof.py` asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rung.models.language.lora import wrapped_layers

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

BUCKET = 256 * 2**20
"""Bytes of a bucket, at most; one tensor that is larger has a bucket of its own."""


@dataclass(frozen=True)
class Bucket:
    """Some tensors. `tensors`: name, number format and shape; `adapters`: of a weight the scale of its change."""

    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]
    adapters: Mapping[str, float]
    parts: tuple[Any, ...]
    """Their bytes, one after another."""

    def copied(self) -> Bucket:
        """With bytes of its own: the learner's weights change."""
        return replace(self, parts=tuple(part.copy() for part in self.parts))

    def header(self) -> dict[str, Any]:
        return {"ask": "bucket", "tensors": self.tensors, "adapters": self.adapters}


def digest_of(buckets: Iterable[Bucket]) -> tuple[Any, Iterator[Bucket]]:
    """A SHA-256 that has seen all buckets once the second, which gives them on, is used up."""
    digest = hashlib.sha256()

    def seen() -> Iterator[Bucket]:
        for bucket in buckets:
            digest.update(json.dumps([bucket.tensors, bucket.adapters]).encode())
            for part in bucket.parts:
                digest.update(part)
            yield bucket

    return digest, seen()


def whole(weights: Mapping[str, Tensor], dtype: torch.dtype) -> Iterator[Bucket]:
    """All weights as `TextPolicy.weights` names them, in this number format; of a LoRA the base."""
    tensors: list[tuple[str, Tensor]] = []
    size = 0
    for name, tensor in weights.items():
        if "lora_" in name:
            continue
        more = tensor.numel() * dtype.itemsize
        if size and size + more > BUCKET:
            yield _bucket(tensors)
            tensors, size = [], 0
        tensors.append((name.replace(".base_layer", ""), tensor.to(dtype)))
        size += more
    yield _bucket(tensors)


def adapters(policy: TextPolicy) -> Bucket:
    """The adapters of a LoRA, in float32; an empty bucket where there are none."""
    tensors: list[tuple[str, Tensor]] = []
    scales: dict[str, float] = {}
    for name, layer in wrapped_layers(policy.model).items():
        (adapter,) = layer.active_adapters
        scales[f"{name}.weight"] = float(layer.scaling[adapter])
        tensors.append((f"{name}.weight.A", layer.lora_A[adapter].weight))
        tensors.append((f"{name}.weight.B", layer.lora_B[adapter].weight))
    return _bucket(tensors, scales)


def adapted(policy: TextPolicy) -> list[str]:
    """The weights that have an adapter."""
    return [f"{name}.weight" for name in wrapped_layers(policy.model)]


def format_name(dtype: torch.dtype) -> str:
    """A number format as an engine names it: `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def _bucket(tensors: Sequence[tuple[str, Tensor]], scales: Mapping[str, float] | None = None) -> Bucket:
    told = tuple((name, format_name(one.dtype), tuple(one.shape)) for name, one in tensors)
    parts = [one.detach().contiguous().cpu().view(-1).view(torch.uint8).numpy() for _, one in tensors]
    return Bucket(told, scales or {}, tuple(parts))
