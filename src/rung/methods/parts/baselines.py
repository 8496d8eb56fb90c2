"""What a return is compared with, without depending on the row's own actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import advantages


@dataclass(frozen=True)
class OthersInBatch:
    """b_i = mean return of the batch's other episodes. Independent of the episode's own actions, so unbiased."""

    formula: ClassVar[str] = "mean_{j≠i} R_j over the batch"
    needs_group: ClassVar[bool] = False

    def __call__(self, returns_B: Tensor, batch: Batch) -> Tensor:
        one_group_B = torch.zeros_like(batch.group_ids_B)
        return returns_B - advantages.leave_one_out(returns_B, one_group_B, batch.counted_B())


@dataclass(frozen=True)
class OthersInGroup:
    """b_i = mean return of the prompt's other samples (RLOO)."""

    formula: ClassVar[str] = "mean_{j≠i} R_j over the prompt's samples"
    needs_group: ClassVar[bool] = True

    def __call__(self, returns_B: Tensor, batch: Batch) -> Tensor:
        return returns_B - advantages.leave_one_out(returns_B, batch.group_ids_B, batch.counted_B())


Baseline = OthersInBatch | OthersInGroup
