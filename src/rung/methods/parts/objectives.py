"""Policy objectives: per-token losses. Called with the batch and the current log-probs, each gives [B,T]."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from torch import Tensor

from rung.batch import Batch
from rung.formulas import policy_losses
from rung.formulas.masked import masked_mean, zeroed
from rung.formulas.slopes import Slope
from rung.methods.parts.protocols import AfterUpdates, Formula
from rung.methods.ranges import ABOVE_0, ABOVE_1, FROM_0, FROM_1, SHARE


def advantages_of(batch: Batch) -> Tensor:
    """[B,T], which come before the objective."""
    assert batch.advantages_BT is not None, "the advantage comes before the objective"
    return batch.advantages_BT


@dataclass(frozen=True)
class ScoreFunction:
    """A log π(a): the plain policy gradient, right for one update on the policy's own fresh samples."""

    formula: ClassVar[str] = "A log π(a)"
    zero_without_advantage: ClassVar[bool] = True
    learns_from_others: ClassVar[bool] = True
    slope: ClassVar[Slope] = Slope()
    scores: ClassVar[bool] = True
    """The loss is −A log π(a) and nothing else."""

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return policy_losses.score_function(log_probs_BT, advantages_of(batch), batch.action_mask_BT)


def ratio_of(batch: Batch, log_probs_BT: Tensor) -> Tensor:
    """ρ = π(a)/π_old(a), [B,T]."""
    return policy_losses.ratio(log_probs_BT, old_log_probs(batch, log_probs_BT), batch.action_mask_BT)


def old_log_probs(batch: Batch, log_probs_BT: Tensor) -> Tensor:
    """The learner's log-probs before this rollout's first update; with a single update they are the current ones."""
    return log_probs_BT.detach() if batch.old_log_probs_BT is None else batch.old_log_probs_BT


@dataclass(frozen=True)
class Surrogate:
    """ρ A with ρ = π(a)/π_old(a), and nothing that bounds ρ: the step itself keeps to a trust region (TRPO)."""

    formula: ClassVar[str] = "ρ A, ρ = π(a)/π_old(a)"
    uses_ratio: ClassVar[bool] = True
    zero_without_advantage: ClassVar[bool] = True
    unbounded: ClassVar[bool] = True
    slope: ClassVar[Slope] = Slope()

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return policy_losses.surrogate(ratio_of(batch, log_probs_BT), advantages_of(batch), batch.action_mask_BT)


@dataclass(frozen=True)
class KLPenalty:
    """ρ A - β KL(π_old ‖ π): PPO's other form. With a `target` β doubles or halves after each rollout to keep to it."""

    coefficient: Annotated[float, FROM_0] = 1.0
    """β; with a `target`, its first value."""
    target: Annotated[float, ABOVE_0] | None = None
    """Nats a step. None: β is fixed."""
    uses_ratio: ClassVar[bool] = True

    @property
    def slope(self) -> Slope:
        return Slope(kl=self.coefficient)

    @property
    def formula(self) -> str:
        adapts = "" if self.target is None else f", β adapted to keep KL near {self.target:g}"
        return f"ρ A - {self.coefficient:g} KL(π_old ‖ π){adapts}, ρ = π(a)/π_old(a)"

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT = ratio_of(batch, log_probs_BT)
        losses_BT = policy_losses.surrogate(ratio_BT, advantages_of(batch), batch.action_mask_BT)
        return losses_BT + self.coefficient * policy_losses.kl_from_old(ratio_BT, batch.action_mask_BT)

    def measured(self, after: AfterUpdates) -> Mapping[str, float]:
        """The mean KL(π_old ‖ π) a step, estimated on the rollout's own actions, where β is adapted to it."""
        if self.target is None:
            return {}
        mask_BT = after.batch.action_mask_BT
        kl_BT = policy_losses.kl_from_old(ratio_of(after.batch, after.log_probs_BT), mask_BT)
        return {
            "kl/old": float(masked_mean(kl_BT, mask_BT, after.batch.processes.total)),
            "kl/coefficient": self.coefficient,
        }

    def adapted(self, measured: Mapping[str, float]) -> KLPenalty:
        """β for the next rollout (arXiv:1707.06347, section 4): halved below target/1.5, doubled above 1.5 target."""
        if self.target is None:
            return self
        kl_old = measured["kl/old"]
        if kl_old < self.target / 1.5:
            return replace(self, coefficient=self.coefficient / 2)
        return replace(self, coefficient=self.coefficient * 2) if kl_old > self.target * 1.5 else self


