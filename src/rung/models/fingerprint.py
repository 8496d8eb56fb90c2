"""A short text that two models share only when their weights are the same to the last bit."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over every weight's name, shape, type and bytes; a LoRA adapter's own weights are not part of it, so it
    is the base's.

    >>> fingerprint(nn.Linear(2, 2)) == fingerprint(nn.Linear(2, 2))
    False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" in name:
            continue
        held = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(held.shape)} {held.dtype}".encode())
        digest.update(held.view(-1).view(torch.uint8).numpy().tobytes() if held.numel() else b"")
    return digest.hexdigest()
