"""Policy objectives: per-token losses. Called with the batch and the current log-probs, each gives [B,T]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import covariances, policy_losses
from rung.formulas.masked import masked_mean, zeroed
from rung.formulas.slopes import Slope
from rung.methods.parts.protocols import AfterUpdates, Formula, Total
from rung.methods.ranges import ABOVE_0, ABOVE_0_TO_1, ABOVE_1, ANY, FROM_0, FROM_1, SHARE
from rung.random import generator


def _advantages(batch: Batch) -> Tensor:
    assert batch.advantages_BT is not None, "the advantage comes before the objective"
    return batch.advantages_BT


@dataclass(frozen=True)
class ScoreFunction:
    """A log π(a): the plain policy gradient, right for one update on the policy's own fresh samples."""

    formula: ClassVar[str] = "A log π(a)"
    zero_without_advantage: ClassVar[bool] = True
    learns_from_others: ClassVar[bool] = True
    slope: ClassVar[Slope] = Slope()

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return policy_losses.score_function(log_probs_BT, _advantages(batch), batch.action_mask_BT)


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
    zero_without_advantage: ClassVar[bool] = True
    unbounded: ClassVar[bool] = True
    slope: ClassVar[Slope] = Slope()

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return policy_losses.surrogate(_ratio(batch, log_probs_BT), _advantages(batch), batch.action_mask_BT)


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
        ratio_BT = _ratio(batch, log_probs_BT)
        losses_BT = policy_losses.surrogate(ratio_BT, _advantages(batch), batch.action_mask_BT)
        return losses_BT + self.coefficient * policy_losses.kl_from_old(ratio_BT, batch.action_mask_BT)

    def measured(self, after: AfterUpdates) -> Mapping[str, float]:
        """The mean KL(π_old ‖ π) a step, estimated on the rollout's own actions, where β is adapted to it."""
        if self.target is None:
            return {}
        mask_BT = after.batch.action_mask_BT
        kl_BT = policy_losses.kl_from_old(_ratio(after.batch, after.log_probs_BT), mask_BT)
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
        given = (_ratio(batch, log_probs_BT), _advantages(batch), batch.action_mask_BT, self.low, self.high)
        if self.dual is None:
            return policy_losses.clipped_surrogate(*given)
        return policy_losses.dual_clipped(*given, self.dual)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return _bounds(batch, _ratio(batch, log_probs_BT.detach()), self.low, self.high)


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
        return policy_losses.clipped_surrogate(ratio_BT, _advantages(batch), batch.action_mask_BT, self.low, self.high)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return _bounds(batch, self._ratio(batch, log_probs_BT.detach()), self.low, self.high)


