"""The critic: what predicts the return, and the loss that teaches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from rung.batch import Batch
from rung.formulas import value_losses
from rung.methods.ranges import ABOVE_0, FROM_0


@dataclass(frozen=True)
class ValueFunction:
    """V(s), trained on ½(V - target)²: a network of its own, or one layer on the policy's network."""

    separate: bool = True
    """True: a network of its own, begun as a copy of the policy's. False: a layer on the policy's last hidden state.
    The small networks of environments always have one of their own."""
    coefficient: Annotated[float, FROM_0] = 0.5
    """Weight of the value loss."""
    clip: Annotated[float, ABOVE_0] | None = None
    """Value clip: V gains nothing from moving further than this from its value before the rollout. None: no clip."""
    warmup_steps: Annotated[int, FROM_0] = 0
    """Steps at the start of the run in which only the critic learns (value pre-training, arXiv:2503.01491)."""

    @property
    def slope(self) -> float | None:
        """The coefficient; None with a clip, whose derivative is autograd's."""
        return self.coefficient if self.clip is None else None

    @property
    def formula(self) -> str:
        limit = "" if self.clip is None else f", V clipped to {self.clip:g} around its old value"
        alone = f"; the first {self.warmup_steps} steps alone, the policy frozen" if self.warmup_steps else ""
        return f"{self.coefficient:g} · ½(V - target)²{limit}{alone}"

    def loss(self, batch: Batch, values_BT: Tensor) -> Tensor:
        """[B,T], with the coefficient."""
        assert batch.value_targets_BT is not None, "the targets come with the advantages"
        targets_BT = batch.value_targets_BT.to(values_BT)
        if self.clip is None:
            return self.coefficient * value_losses.squared_error(values_BT, targets_BT, batch.action_mask_BT)
        assert batch.values_BT is not None
        old_BT = batch.values_BT.to(values_BT)
        return self.coefficient * value_losses.clipped_squared_error(
            values_BT, old_BT, targets_BT, batch.action_mask_BT, self.clip
        )
