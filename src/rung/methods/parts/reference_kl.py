"""What keeps the policy near a reference: an estimator of the KL, in the loss or in the reward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import divergences
from rung.formulas.masked import zeroed


@dataclass(frozen=True)
class K1:
    """log π/π_ref: unbiased value; in the reward its gradient is that of the sequence's KL, in the loss it is zero."""

    formula: ClassVar[str] = "log π/π_ref"

    def __call__(self, log_probs_BT: Tensor, reference_BT: Tensor) -> Tensor:
        return divergences.k1(log_probs_BT, reference_BT)


@dataclass(frozen=True)
class K2:
    """½ (log π/π_ref)²: biased value, right gradient for each token's own distribution when in the loss."""

    formula: ClassVar[str] = "½(log π/π_ref)²"

    def __call__(self, log_probs_BT: Tensor, reference_BT: Tensor) -> Tensor:
        return divergences.k2(log_probs_BT, reference_BT)


@dataclass(frozen=True)
class K3:
    """π_ref/π - log π_ref/π - 1: unbiased and never negative as a value; biased as a gradient when in the loss."""

    formula: ClassVar[str] = "(π_ref/π - log π_ref/π - 1)"

    def __call__(self, log_probs_BT: Tensor, reference_BT: Tensor) -> Tensor:
        return divergences.k3(log_probs_BT, reference_BT)


Estimator = K1 | K2 | K3


def _reference(batch: Batch) -> Tensor:
    assert batch.reference_log_probs_BT is not None, "a method with reference_kl needs the reference's log-probs"
    return zeroed(batch.reference_log_probs_BT, batch.action_mask_BT)


@dataclass(frozen=True)
class KLInLoss:
    """coefficient · estimator, added to each token's loss."""

    coefficient: float = 0.04
    estimator: Estimator = K3()
    needs_old_log_probs: ClassVar[bool] = False
    in_loss: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        return f"{self.coefficient:g} {self.estimator.formula} in the loss"

    def loss(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        kl_BT = self.estimator(zeroed(log_probs_BT, batch.action_mask_BT), _reference(batch))
        return self.coefficient * zeroed(kl_BT, batch.action_mask_BT)

    def rewards(self, batch: Batch) -> Tensor:
        return batch.rewards_BT


@dataclass(frozen=True)
class KLInReward:
    """-coefficient · estimator, added to each token's reward before the advantage. A `target` makes it adapt."""

    coefficient: float = 0.05
    """With a `target`, its first value."""
    estimator: Estimator = K1()
    target: float | None = None
    """Nats a sequence that the coefficient steers to. None: it is fixed."""
    adapt_over: int = 10_000
    """Episodes over which an adapting coefficient changes by about a fifth."""
    needs_old_log_probs: ClassVar[bool] = True
    in_loss: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        steers = "" if self.target is None else f", adapted to {self.target:g} nats a sequence"
        return f"{self.coefficient:g} {self.estimator.formula} taken off the reward{steers}"

    def adapted(self, kl_sequence: float, episodes: int) -> KLInReward:
        """The coefficient for the next rollout (Ziegler et al. 2019, arXiv:1909.08593)."""
        if self.target is None:
            return self
        error = min(max(kl_sequence / self.target - 1, -0.2), 0.2)
        return replace(self, coefficient=self.coefficient * (1 + error * episodes / self.adapt_over))

    def loss(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return torch.zeros_like(log_probs_BT)

    def rewards(self, batch: Batch) -> Tensor:
        assert batch.old_log_probs_BT is not None, "KL in the reward needs the learner's log-probs of the rollout"
        kl_BT = self.estimator(zeroed(batch.old_log_probs_BT, batch.action_mask_BT), _reference(batch))
        return zeroed(batch.rewards_BT, batch.action_mask_BT) - self.coefficient * zeroed(kl_BT, batch.action_mask_BT)


ReferenceKL = KLInLoss | KLInReward
