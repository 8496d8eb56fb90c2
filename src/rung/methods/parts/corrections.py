"""Sampler corrections: factors of the loss that make up for the gap between the learner and who drew the tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import sequences
from rung.formulas.policy_losses import ratio
from rung.methods.parts.protocols import Formula
from rung.methods.ranges import ABOVE_0, FROM_0


def _gap(batch: Batch, log_probs_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The log-probs, the sampler's, and where both stand."""
    now_BT = log_probs_BT.detach()
    return now_BT, batch.sampler_log_probs_BT.to(now_BT), batch.action_mask_BT


def _weights(batch: Batch, old_BT: Tensor, whole_sequence: bool) -> Tensor:
    old_BT, sampler_BT, mask_BT = _gap(batch, old_BT)
    if not whole_sequence:
        return ratio(old_BT, sampler_BT, mask_BT)
    whole_BT = sequences.log_ratio(old_BT, sampler_BT, mask_BT)
    return ratio(whole_BT, torch.zeros_like(whole_BT), mask_BT)


@dataclass(frozen=True)
class TruncatedImportance:
    """loss · min(w, cap): a token that the learner likes more than the sampler did weighs more, up to the cap (TIS)."""

    cap: Annotated[float, ABOVE_0] = 2.0
    whole_sequence: bool = False
    """One weight a row, the product over its tokens, instead of one a token: no bias where the cap does not bind."""

    @property
    def formula(self) -> str:
        over = "sequence" if self.whole_sequence else "token"
        return f"loss · min(π_old/π_sampler, {self.cap:g}) by {over}"

    def __call__(self, batch: Batch, old_BT: Tensor) -> Tensor:
        return _weights(batch, old_BT, self.whole_sequence).clamp(max=self.cap)


@dataclass(frozen=True)
class MaskedImportance:
    """loss · w where low ≤ w ≤ high, else 0: tokens on which both disagree are left out (MIS, IcePop)."""

    low: Annotated[float, FROM_0] = 0.5
    high: Annotated[float, ABOVE_0] = 2.0
    whole_sequence: bool = False

    @property
    def formula(self) -> str:
        over = "sequence" if self.whole_sequence else "token"
        return f"loss · w 1[{self.low:g} ≤ w ≤ {self.high:g}] by {over}, w = π_old/π_sampler"

    def __call__(self, batch: Batch, old_BT: Tensor) -> Tensor:
        weights_BT = _weights(batch, old_BT, self.whole_sequence)
        inside_BT = (weights_BT >= self.low) & (weights_BT <= self.high)
        return torch.where(inside_BT, weights_BT, torch.zeros_like(weights_BT))


@dataclass(frozen=True)
class GeometricMask:
    """loss where low ≤ (∏ w)^(1/|o|) ≤ high, else 0: a sequence on whose tokens both disagree on average is left out.

    The mean does not grow with the length, as the product does, so that one bound fits short and long answers.
    """

    low: Annotated[float, FROM_0] = 0.99
    high: Annotated[float, ABOVE_0] = 1.01
    formula = Formula("loss · 1[{low:g} ≤ (∏_t w_t)^(1/|o|) ≤ {high:g}], w = π_old/π_sampler")

    def __call__(self, batch: Batch, old_BT: Tensor) -> Tensor:
        mean_BT = sequences.mean_log_ratio(*_gap(batch, old_BT)).exp()
        return ((mean_BT >= self.low) & (mean_BT <= self.high)).to(old_BT)


@dataclass(frozen=True)
class StaleNegatives:
    """loss, 0 at answers with A < 0 that the policy has moved away from: mean_t log μ/π above a bound (DeepSeek-V3.2).

    Of an answer that is no longer its own the policy can learn what to do, not what to avoid: pushing it further down
    lifts nothing that is known to be better. μ is the sampler, π the policy as it is in this update.
    """

    above: Annotated[float, FROM_0] = 0.5
    """Nats a token."""
    of_current: ClassVar[bool] = True
    formula = Formula("loss · 1[A ≥ 0 or 1/|o| ∑_t log μ/π ≤ {above:g}], μ the sampler")

    def __call__(self, batch: Batch, old_BT: Tensor) -> Tensor:
        assert batch.advantages_BT is not None, "the advantage comes before the correction"
        away_BT = -sequences.mean_log_ratio(*_gap(batch, old_BT))
        return ((batch.advantages_BT >= 0) | (away_BT <= self.above)).to(old_BT)
