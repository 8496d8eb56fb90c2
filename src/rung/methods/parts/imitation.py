"""Imitation: likelihood that is raised beside the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from rung.batch import Batch
from rung.formulas import advantages, aggregations
from rung.methods.parts.protocols import Formula, Total
from rung.methods.ranges import ABOVE_0


@dataclass(frozen=True)
class RightAnswersToo:
    """weight · the mean log-prob of the right answers' tokens: a rare success is also learnt by heart (VAPO)."""

    weight: Annotated[float, ABOVE_0] = 0.1
    formula = Formula("+ {weight:g} · mean log π(o_t) over the tokens of right answers")

    def __call__(self, batch: Batch, total: Total) -> Tensor:
        """[B,T] the weight of each token's log-prob; all of an update's right answers share it."""
        right_B = advantages.right_answers(batch.scores_B, batch.counted_B()) > 0
        mask_BT = batch.action_mask_BT & right_B[:, None]
        return self.weight * aggregations.token_mean(mask_BT, total(mask_BT.sum()))
