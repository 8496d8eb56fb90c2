"""Policy objectives that choose tokens by comparing all of an update's: by covariance, by entropy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import covariances, policy_losses
from rung.formulas.masked import zeroed
from rung.methods.parts.objectives import ClippedSurrogate, advantages_of, clip_bounds, ratio_of
from rung.methods.parts.protocols import Formula, Total
from rung.methods.ranges import ABOVE_0_TO_1, ANY, FROM_0, SHARE
from rung.random import generator


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
        mask_BT, advantages_BT = batch.action_mask_BT, advantages_of(batch)
        cov_BT = covariances.token_covariance(log_probs_BT, advantages_BT, mask_BT, total)
        ratio_BT = ratio_of(batch, log_probs_BT)
        low_BT, high_BT = policy_losses.clip_binds(ratio_BT, advantages_BT, mask_BT, self.low, self.high)
        candidates_BT = mask_BT & (cov_BT > self.above) & (cov_BT < self.below) & ~low_BT & ~high_BT
        candidates_N, own = batch.processes.gather(candidates_BT[mask_BT].long())
        luck_N = torch.from_numpy(generator(key).random(len(candidates_N))).to(mask_BT.device)  # pyright: ignore[reportUnknownMemberType]
        return _largest(luck_N, candidates_N.bool(), self.share, own, mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        given = (ratio_of(batch, log_probs_BT), advantages_of(batch), batch.action_mask_BT, self.low, self.high)
        return zeroed(policy_losses.clipped_surrogate(*given), batch.action_mask_BT & ~_chosen(batch))

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        """bool [B,T] by metric name: where each bound takes the gradient away, and the tokens that were drawn."""
        bounds = clip_bounds(batch, ratio_of(batch, log_probs_BT.detach()), self.low, self.high)
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
        cov_BT = covariances.token_covariance(log_probs_BT, advantages_of(batch), mask_BT, total)
        cov_N, own = batch.processes.gather(cov_BT[mask_BT])
        return _largest(cov_N, torch.ones_like(cov_N, dtype=torch.bool), self.share, own, mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        ratio_BT, mask_BT = ratio_of(batch, log_probs_BT), batch.action_mask_BT
        held_BT = zeroed(ratio_BT.log().abs(), mask_BT & _chosen(batch))
        return policy_losses.surrogate(ratio_BT, advantages_of(batch), mask_BT) + self.coefficient * held_BT

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        return {"covariance/chosen": _chosen(batch)}


@dataclass(frozen=True)
class HighEntropy(ClippedSurrogate):
    """PPO's clip at the tokens where the policy is least sure what comes next, and nothing elsewhere (80/20).

    Most tokens finish what is begun; few decide where an answer goes.
    """

    share: Annotated[float, ABOVE_0_TO_1] = 0.2
    """Of all tokens of an update, at least one."""
    slope: ClassVar[None] = None  # pyright: ignore[reportIncompatibleMethodOverride]
    chooses_by_entropy: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        return f"({super().formula}) at the {self.share:g} of the tokens with the highest entropy of π, else 0"

    def chosen(self, batch: Batch, log_probs_BT: Tensor, total: Total, key: tuple[int, ...]) -> Tensor:
        """bool [B,T], taken over a whole update, however it is cut into micro-batches. Nothing is drawn."""
        assert batch.entropy_BT is not None, "the entropy comes before the choice"
        entropy_N, own = batch.processes.gather(batch.entropy_BT[batch.action_mask_BT])
        return _largest(entropy_N, torch.ones_like(entropy_N, dtype=torch.bool), self.share, own, batch.action_mask_BT)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        return zeroed(super().__call__(batch, log_probs_BT), _chosen(batch))

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> Mapping[str, Tensor]:
        bounds = super().diagnostics(batch, log_probs_BT)
        return {name: bound_BT & _chosen(batch) for name, bound_BT in bounds.items()}


def _largest(values_N: Tensor, candidates_N: Tensor, share: float, own: slice, mask_BT: Tensor) -> Tensor:
    """bool [B,T] this process's tokens among the largest `share`, at least one, of the tokens [N] of all processes."""
    chosen_N = covariances.largest(values_N, candidates_N, max(1, int(share * len(values_N))))
    return torch.zeros_like(mask_BT).masked_scatter(mask_BT, chosen_N[own])


def _chosen(batch: Batch) -> Tensor:
    assert batch.chosen_BT is not None, "the tokens are chosen before the objective, from the whole update"
    return batch.chosen_BT & batch.action_mask_BT
