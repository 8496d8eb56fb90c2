"""What credits an action: called with the batch, gives [B,T]. `needs_group`: it compares one prompt's samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rung.batch import Batch
from rung.formulas import advantages, returns
from rung.formulas.masked import zeroed
from rung.methods.parts.baselines import Baseline


def _at_every_step(advantages_B: Tensor, batch: Batch) -> Tensor:
    return zeroed(advantages_B[:, None].expand_as(batch.rewards_BT), batch.action_mask_BT)


@dataclass(frozen=True)
class EpisodeReturn:
    """A_t = R - b at every step: the whole episode's return credits each of its actions (episodic REINFORCE)."""

    baseline: Baseline | None = None

    @property
    def needs_group(self) -> bool:
        return self.baseline is not None and self.baseline.needs_group

    @property
    def formula(self) -> str:
        return "A_{i,t} = R_i" + (f" - {self.baseline.formula}" if self.baseline else "")

    def __call__(self, batch: Batch) -> Tensor:
        returns_B = batch.returns_B()
        if self.baseline is not None:
            returns_B = returns_B - self.baseline(returns_B, batch)
        return _at_every_step(returns_B, batch)


@dataclass(frozen=True)
class RewardToGo:
    """A_t = G_t - b: an action is credited with what came after it. Same mean as the whole return, less variance."""

    discount: float = 1.0
    baseline: Baseline | None = None

    @property
    def needs_group(self) -> bool:
        return self.baseline is not None and self.baseline.needs_group

    @property
    def formula(self) -> str:
        power = "" if self.discount == 1.0 else f"{self.discount:g}^{{k-t}} "
        return f"A_{{i,t}} = ∑_{{k≥t}} {power}r_{{i,k}}" + (f" - {self.baseline.formula}" if self.baseline else "")

    def __call__(self, batch: Batch) -> Tensor:
        to_go_BT = returns.reward_to_go(
            batch.rewards_BT,
            batch.discounts_BT,
            batch.cut_BT,
            batch.bootstrap_BT,
            batch.action_mask_BT,
            self.discount,
        )
        if self.baseline is not None:
            to_go_BT = to_go_BT - self.baseline(batch.returns_B(), batch)[:, None]
        return zeroed(to_go_BT, batch.action_mask_BT)


@dataclass(frozen=True)
class GroupNormalized:
    """A_i = (R_i - group mean) / (group standard deviation + ε), the same at each of the sequence's tokens."""

    epsilon: float = 1e-6
    ddof: int = 0
    """0: population deviation; 1: sample deviation."""
    needs_group: ClassVar[bool] = True

    @property
    def formula(self) -> str:
        return f"A_{{i,t}} = (R_i - mean_j R_j) / (std_j R_j + {self.epsilon:g}) over the prompt's samples"

    def __call__(self, batch: Batch) -> Tensor:
        advantages_B = advantages.group_normalized(
            batch.returns_B(), batch.group_ids_B, batch.counted_B(), self.epsilon, self.ddof
        )
        return _at_every_step(advantages_B, batch)


@dataclass(frozen=True)
class GroupCentred:
    """A_i = R_i - group mean, no deviation: a hard or an easy prompt weighs what its rewards weigh (Dr. GRPO)."""

    formula: ClassVar[str] = "A_{i,t} = R_i - mean_j R_j over the prompt's samples"
    needs_group: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Tensor:
        advantages_B = advantages.group_centred(batch.returns_B(), batch.group_ids_B, batch.counted_B())
        return _at_every_step(advantages_B, batch)


Advantage = EpisodeReturn | RewardToGo | GroupNormalized | GroupCentred
