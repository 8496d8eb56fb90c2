"""What becomes of answers that are too long: a gentle penalty, or no part in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.masked import last_step


@dataclass(frozen=True)
class SoftOverlong:
    """R ← R + R_len: 0 up to limit - cache tokens, falling to -1 at the limit, -1 beyond (DAPO)."""

    limit: int = 20480
    cache: int = 4096

    @property
    def formula(self) -> str:
        return f"R + clip(({self.limit - self.cache} - |o|)/{self.cache}, -1, 0)"

    def __call__(self, batch: Batch) -> Tensor:
        """[B,T] rewards; the penalty stands on each row's last own action."""
        lengths_B = batch.action_mask_BT.sum(1).to(batch.rewards_BT)
        penalty_B = ((self.limit - self.cache - lengths_B) / self.cache).clamp(-1, 0)
        end_BT = last_step(batch.action_mask_BT)
        return batch.rewards_BT + torch.where(end_BT, penalty_B[:, None], torch.zeros_like(batch.rewards_BT))


@dataclass(frozen=True)
class DropTruncated:
    """A truncated answer leaves the loss and its denominators; in its group's baseline its reward still counts."""

    formula: ClassVar[str] = "truncated answers leave the loss"

    def __call__(self, batch: Batch) -> Batch:
        return batch.without(batch.truncated_B)


ShapeReward = SoftOverlong
DropRows = DropTruncated
