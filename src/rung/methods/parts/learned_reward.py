"""Learned reward: fitted to preferences between segments of behaviour, in place of the task's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from rung.formulas.segment_preferences import disagreement
from rung.methods.parts.protocols import Formula, Queries, formula_of
from rung.methods.ranges import ABOVE_0, FROM_0, FROM_1, SHARE


@dataclass(frozen=True)
class ByDisagreement:
    """Ask about the pairs on which the ensemble's preferences vary most, among many drawn at random."""

    candidates: Annotated[int, FROM_1] = 10
    """Pairs drawn for each one that is asked about."""
    formula = Formula("the largest Var over predictors of P among {candidates} times as many pairs")

    def worth(self, first_PN: Tensor, second_PN: Tensor) -> Tensor:
        return disagreement(first_PN, second_PN)


@dataclass(frozen=True)
class AtRandom:
    """Ask about pairs drawn at random."""

    candidates: ClassVar[int] = 1
    formula: ClassVar[str] = "pairs at random"

    def worth(self, first_PN: Tensor, second_PN: Tensor) -> Tensor:
        return first_PN.new_zeros(first_PN.shape[1])


@dataclass(frozen=True)
class SegmentPreferences:
    """The reward is predicted by an ensemble that was fitted to preferences between two segments of steps.

    Each predictor has 2 x 64 leaky ReLU units and sees an observation and an action. Labels are drawn with
    replacement for each predictor, and those that it did not draw, 1/e of all, are its held-out ones.
    """

    members: Annotated[int, FROM_1] = 3
    """Reward predictors in the ensemble."""
    segment: Annotated[int, FROM_1] = 25
    """Steps of a segment; it lies within one episode."""
    queries: Queries = ByDisagreement()
    """Which pairs are asked about."""
    first_share: Annotated[float, SHARE] = 0.25
    """Share of the labels that compare segments of the starting policy, before any training. 1: all of them."""
    rate_halves_at: Annotated[int, FROM_1] = 2_000_000
    """h: the rate of labels is proportional to h / (T + h) after T steps. The paper's, for up to 50 million steps."""
    recent_steps: Annotated[int, FROM_1] = 25_000
    """The newest steps, which questions are about and over which predictions are normalised."""
    coin_share: Annotated[float, SHARE] = 0.1
    """Share of answers assumed to be random."""
    reward_std: Annotated[float, ABOVE_0] = 1.0
    """Standard deviation of the predicted rewards; their mean is 0."""
    l2_low: Annotated[float, FROM_1] = 1.1
    """The L2 coefficient is halved when the validation loss is below this multiple of the training loss."""
    l2_high: Annotated[float, FROM_1] = 1.5
    """The L2 coefficient is doubled when it is above this multiple. Where no label is wrong, 3 fits better."""
    predictor_rate: Annotated[float, ABOVE_0] = 1e-3
    """Learning rate of the predictors' Adam."""
    pairs_per_update: Annotated[int, FROM_1] = 32
    """Pairs per update of each predictor."""
    first_updates: Annotated[int, FROM_1] = 300
    """Updates on the first labels."""
    later_updates: Annotated[int, FROM_0] = 30
    """Updates after each later rollout."""

    @property
    def formula(self) -> str:
        keep, coin = f"{1 - self.coin_share:g}", f"{self.coin_share / 2:g}"
        return (
            f"P[σ¹ ≻ σ²] = {keep} · exp ∑ r̂(σ¹) / (exp ∑ r̂(σ¹) + exp ∑ r̂(σ²)) + {coin}, cross entropy; "
            f"r = mean of {self.members} r̂, each normalised, std {self.reward_std:g}; asks {formula_of(self.queries)}"
        )

    def first_labels(self, labels: int) -> int:
        """How many of the run's labels are asked about the starting policy; at least one.

        >>> SegmentPreferences().first_labels(700)
        175
        """
        return max(1, round(self.first_share * labels))
