"""How much memory the process has needed so far."""

from __future__ import annotations

import resource
import sys

import torch


def peak_gib() -> float:
    """The largest memory so far in GiB: the accelerator's where there is one, else the process's own."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
