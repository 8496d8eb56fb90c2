"""Advantages by turn, for episodes in which an environment or tools answer. An episode without turns is one turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import advantages, turns
from rung.methods.parts.protocols import Baseline, Formula, fact, formula_of
from rung.methods.ranges import FROM_0, SHARE, ZERO_OR_ONE


def _turns(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Which turn each action is of, what each turn earned, and which turns a row has."""
    turns_BT = torch.zeros_like(batch.action_mask_BT, dtype=torch.int64) if batch.turns_BT is None else batch.turns_BT
    return turns_BT, *turns.turn_rewards(batch.rewards_BT, turns_BT, batch.action_mask_BT)


def _at_tokens(values_BK: Tensor, turns_BT: Tensor, batch: Batch) -> Tensor:
    return turns.at_tokens(values_BK, turns_BT, batch.action_mask_BT).to(batch.rewards_BT)


@dataclass(frozen=True)
class TurnRewardToGo:
    """A_t = G_k - b: a turn is credited with its own reward and with those of later turns, discounted by turns."""

    turn_discount: Annotated[float, SHARE] = 1.0
    baseline: Baseline | None = None
    """Over the episodes' G of the first turn."""

    @property
    def needs_group(self) -> bool:
        return fact(self.baseline, "needs_group", False)

    @property
    def formula(self) -> str:
        power = "" if self.turn_discount == 1.0 else f"{self.turn_discount:g}^{{l-k}} "
        minus = f" - {formula_of(self.baseline)}" if self.baseline else ""
        return f"A_{{i,t}} = ∑_{{turns l≥k}} {power}r_{{i,l}}{minus}, k the turn of t"

    def __call__(self, batch: Batch) -> Tensor:
        turns_BT, rewards_BK, _ = _turns(batch)
        to_go_BK = turns.turn_to_go(rewards_BK, self.turn_discount)
        if self.baseline is not None:
            to_go_BK = to_go_BK - self.baseline(to_go_BK[:, 0], batch)[:, None]
        return _at_tokens(to_go_BK, turns_BT, batch)


@dataclass(frozen=True)
class TurnNormalized:
    """A turn's reward among the same turns of the prompt's samples, plus the outcome among their outcomes (MT-GRPO).

    The outcome is the last turn's reward. The paper has two turns; here each turn but the last is as its first.
    """

    outcome_weight: Annotated[float, FROM_0] = 1.0
    """Of the outcome in turns before the last."""
    epsilon: Annotated[float, FROM_0] = 1e-6
    ddof: Annotated[int, ZERO_OR_ONE] = 0
    """0: population deviation; 1: sample deviation."""
    needs_group: ClassVar[bool] = True
    formula = Formula(
        "A_{{i,t}} = (r_{{i,k}} - mean_j r_{{j,k}}) / (std_j r_{{j,k}} + {epsilon:g}) + {outcome_weight:g} A_i^{{last}}"
        ", in the last turn A_i^{{last}} alone"
    )

    def __call__(self, batch: Batch) -> Tensor:
        turns_BT, rewards_BK, has_BK = _turns(batch)
        found_BK = turns.turns_normalized(
            rewards_BK, has_BK, batch.group_ids_B, self.outcome_weight, self.epsilon, self.ddof
        )
        return _at_tokens(found_BK, turns_BT, batch)


@dataclass(frozen=True)
class StateGroups:
    """The episode among the prompt's samples, plus each turn among those that began in the same state (GiGPO).

    States are what an environment's `state()` says; without it, what the policy read before the turn.
    """

    turn_discount: Annotated[float, SHARE] = 0.95
    state_weight: Annotated[float, FROM_0] = 1.0
    scale: bool = True
    """Over the deviations; False leaves them out of both."""
    epsilon: Annotated[float, FROM_0] = 1e-6
    ddof: Annotated[int, ZERO_OR_ONE] = 0
    """0: population deviation; 1: sample deviation."""
    needs_group: ClassVar[bool] = True
    formula = Formula(
        "A_{{i,t}} = Â(R_i) + {state_weight:g} Â(∑_{{l≥k}} {turn_discount:g}^{{l-k}} r_{{i,l}}), Â over the prompt's"
        " samples and over the turns of one state"
    )

    def __call__(self, batch: Batch) -> Tensor:
        turns_BT, rewards_BK, has_BK = _turns(batch)
        whole = batch.returns_B().double(), batch.group_ids_B, batch.counted_B()
        episode_B = advantages.group_normalized(*whole, self.epsilon, self.ddof)
        if not self.scale:
            episode_B = advantages.group_centred(*whole)
        to_go_BK = turns.turn_to_go(rewards_BK, self.turn_discount)
        states_BK = batch.group_ids_B[:, None].expand_as(has_BK)
        if batch.states_BT is not None:
            states_BK = torch.zeros_like(states_BK).scatter_reduce(1, turns_BT, batch.states_BT, "amax")
        state_BK = turns.states_normalized(to_go_BK, has_BK, states_BK, self.epsilon, self.ddof, self.scale)
        return _at_tokens(episode_B[:, None] + self.state_weight * state_BK, turns_BT, batch)
