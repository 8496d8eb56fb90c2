"""Reference KL: what keeps the policy near a reference, in the loss, in the reward or in the advantage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import divergences, policy_losses
from rung.formulas.masked import zeroed
from rung.methods.parts.objectives import old_log_probs
from rung.methods.parts.protocols import AfterUpdates, Estimator, formula_of
from rung.methods.ranges import ABOVE_0, FROM_0, FROM_1


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


def _reference(batch: Batch) -> Tensor:
    assert batch.reference_log_probs_BT is not None, "a method with reference_kl needs the reference's log-probs"
    return zeroed(batch.reference_log_probs_BT, batch.action_mask_BT)


class NoKL:
    """Base of the three below: it changes nothing, and each overrides the place where its KL enters."""

    def rewards(self, batch: Batch) -> Tensor:
        return batch.rewards_BT

    def advantages(self, batch: Batch, advantages_BT: Tensor) -> Tensor:
        return advantages_BT

    def loss(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return torch.zeros_like(log_probs_BT)


@dataclass(frozen=True)
class KLInLoss(NoKL):
    """coefficient · estimator, added to each token's loss."""

    coefficient: Annotated[float, FROM_0] = 0.04
    estimator: Estimator = K3()
    times_ratio: bool = False
    """Each token's estimate times ρ = π/π_old: with K3 an unbiased gradient (TRL; DeepSeek-V3.2, arXiv:2512.02556)."""
    refresh_every: Annotated[int, FROM_1] | None = None
    """Steps between updates of the reference to the current policy (iterative GRPO). None: it stays the start."""

    @property
    def formula(self) -> str:
        ratio = "ρ " if self.times_ratio else ""
        return f"{self.coefficient:g} {ratio}{formula_of(self.estimator)} in the loss{_refreshed(self.refresh_every)}"

    def loss(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        mask_BT = batch.action_mask_BT
        kl_BT = zeroed(self.estimator(zeroed(log_probs_BT, mask_BT), _reference(batch)), mask_BT)
        if self.times_ratio:
            kl_BT = kl_BT * policy_losses.ratio(log_probs_BT, old_log_probs(batch, log_probs_BT), mask_BT)
        return self.coefficient * kl_BT


@dataclass(frozen=True)
class KLInReward(NoKL):
    """-coefficient · estimator, added to each token's reward before the advantage. A `target` makes it adapt."""

    coefficient: Annotated[float, FROM_0] = 0.05
    """With a `target`, its first value."""
    estimator: Estimator = K1()
    target: Annotated[float, ABOVE_0] | None = None
    """Target KL in nats per sequence, to which the coefficient adapts. None: it is fixed."""
    adapt_over: Annotated[int, FROM_1] = 10_000
    """Episodes over which an adapting coefficient changes by about a fifth."""
    refresh_every: Annotated[int, FROM_1] | None = None
    """Steps between updates of the reference to the current policy. None: it stays the starting model."""
    needs_old_log_probs: ClassVar[bool] = True
    in_loss: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        steers = "" if self.target is None else f", adapted to {self.target:g} nats a sequence"
        penalty = f"{self.coefficient:g} {formula_of(self.estimator)}"
        return f"{penalty} taken off the reward{steers}{_refreshed(self.refresh_every)}"

    def measured(self, after: AfterUpdates) -> Mapping[str, float]:
        """The mean log π/π_ref of a sequence, before the updates."""
        batch = after.batch
        assert batch.old_log_probs_BT is not None and batch.reference_log_probs_BT is not None
        gap_BT = zeroed(batch.old_log_probs_BT - batch.reference_log_probs_BT, batch.action_mask_BT)
        total = batch.processes.total
        found = {"kl/sequence": float(total(gap_BT.sum()) / total(batch.counted_B().sum()).clamp(min=1))}
        return found if self.target is None else {**found, "kl/coefficient": self.coefficient}

    def adapted(self, measured: Mapping[str, float]) -> KLInReward:
        """The coefficient for the next rollout (Ziegler et al. 2019, arXiv:1909.08593)."""
        if self.target is None:
            return self
        error = min(max(measured["kl/sequence"] / self.target - 1, -0.2), 0.2)
        return replace(self, coefficient=self.coefficient * (1 + error * measured["episodes"] / self.adapt_over))

    def rewards(self, batch: Batch) -> Tensor:
        assert batch.old_log_probs_BT is not None, "KL in the reward needs the learner's log-probs of the rollout"
        kl_BT = self.estimator(zeroed(batch.old_log_probs_BT, batch.action_mask_BT), _reference(batch))
        return zeroed(batch.rewards_BT, batch.action_mask_BT) - self.coefficient * zeroed(kl_BT, batch.action_mask_BT)


@dataclass(frozen=True)
class KLInAdvantage(NoKL):
    """-coefficient · the estimator's sum from t on, taken off the advantage after the rewards were normalised.

    As KLInReward, but a group's mean and deviation are of the task's rewards alone (OpenRLHF).
    """

    coefficient: Annotated[float, FROM_0] = 0.01
    estimator: Estimator = K1()
    refresh_every: Annotated[int, FROM_1] | None = None
    """Steps between updates of the reference to the current policy. None: it stays the starting model."""
    needs_old_log_probs: ClassVar[bool] = True
    in_loss: ClassVar[bool] = False

    @property
    def formula(self) -> str:
        sums = f"{self.coefficient:g} ∑_{{k≥t}} {formula_of(self.estimator)}"
        return f"{sums} taken off the advantage{_refreshed(self.refresh_every)}"

    def advantages(self, batch: Batch, advantages_BT: Tensor) -> Tensor:
        assert batch.old_log_probs_BT is not None, "KL in the advantage needs the learner's log-probs of the rollout"
        mask_BT = batch.action_mask_BT
        kl_BT = zeroed(self.estimator(zeroed(batch.old_log_probs_BT, mask_BT), _reference(batch)), mask_BT)
        to_go_BT = kl_BT.flip(1).cumsum(1).flip(1)
        return zeroed(advantages_BT - self.coefficient * to_go_BT.to(advantages_BT), mask_BT)


def _refreshed(every: int | None) -> str:
    return "" if every is None else f", π_ref ← π every {every} steps"
