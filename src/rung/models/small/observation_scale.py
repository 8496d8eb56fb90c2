"""Observation scale: it brings raw observations to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

CLIP = 10.0
EPSILON = 1e-8
_MEAN, _VARIANCE = "observation.mean", "observation.variance"


@dataclass(frozen=True, eq=False)
class ObservationScale:
    """clip((x − mean) / √(variance + 1e-8), −10, 10), with constants: calling it counts nothing.

    >>> scale = ObservationScale(np.array([1.0]), np.array([4.0]))
    >>> scale(np.array([[5.0], [1000.0]], dtype=np.float32)).tolist()
    [[2.0], [10.0]]
    """

    mean_O: npt.NDArray[np.float64]
    variance_O: npt.NDArray[np.float64]

    def __call__(self, raw_NO: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """[N, O] float32 from raw [N, O]."""
        standard_NO = (raw_NO - self.mean_O) / np.sqrt(self.variance_O + EPSILON)
        return np.minimum(np.maximum(standard_NO, -CLIP), CLIP).astype(np.float32)

    def tensors(self) -> dict[str, Tensor]:
        """What a saved policy holds of it."""
        return {_MEAN: torch.from_numpy(self.mean_O.copy()), _VARIANCE: torch.from_numpy(self.variance_O.copy())}

    @staticmethod
    def from_tensors(
        tensors: Mapping[str, Tensor], observations: int
    ) -> tuple[ObservationScale | None, dict[str, Tensor], list[str]]:
        """The scale among these tensors (None: they have none), the other tensors, and what is wrong."""
        rest = {name: t for name, t in tensors.items() if name not in (_MEAN, _VARIANCE)}
        found = [tensors[name] for name in (_MEAN, _VARIANCE) if name in tensors]
        if not found:
            return None, rest, []
        if len(found) == 1:
            return None, rest, [f"{_MEAN} and {_VARIANCE}: got one of them, expected both or none"]
        wrong = [
            f"{name}: got {tuple(t.shape)} {t.dtype}, expected ({observations},) torch.float64, finite"
            for name, t in zip((_MEAN, _VARIANCE), found, strict=True)
            if t.shape != (observations,) or t.dtype != torch.float64 or not bool(torch.isfinite(t).all())
        ]
        if not wrong and bool((found[1] < 0).any()):
            wrong = [f"{_VARIANCE}: got numbers below 0, expected variances"]
        mean_O, variance_O = (t.cpu().numpy().copy() for t in found)
        return (None if wrong else ObservationScale(mean_O, variance_O)), rest, wrong
