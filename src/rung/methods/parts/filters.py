"""Group filters and length shaping: which episodes count, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.masked import last_step
from rung.methods.ranges import FROM_1


@dataclass(frozen=True)
class AccuraciesDiffer:
    """Keep a prompt only if its samples are neither all right nor all wrong, and draw further prompts in their place.

    It looks at the accuracy, never at the shaped reward: a length penalty would make an all-wrong group differ.
    """

    refill: bool = True
    """Draw further prompts until the step is full; False: train on fewer."""
    most_batches: Annotated[int, FROM_1] = 10
    """Rounds of drawing at most; then the step trains on the prompts it has, and reports it."""
    formula: ClassVar[str] = "only prompts with 0 < #right < G"

    def __call__(self, accuracies: Sequence[float]) -> bool:
        """Whether a group with these accuracies (judged samples only) is kept.

        >>> AccuraciesDiffer()([1.0, 0.0, 1.0]), AccuraciesDiffer()([1.0, 1.0])
        (True, False)
        """
        return len(set(accuracies)) > 1


@dataclass(frozen=True)
class SoftOverlong:
    """R ← R + R_len: 0 up to limit - cache tokens, falling to -1 at the limit, -1 beyond (DAPO)."""

    limit: Annotated[int, FROM_1] = 20480
    cache: Annotated[int, FROM_1] = 4096

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


@dataclass(frozen=True)
class FrozenStart:
    """The starting model gives every answer and never changes: offline learning with samples on demand."""

    formula: ClassVar[str] = "o_i ~ π_start, the model as the run found it"