@dataclass(frozen=True)
class ClippedWeight:
    """sg(min(ρ, high)) A log π(a): the importance weight is clipped, and every token keeps a gradient (CISPO)."""

    high: Annotated[float, FROM_1] = 5.0
    uses_ratio: ClassVar[bool] = True
    zero_without_advantage: ClassVar[bool] = True
    formula = Formula("sg(min(ρ, {high:g})) A log π(a), ρ = π(a)/π_old(a)")

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT = _ratio(batch, log_probs_BT)
        return policy_losses.clipped_weight(ratio_BT, log_probs_BT, _advantages(batch), batch.action_mask_BT, self.high)


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
    formula = Formula(
        "(ρ A 1[π(a)-μ(a) ≤ {high:g} if A > 0, else ≥ -{low:g}] - {pull:g} (log ρ)²), ρ = π(a)/μ(a), μ the sampler"
    )

    def _ratio(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        sampler_BT = batch.sampler_log_probs_BT.to(log_probs_BT)
        return policy_losses.ratio(log_probs_BT, sampler_BT, batch.action_mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT, mask_BT = self._ratio(batch, log_probs_BT), batch.action_mask_BT
        losses_BT = policy_losses.within_probability(
            ratio_BT, log_probs_BT, _advantages(batch), mask_BT, self.low, self.high
        )
        return losses_BT + self.pull * ratio_BT.log().square()

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        given = (log_probs_BT.detach(), _advantages(batch), batch.action_mask_BT, self.low, self.high)
        low_BT, high_BT = policy_losses.probability_binds(self._ratio(batch, log_probs_BT.detach()), *given)
        return {"clip/share": low_BT | high_BT, "clip/low": low_BT, "clip/high": high_BT}


@dataclass(frozen=True)
class ClipCov:
    """PPO's clip, and no gradient at all from a few random tokens of high covariance (Clip-Cov).

    A token's covariance is its advantage times its log-probability, each from its mean over the update's tokens.
    """

    low: Annotated[float, SHARE] = 0.2
    high: Annotated[float, FROM_0] = 0.2
    share: Annotated[float, ABOVE_0_TO_1] = 2e-4
    """Of all tokens of an update, at least one."""
    above: Annotated[float, ANY] = 1.0
    below: Annotated[float, ANY] = 5.0
    """Only tokens whose covariance is between the two are drawn, and none whose clip binds anyway."""
    uses_ratio: ClassVar[bool] = True
    zero_without_advantage: ClassVar[bool] = True
    formula = Formula(
        "min(ρ A, clip(ρ, 1-{low:g}, 1+{high:g}) A), 0 at a random {share:g} of the tokens, of those with "
        "{above:g} < (A - mean A)(log π - mean log π) < {below:g}; ρ = π(a)/π_old(a)"
    )

    def chosen(self, batch: Batch, log_probs_BT: Tensor, total: Total, key: tuple[int, ...]) -> Tensor:
        """bool [B,T], taken over a whole update, however it is cut into micro-batches; `key` keys the draw."""
        mask_BT, advantages_BT = batch.action_mask_BT, _advantages(batch)
        cov_BT = covariances.token_covariance(log_probs_BT, advantages_BT, mask_BT, total)
        ratio_BT = _ratio(batch, log_probs_BT)
        low_BT, high_BT = policy_losses.clip_binds(ratio_BT, advantages_BT, mask_BT, self.low, self.high)
        candidates_BT = mask_BT & (cov_BT > self.above) & (cov_BT < self.below) & ~low_BT & ~high_BT
        candidates_N, own = batch.processes.gather(candidates_BT[mask_BT].long())
        luck_N = torch.from_numpy(generator(key).random(len(candidates_N))).to(mask_BT.device)  # pyright: ignore[reportUnknownMemberType]
        return _largest(luck_N, candidates_N.bool(), self.share, own, mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        given = (_ratio(batch, log_probs_BT), _advantages(batch), batch.action_mask_BT, self.low, self.high)
        return zeroed(policy_losses.clipped_surrogate(*given), batch.action_mask_BT & ~_chosen(batch))

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        """bool [B,T] by metric name: where each bound takes the gradient away, and the tokens that were drawn."""
        bounds = _bounds(batch, _ratio(batch, log_probs_BT.detach()), self.low, self.high)
        return {**bounds, "covariance/chosen": _chosen(batch)}


@dataclass(frozen=True)
class KLCov:
    """ρ A without a clip, and |log ρ| held down at the few tokens of the highest covariance (KL-Cov)."""

    share: Annotated[float, ABOVE_0_TO_1] = 2e-3
    """Of all tokens of an update, at least one."""
    coefficient: Annotated[float, FROM_0] = 1.0
    uses_ratio: ClassVar[bool] = True
    formula = Formula(
        "ρ A, less {coefficient:g} |log ρ| at the {share:g} of the tokens with the largest "
        "(A - mean A)(log π - mean log π)"
    )

    def chosen(self, batch: Batch, log_probs_BT: Tensor, total: Total, key: tuple[int, ...]) -> Tensor:
        """bool [B,T], taken over a whole update, however it is cut into micro-batches. Nothing is drawn."""
        mask_BT = batch.action_mask_BT
        cov_BT = covariances.token_covariance(log_probs_BT, _advantages(batch), mask_BT, total)
        cov_N, own = batch.processes.gather(cov_BT[mask_BT])
        return _largest(cov_N, torch.ones_like(cov_N, dtype=torch.bool), self.share, own, mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT, mask_BT = _ratio(batch, log_probs_BT), batch.action_mask_BT
        held_BT = zeroed(ratio_BT.log().abs(), mask_BT & _chosen(batch))
        return policy_losses.surrogate(ratio_BT, _advantages(batch), mask_BT) + self.coefficient * held_BT

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return {"covariance/chosen": _chosen(batch)}


def _largest(values_N: Tensor, candidates_N: Tensor, share: float, own: slice, mask_BT: Tensor) -> Tensor:
    """bool [B,T] this process's tokens among the largest `share`, at least one, of the tokens [N] of all processes."""
    chosen_N = covariances.largest(values_N, candidates_N, max(1, int(share * len(values_N))))
    return torch.zeros_like(mask_BT).masked_scatter(mask_BT, chosen_N[own])


def _chosen(batch: Batch) -> Tensor:
    assert batch.chosen_BT is not None, "the tokens are chosen before the objective, from the whole update"
    return batch.chosen_BT & batch.action_mask_BT


def _bounds(batch: Batch, ratio_BT: Tensor, low: float, high: float) -> Mapping[str, Tensor]:
    low_BT, high_BT = policy_losses.clip_binds(ratio_BT, _advantages(batch), batch.action_mask_BT, low, high)
    return {"clip/share": low_BT | high_BT, "clip/low": low_BT, "clip/high": high_BT}
