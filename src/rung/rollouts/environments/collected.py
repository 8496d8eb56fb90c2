"""What one collecting from environments brought, and how a collector's state is handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rung.batch import Batch


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Example: CartPole, 8 environments of 256 steps: `environment_steps=2048`, `returns_N=array([23., 17., ...])`."""

    batch: Batch
    returns_N: npt.NDArray[np.float64]
    """Raw, undiscounted returns of the episodes that ended meanwhile, in the order of their ends (a batch of whole
    episodes: in row order)."""
    lengths_N: npt.NDArray[np.int64]
    """Their steps, those before this collecting included."""
    environment_steps: int
    """Steps taken in all environments together; resets are none."""


@dataclass(frozen=True)
class CollectorState:
    """All that a collector needs to go on as if it had never stopped: JSON numbers, and tensors."""

    numbers: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
