"""A weight for tokens that were drawn under another law than the learner's: another engine, or an older policy.

w = π_old(a)/π_sampler(a), between the learner's law before the first update and the sampler's. [B,T], no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.masked import zeroed
from rung.formulas.policy_losses import ratio


def _weights(batch: Batch, old_BT: Tensor, whole_sequence: bool) -> Tensor:
    mask_BT = batch.action_mask_BT
    old_BT, sampler_BT = old_BT.detach(), batch.sampler_log_probs_BT.to(old_BT)
    if not whole_sequence:
        return ratio(old_BT, sampler_BT, mask_BT)
    gap_BT = zeroed(old_BT, mask_BT) - zeroed(sampler_BT, mask_BT)
    whole_BT = gap_BT.sum(1, keepdim=True).expand_as(gap_BT)
    return ratio(whole_BT, torch.zeros_like(whole_BT), mask_BT)


@dataclass(frozen=True)
class TruncatedImportance:
    """loss · min(w, cap): a token that the learner likes more than the sampler did weighs more, up to the cap (TIS)."""

    cap: float = 2.0
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
    """loss · w where low ≤ w ≤ high, else 0: what the two laws disagree on is not learnt from (MIS, IcePop)."""

    low: float = 0.5
    high: float = 2.0
    whole_sequence: bool = False

    @property
    def formula(self) -> str:
        over = "sequence" if self.whole_sequence else "token"
        return f"loss · w 1[{self.low:g} ≤ w ≤ {self.high:g}] by {over}, w = π_old/π_sampler"

    def __call__(self, batch: Batch, old_BT: Tensor) -> Tensor:
        weights_BT = _weights(batch, old_BT, self.whole_sequence)
        inside_BT = (weights_BT >= self.low) & (weights_BT <= self.high)
        return torch.where(inside_BT, weights_BT, torch.zeros_like(weights_BT))


Correction = TruncatedImportance | MaskedImportance
