"""A policy small enough to reason about: logits from an embedding of the previous token, in float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rung.batch import Batch


class Outputs(NamedTuple):
    log_probs_BT: Tensor
    entropy_BT: Tensor | None


class TablePolicy:
    """log π(a_t | a_{t-1}); before the first action stands the prompt's last token."""

    def __init__(self, vocabulary: int = 7, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        table = torch.randn(vocabulary, vocabulary, generator=generator, dtype=torch.float64)
        self.table_VV = torch.nn.Parameter(table)

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        return {"table": self.table_VV}

    def __call__(self, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False) -> Outputs:
        last = torch.tensor([int(context[-1]) for context in batch.contexts])
        previous_BT = torch.cat([last[:, None], batch.actions_BT[:, :-1]], dim=1)
        logs_BTV = torch.log_softmax(self.table_VV[previous_BT] / temperature, -1)
        log_probs_BT = logs_BTV.gather(-1, batch.actions_BT[..., None])[..., 0]
        zero = torch.zeros_like(log_probs_BT)
        entropy_BT = -(logs_BTV.exp() * logs_BTV).sum(-1)
        return Outputs(
            torch.where(batch.action_mask_BT, log_probs_BT, zero), torch.where(batch.action_mask_BT, entropy_BT, zero)
        )
