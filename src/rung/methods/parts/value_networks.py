"""The network that Q is: one output an action. Images go through convolutions, vectors through two hidden layers.

On a text task Q is a language model's own outputs, one a token, and these layers are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Layers2013:
    """Images: 16 8x8 stride 4, 32 4x4 stride 2, 256 units (arXiv:1312.5602). Vectors: two layers of ReLU.
    Text: none of it, a language model's own outputs are Q."""

    first: int = 64
    """Units of the first hidden layer, for observations that are vectors."""
    second: int = 64
    duelling: bool = False
    """Q(s, a) = V(s) + A(s, a) − mean A(s, ·): two heads on one network (arXiv:1511.06581)."""
    convolutions: ClassVar[tuple[tuple[int, int, int], ...]] = ((16, 8, 4), (32, 4, 2))
    """Channels, width of the kernel, stride."""
    units: ClassVar[int] = 256

    @property
    def hidden(self) -> tuple[int, int]:
        return (self.first, self.second)


@dataclass(frozen=True)
class Layers2015:
    """Images: 32 8x8 stride 4, 64 4x4 stride 2, 64 3x3 stride 1, 512 units (Nature). Vectors: two layers of ReLU.
    Text: none of it, a language model's own outputs are Q."""

    first: int = 64
    """Units of the first hidden layer, for observations that are vectors."""
    second: int = 64
    duelling: bool = False
    """Q(s, a) = V(s) + A(s, a) − mean A(s, ·): two heads on one network (arXiv:1511.06581)."""
    convolutions: ClassVar[tuple[tuple[int, int, int], ...]] = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
    """Channels, width of the kernel, stride."""
    units: ClassVar[int] = 512

    @property
    def hidden(self) -> tuple[int, int]:
        return (self.first, self.second)


ValueNetwork = Layers2013 | Layers2015