@dataclass(frozen=True)
class ClippedSurrogate:
    """min(ρA, clip(ρ, 1-low, 1+high) A) with ρ = π(a)/π_old(a): no gain from moving further than the clip."""

    low: Annotated[float, SHARE] = 0.2
    high: Annotated[float, FROM_0] = 0.2
    dual: Annotated[float, ABOVE_1] | None = None
    """Where A < 0 the loss is at most dual · |A| (dual clip). None: without limit."""
    uses_ratio: ClassVar[bool] = True
    zero_without_advantage: ClassVar[bool] = True

    @property
    def slope(self) -> Slope | None:
        """None with a dual clip, whose derivative is autograd's."""
        return Slope(self.low, self.high) if self.dual is None else None

    @property
    def formula(self) -> str:
        dual = "" if self.dual is None else f", at least {self.dual:g} A where A < 0"
        return f"min(ρ A, clip(ρ, 1-{self.low:g}, 1+{self.high:g}) A){dual}, ρ = π(a)/π_old(a)"

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        given = (ratio_of(batch, log_probs_BT), advantages_of(batch), batch.action_mask_BT, self.low, self.high)
        if self.dual is None:
            return policy_losses.clipped_surrogate(*given)
        return policy_losses.dual_clipped(*given, self.dual)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return clip_bounds(batch, ratio_of(batch, log_probs_BT.detach()), self.low, self.high)


