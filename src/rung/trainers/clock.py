"""Seconds by phase."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from rung.trainers.trainer import Metrics


@dataclass
class Clock:
    """Seconds by phase since the last row of timings. A checkpoint follows its step's row, so the next row has it."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.add({name: time.perf_counter() - began})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Seconds of work that was done elsewhere, or before, and is paid for here."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more

    def timings(self, metrics: Metrics) -> Metrics:
        """Seconds by phase, their sum, and tokens a second over it; begins anew."""
        total = sum(self.seconds.values())
        tokens = metrics.get("tokens/generated")
        row: Metrics = {f"seconds/{name}": seconds for name, seconds in self.seconds.items()}
        self.seconds = {}
        return {**row, "seconds/step": total, "tokens_per_second": tokens / total if tokens and total > 0 else None}


def peak_gib() -> float:
    """The largest memory so far in GiB: the accelerator's where there is one, else the process's own."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
