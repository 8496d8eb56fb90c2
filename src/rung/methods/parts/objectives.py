"""What is climbed at each token: called with the batch and the current log-probs, gives a [B,T] loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rung.batch import Batch
from rung.formulas import policy_losses


def _advantages(batch: Batch) -> Tensor:
    assert batch.advantages_BT is not None, "the advantage comes before the objective"
    return batch.advantages_BT


@dataclass(frozen=True)
class ScoreFunction:
    """A log π(a): the plain policy gradient, right for one update on the policy's own fresh samples."""

    formula: ClassVar[str] = "A log π(a)"
    uses_ratio: ClassVar[bool] = False

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return policy_losses.score_function(log_probs_BT, _advantages(batch), batch.action_mask_BT)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return {}


@dataclass(frozen=True)
class ClippedSurrogate:
    """min(ρA, clip(ρ, 1-low, 1+high) A) with ρ = π(a)/π_old(a): no gain from moving further than the clip."""

    low: float = 0.2
    high: float = 0.2
    uses_ratio: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        return f"min(ρ A, clip(ρ, 1-{self.low:g}, 1+{self.high:g}) A), ρ = π(a)/π_old(a)"

    def _ratio(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        old_BT = log_probs_BT.detach() if batch.old_log_probs_BT is None else batch.old_log_probs_BT
        return policy_losses.ratio(log_probs_BT, old_BT, batch.action_mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT = self._ratio(batch, log_probs_BT)
        return policy_losses.clipped_surrogate(ratio_BT, _advantages(batch), batch.action_mask_BT, self.low, self.high)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        """bool [B,T] by metric name: where each bound takes the gradient away."""
        ratio_BT = self._ratio(batch, log_probs_BT.detach())
        low_BT, high_BT = policy_losses.clip_binds(
            ratio_BT, _advantages(batch), batch.action_mask_BT, self.low, self.high
        )
        return {"clip/share": low_BT | high_BT, "clip/low": low_BT, "clip/high": high_BT}


Objective = ScoreFunction | ClippedSurrogate
