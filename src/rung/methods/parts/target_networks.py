"""The target network: an older copy of Q, which the targets are made with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Every:
    """Targets are made with a copy of Q that is brought up to date now and then (doi:10.1038/nature14236)."""

    updates: int = 10_000
    """Updates of Q between two of the copy."""
    share: float = 1.0
    """1: the copy becomes Q; less: it moves by this share of the way."""

    @property
    def formula(self) -> str:
        way = "θ⁻ ← θ" if self.share == 1 else f"θ⁻ ← {self.share:g} θ + {1 - self.share:g} θ⁻"
        return f"{way} every {self.updates:,} updates"


TargetNetwork = Every