@dataclass(frozen=True)
class SequenceClippedSurrogate:
    """min(sA, clip(s, 1-low, 1+high) A) with s = (π(o)/π_old(o))^(1/|o|): one ratio a sequence (GSPO)."""

    low: Annotated[float, SHARE] = 3e-4
    high: Annotated[float, FROM_0] = 4e-4
    uses_ratio: ClassVar[bool] = True
    zero_without_advantage: ClassVar[bool] = True
    formula = Formula("min(s A, clip(s, 1-{low:g}, 1+{high:g}) A), s = (π(o)/π_old(o))^(1/|o|)")

    def _ratio(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return policy_losses.sequence_ratio(log_probs_BT, old_log_probs(batch, log_probs_BT), batch.action_mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT = self._ratio(batch, log_probs_BT)
        return policy_losses.clipped_surrogate(
            ratio_BT, advantages_of(batch), batch.action_mask_BT, self.low, self.high
        )

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return clip_bounds(batch, self._ratio(batch, log_probs_BT.detach()), self.low, self.high)


@dataclass(frozen=True)
class ClippedWeight:
    """sg(min(ρ, high)) A log π(a): the importance weight is clipped, and every token keeps a gradient (CISPO)."""

    high: Annotated[float, FROM_1] = 5.0
    uses_ratio: ClassVar[bool] = True
    zero_without_advantage: ClassVar[bool] = True
    formula = Formula("sg(min(ρ, {high:g})) A log π(a), ρ = π(a)/π_old(a)")

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT = ratio_of(batch, log_probs_BT)
        return policy_losses.clipped_weight(
            ratio_BT, log_probs_BT, advantages_of(batch), batch.action_mask_BT, self.high
        )


@dataclass(frozen=True)
class SoftGate:
    """4/τ σ(τ (ρ - 1)) A: a token's gradient fades as its ratio leaves 1, on both sides; no clip cuts it off (SAPO)."""

    positive: Annotated[float, ABOVE_0] = 1.0
    """τ where A > 0: larger fades faster."""
    negative: Annotated[float, ABOVE_0] = 1.05
    """τ elsewhere: pushing a token down lifts every other one, so its gradient fades faster."""
    uses_ratio: ClassVar[bool] = True
    zero_without_advantage: ClassVar[bool] = True
    formula = Formula("4/τ σ(τ (ρ - 1)) A, ρ = π(a)/π_old(a), τ = {positive:g} where A > 0, else {negative:g}")

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        given = (ratio_of(batch, log_probs_BT), advantages_of(batch), batch.action_mask_BT)
        return policy_losses.soft_gate(*given, self.positive, self.negative)


@dataclass(frozen=True)
class GeometricMean:
    """(∏ ρ̂)^(1/|o|) A: one ratio a sequence, the geometric mean of ratios that are clipped token by token (GMPO)."""

    low: Annotated[float, ABOVE_0] = 0.4
    high: Annotated[float, ABOVE_0] = 0.4
    """Of log ρ, not of ρ."""
    uses_ratio: ClassVar[bool] = True
    zero_without_advantage: ClassVar[bool] = True
    formula = Formula("(∏_t ρ̂_t)^(1/|o|) A, log ρ̂ = log ρ, at most {high:g} where A > 0, at least -{low:g} where A < 0")

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        given = (log_probs_BT, old_log_probs(batch, log_probs_BT), advantages_of(batch), batch.action_mask_BT)
        return policy_losses.geometric_mean(*given, self.low, self.high)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        ratio_BT = ratio_of(batch, log_probs_BT.detach())
        return clip_bounds(batch, ratio_BT, 1 - math.exp(-self.low), math.exp(self.high) - 1)


@dataclass(frozen=True)
class WithinProbability:
    """ρ A while the token's probability is near the sampler's, 0 beyond; and a pull back to the sampler (DPPO)."""

    low: Annotated[float, SHARE] = 0.2
    high: Annotated[float, SHARE] = 0.2
    """Probability, not ratio."""
    pull: Annotated[float, FROM_0] = 1e-3
    """Of (log ρ)², added to the loss at every token."""
    uses_ratio: ClassVar[bool] = True
    ratio_to_sampler: ClassVar[bool] = True
    inside: ClassVar[str] = "π(a)-μ(a) ≤ {high:g} if A > 0, else ≥ -{low:g}"
    beside: ClassVar[str] = ""

    @property
    def formula(self) -> str:
        pull = f" - {self.pull:g} (log ρ)²" if self.pull else ""
        return f"(ρ A 1[{self.inside.format_map(vars(self))}]{pull}), ρ = π(a)/μ(a), μ the sampler{self.beside}"

    @property
    def zero_without_advantage(self) -> bool:
        return self.pull == 0

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        mask_BT = batch.action_mask_BT
        ratio_BT = policy_losses.ratio(log_probs_BT, batch.sampler_log_probs_BT.to(log_probs_BT), mask_BT)
        low_BT, high_BT = self._binds(batch, log_probs_BT)
        kept_BT = mask_BT & ~low_BT & ~high_BT
        losses_BT = policy_losses.surrogate(ratio_BT, zeroed(advantages_of(batch), kept_BT), mask_BT)
        return losses_BT + self.pull * ratio_BT.log().square() if self.pull else losses_BT

    def _binds(self, batch: Batch, log_probs_BT: Tensor) -> tuple[Tensor, Tensor]:
        given = (log_probs_BT, batch.sampler_log_probs_BT.to(log_probs_BT), batch.action_mask_BT)
        divergences = (policy_losses.probability_moved(*given), self._divergence(*given))
        return policy_losses.divergence_binds(*divergences, advantages_of(batch), given[-1], self.low, self.high)

    @staticmethod
    def _divergence(log_probs_BT: Tensor, sampler_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return policy_losses.probability_moved(log_probs_BT, sampler_BT, mask_BT).abs()

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        low_BT, high_BT = self._binds(batch, log_probs_BT)
        return {"clip/share": low_BT | high_BT, "clip/low": low_BT, "clip/high": high_BT}


@dataclass(frozen=True)
class WithinKL(WithinProbability):
    """WithinProbability with a bound on the KL of "this token or another", from the sampler to the policy (DPPO)."""

    low: Annotated[float, FROM_0] = 0.05
    high: Annotated[float, FROM_0] = 0.05
    """Nats a token."""
    pull: Annotated[float, FROM_0] = 0.0
    inside: ClassVar[str] = "D ≤ {high:g} if π > μ and A > 0, D ≤ {low:g} if π < μ and A < 0"
    beside: ClassVar[str] = ", D = KL(μ ‖ π) of a or another"

    @staticmethod
    def _divergence(log_probs_BT: Tensor, sampler_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return policy_losses.binary_kl(log_probs_BT, sampler_BT, mask_BT)


def clip_bounds(batch: Batch, ratio_BT: Tensor, low: float, high: float) -> Mapping[str, Tensor]:
    """The diagnostics of a clip: bool [B,T] by metric name, where each bound takes the gradient away."""
    low_BT, high_BT = policy_losses.clip_binds(ratio_BT, advantages_of(batch), batch.action_mask_BT, low, high)
    return {"clip/share": low_BT | high_BT, "clip/low": low_BT, "clip/high": high_BT}
