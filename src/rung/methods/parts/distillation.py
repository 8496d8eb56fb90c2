"""Distillation from a teacher's whole distribution: the objective, and the divergences that it lowers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import divergences
from rung.formulas.masked import zeroed
from rung.methods.parts.protocols import Divergence, Formula, formula_of
from rung.methods.ranges import BETWEEN_0_AND_1, FROM_1


@dataclass(frozen=True)
class ReverseKL:
    """KL(π ‖ π_T): the student leaves out what the teacher would not say, and may leave out more (mode seeking)."""

    formula: ClassVar[str] = "KL(π ‖ π_T)"

    def __call__(self, log_probs_NV: Tensor, teacher_NV: Tensor) -> Tensor:
        return divergences.categorical_kl(log_probs_NV, teacher_NV)


@dataclass(frozen=True)
class ForwardKL:
    """KL(π_T ‖ π): the student says everything that the teacher would say, and may say more (mode covering)."""

    formula: ClassVar[str] = "KL(π_T ‖ π)"

    def __call__(self, log_probs_NV: Tensor, teacher_NV: Tensor) -> Tensor:
        return divergences.categorical_kl(teacher_NV, log_probs_NV)


@dataclass(frozen=True)
class GeneralisedJSD:
    """β KL(π_T ‖ m) + (1-β) KL(π ‖ m) with the mixture m = β π_T + (1-β) π: between the two KLs, and bounded (GKD)."""

    teacher_share: Annotated[float, BETWEEN_0_AND_1] = 0.5
    """β, of the mixture: towards 0 it leans to KL(π_T ‖ π), towards 1 to KL(π ‖ π_T)."""
    formula = Formula("β KL(π_T ‖ m) + (1-β) KL(π ‖ m), m = β π_T + (1-β) π, β = {teacher_share:g}")

    def __call__(self, log_probs_NV: Tensor, teacher_NV: Tensor) -> Tensor:
        return divergences.generalised_jsd(log_probs_NV, teacher_NV, self.teacher_share)


@dataclass(frozen=True)
class ToTeacher:
    """-D(π, π_T) at each token, over the whole vocabulary: the expectation of which one drawn token is a sample.

    It needs no reward. Its gradient is that of each token's own divergence: how a token leads to others is not counted.
    """

    divergence: Divergence = ReverseKL()
    top_k: Annotated[int, FROM_1] | None = None
    """Only the teacher's so many likeliest tokens are told apart; any other is one more. None: the whole vocabulary."""

    @property
    def formula(self) -> str:
        over = "" if self.top_k is None else f" over the {self.top_k} likeliest of π_T and any other"
        return f"-[{formula_of(self.divergence)}]{over}"

    def to_teacher(self, log_probs_NV: Tensor, teacher_NV: Tensor) -> Tensor:
        """[N] D of both whole distributions."""
        if self.top_k is not None and self.top_k < teacher_NV.shape[1]:
            ids_NK = teacher_NV.topk(self.top_k, dim=1).indices
            log_probs_NV, teacher_NV = (divergences.with_the_rest(one, ids_NK) for one in (log_probs_NV, teacher_NV))
        return self.divergence(log_probs_NV, teacher_NV)

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        assert batch.divergence_BT is not None, (
            "the divergence comes from both whole distributions, before the objective"
        )
        return zeroed(batch.divergence_BT, batch.action_mask_BT)


@dataclass(frozen=True)
class NoAdvantage:
    """A = 0: nothing is credited, because the objective judges each token itself."""

    formula: ClassVar[str] = "A = 0: no reward is needed"

    def __call__(self, batch: Batch) -> Tensor:
        return torch.zeros_like(batch.rewards_BT)
