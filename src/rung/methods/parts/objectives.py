"""What is climbed at each token: called with the batch and the current log-probs, gives a [B,T] loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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


def _ratio(batch: Batch, log_probs_BT: Tensor) -> Tensor:
    return policy_losses.ratio(log_probs_BT, old_log_probs(batch, log_probs_BT), batch.action_mask_BT)


def old_log_probs(batch: Batch, log_probs_BT: Tensor) -> Tensor:
    """The learner's log-probs before this rollout's first update; with a single update they are the current ones."""
    return log_probs_BT.detach() if batch.old_log_probs_BT is None else batch.old_log_probs_BT


@dataclass(frozen=True)
class Surrogate:
    """ρ A with ρ = π(a)/π_old(a), and nothing that bounds ρ: the step itself keeps to a trust region (TRPO)."""

    formula: ClassVar[str] = "ρ A, ρ = π(a)/π_old(a)"
    uses_ratio: ClassVar[bool] = True

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return policy_losses.surrogate(_ratio(batch, log_probs_BT), _advantages(batch), batch.action_mask_BT)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return {}


@dataclass(frozen=True)
class KLPenalty:
    """ρ A - β KL(π_old ‖ π): PPO's other form. With a `target` β doubles or halves after each rollout to keep to it."""

    coefficient: float = 1.0
    """β; with a `target`, its first value."""
    target: float | None = None
    """Nats a step. None: β is fixed."""
    uses_ratio: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        adapts = "" if self.target is None else f", β adapted to keep KL near {self.target:g}"
        return f"ρ A - {self.coefficient:g} KL(π_old ‖ π){adapts}, ρ = π(a)/π_old(a)"

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT = _ratio(batch, log_probs_BT)
        losses_BT = policy_losses.surrogate(ratio_BT, _advantages(batch), batch.action_mask_BT)
        return losses_BT + self.coefficient * policy_losses.kl_from_old(ratio_BT, batch.action_mask_BT)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return {}

    def adapted(self, kl_old: float) -> KLPenalty:
        """β for the next rollout (arXiv:1707.06347, section 4): halved below target/1.5, doubled above 1.5 target."""
        if self.target is None:
            return self
        if kl_old < self.target / 1.5:
            return replace(self, coefficient=self.coefficient / 2)
        return replace(self, coefficient=self.coefficient * 2) if kl_old > self.target * 1.5 else self


@dataclass(frozen=True)
class ClippedSurrogate:
    """min(ρA, clip(ρ, 1-low, 1+high) A) with ρ = π(a)/π_old(a): no gain from moving further than the clip."""

    low: float = 0.2
    high: float = 0.2
    dual: float | None = None
    """Where A < 0 the loss is at most dual · |A| (dual clip). None: without limit."""
    uses_ratio: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        dual = "" if self.dual is None else f", at least {self.dual:g} A where A < 0"
        return f"min(ρ A, clip(ρ, 1-{self.low:g}, 1+{self.high:g}) A){dual}, ρ = π(a)/π_old(a)"

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        given = (_ratio(batch, log_probs_BT), _advantages(batch), batch.action_mask_BT, self.low, self.high)
        return (
            policy_losses.clipped_surrogate(*given)
            if self.dual is None
            else policy_losses.dual_clipped(*given, self.dual)
        )

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        """bool [B,T] by metric name: where each bound takes the gradient away."""
        return _bounds(batch, _ratio(batch, log_probs_BT.detach()), self.low, self.high)


@dataclass(frozen=True)
class SequenceClippedSurrogate:
    """min(sA, clip(s, 1-low, 1+high) A) with s = (π(o)/π_old(o))^(1/|o|): one ratio a sequence (GSPO)."""

    low: float = 3e-4
    high: float = 4e-4
    uses_ratio: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        return f"min(s A, clip(s, 1-{self.low:g}, 1+{self.high:g}) A), s = (π(o)/π_old(o))^(1/|o|)"

    def _ratio(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return policy_losses.sequence_ratio(log_probs_BT, old_log_probs(batch, log_probs_BT), batch.action_mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT = self._ratio(batch, log_probs_BT)
        return policy_losses.clipped_surrogate(ratio_BT, _advantages(batch), batch.action_mask_BT, self.low, self.high)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        """bool [B,T] by metric name: where each bound takes the gradient away."""
        return _bounds(batch, self._ratio(batch, log_probs_BT.detach()), self.low, self.high)


@dataclass(frozen=True)
class ClippedWeight:
    """sg(min(ρ, high)) A log π(a): the importance weight is clipped, and every token keeps a gradient (CISPO)."""

    high: float = 5.0
    uses_ratio: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        return f"sg(min(ρ, {self.high:g})) A log π(a), ρ = π(a)/π_old(a)"

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT = _ratio(batch, log_probs_BT)
        return policy_losses.clipped_weight(ratio_BT, log_probs_BT, _advantages(batch), batch.action_mask_BT, self.high)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return {}


def _bounds(batch: Batch, ratio_BT: Tensor, low: float, high: float) -> Mapping[str, Tensor]:
    low_BT, high_BT = policy_losses.clip_binds(ratio_BT, _advantages(batch), batch.action_mask_BT, low, high)
    return {"clip/share": low_BT | high_BT, "clip/low": low_BT, "clip/high": high_BT}


Objective = ScoreFunction | Surrogate | KLPenalty | ClippedSurrogate | SequenceClippedSurrogate | ClippedWeight
