"""A policy small enough to reason about: logits from an embedding of the previous token, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from rung.batch import Batch
from rung.models.language.distributions import Categorical
from rung.models.outputs import Outputs


class TablePolicy:
    """log π(a_t | a_{t-1}) and V(a_{t-1}); before the first action stands the prompt's last token."""

    def __init__(self, vocabulary: int = 7, seed: int = 0, *, critic: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        table = torch.randn(vocabulary, vocabulary, generator=generator, dtype=torch.float64)
        self.table_VV = torch.nn.Parameter(table)
        values = torch.randn(vocabulary, generator=generator, dtype=torch.float64)
        self.values_V = torch.nn.Parameter(values) if critic else None

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        critic = {} if self.values_V is None else {"critic.values": self.values_V}
        return {"table": self.table_VV, **critic}

    def distribution(self, batch: Batch, *, temperature: float = 1.0, twice: bool = False) -> Categorical:
        previous_BT = self._previous(batch)
        return Categorical(torch.log_softmax(self.table_VV[previous_BT[batch.action_mask_BT]] / temperature, -1))

    @staticmethod
    def _previous(batch: Batch) -> Tensor:
        last = torch.tensor([int(context[-1]) for context in batch.contexts])
        return torch.cat([last[:, None], batch.actions_BT[:, :-1]], dim=1)

    def __call__(
        self, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False, with_values: bool = False
    ) -> Outputs:
        previous_BT = self._previous(batch)
        logs_BTV = torch.log_softmax(self.table_VV[previous_BT] / temperature, -1)
        log_probs_BT = logs_BTV.gather(-1, batch.actions_BT[..., None])[..., 0]
        zero = torch.zeros_like(log_probs_BT)
        entropy_BT = -(logs_BTV.exp() * logs_BTV).sum(-1)
        values_BT = None
        if with_values:
            assert self.values_V is not None
            values_BT = torch.where(batch.action_mask_BT, self.values_V[previous_BT], zero)
        return Outputs(
            torch.where(batch.action_mask_BT, log_probs_BT, zero),
            torch.where(batch.action_mask_BT, entropy_BT, zero),
            values_BT,
        )
