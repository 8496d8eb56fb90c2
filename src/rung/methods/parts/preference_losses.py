"""Preference losses: called with the answers, each gives one number a pair, or an answer.

`reads` says which number of an answer the loss reads: its log-prob under the policy, or a reward model's score.
`inside` says what the letters of its formula mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import preference_losses
from rung.methods.parts.protocols import Formula
from rung.methods.ranges import ABOVE_0, BELOW_HALF, FROM_0

LOG_PROBS, SCORES = "log-probs", "scores"
_H = "h = log π/π_ref(y_w) - log π/π_ref(y_l)"
_MEAN_H = "h = log π/π_ref(y_w) / |y_w| - log π/π_ref(y_l) / |y_l|"


class OfThePolicy:
    """The usual loss: of pairs, on the policy's log-probs, against a reference."""

    reads: ClassVar[str] = LOG_PROBS
    has_reference: ClassVar[bool] = True
    paired: ClassVar[bool] = True


@dataclass(frozen=True)
class DPOLoss(OfThePolicy):
    """-log σ(β h): the policy's log-ratio to its reference takes the place of a reward."""

    beta: Annotated[float, ABOVE_0] = 0.1
    """KL strength: larger stays closer to the reference."""
    per_token: bool = False
    """h of log-ratios divided by the answers' lengths (length-normalised DPO)."""
    formula = Formula("-log σ({beta:g} h)")

    @property
    def inside(self) -> str:
        return _MEAN_H if self.per_token else _H

    def __call__(self, answers: Answers) -> Tensor:
        return preference_losses.dpo(answers.margins_M(answers.log_ratios_B(per_token=self.per_token)), self.beta)


@dataclass(frozen=True)
class DPOWithLikelihood(OfThePolicy):
    """-log σ(β h) - w log π(y_w)/|y_w|: DPO, and fine-tuning on the chosen answer so that it does not grow less likely.

    DPO alone is content when the rejected answer falls faster than the chosen one.
    """

    beta: Annotated[float, ABOVE_0] = 0.1
    """KL strength: larger stays closer to the reference."""
    weight: Annotated[float, FROM_0] = 1.0
    """w, the weight of the chosen answer's mean log-prob."""
    inside: ClassVar[str] = _H
    formula = Formula("-log σ({beta:g} h) - {weight:g} log π(y_w)/|y_w|")

    def __call__(self, answers: Answers) -> Tensor:
        chosen_M, _ = answers.split(answers.means_B())
        margins_M = answers.margins_M(answers.log_ratios_B())
        return preference_losses.dpo_with_likelihood(margins_M, chosen_M, self.beta, self.weight)


@dataclass(frozen=True)
class ConservativeDPOLoss(OfThePolicy):
    """DPO that assumes a share of the labels to be flipped, so that the best margin is finite."""

    beta: Annotated[float, ABOVE_0] = 0.1
    flipped: Annotated[float, BELOW_HALF] = 0.1
    """ε: the share of labels that are wrong."""
    inside: ClassVar[str] = _H

    @property
    def formula(self) -> str:
        return f"-{1 - self.flipped:g} log σ({self.beta:g} h) - {self.flipped:g} log σ(-{self.beta:g} h)"

    def __call__(self, answers: Answers) -> Tensor:
        return preference_losses.cdpo(answers.margins_M(answers.log_ratios_B()), self.beta, self.flipped)


@dataclass(frozen=True)
class RobustDPOLoss(OfThePolicy):
    """DPO made unbiased under labels of which a known share is flipped."""

    beta: Annotated[float, ABOVE_0] = 0.1
    flipped: Annotated[float, BELOW_HALF] = 0.1
    """ε: the share of labels that are wrong, below a half."""
    inside: ClassVar[str] = _H

    @property
    def formula(self) -> str:
        share = f"[-{1 - self.flipped:g} log σ({self.beta:g} h) + {self.flipped:g} log σ(-{self.beta:g} h)]"
        return f"{share} / {1 - 2 * self.flipped:g}"

    def __call__(self, answers: Answers) -> Tensor:
        return preference_losses.rdpo(answers.margins_M(answers.log_ratios_B()), self.beta, self.flipped)


@dataclass(frozen=True)
class IPOLoss(OfThePolicy):
    """(h - 1/(2τ))²: the margin has one target value, so that certain labels do not drive it to infinity."""

    tau: Annotated[float, ABOVE_0] = 0.1
    """KL strength: larger stays closer to the reference."""
    per_token: bool = False
    """h of log-ratios divided by the answers' lengths, as TRL has it."""

    @property
    def formula(self) -> str:
        return f"(h - {1 / (2 * self.tau):g})²"

    @property
    def inside(self) -> str:
        return _MEAN_H if self.per_token else _H

    def __call__(self, answers: Answers) -> Tensor:
        return preference_losses.ipo(answers.margins_M(answers.log_ratios_B(per_token=self.per_token)), self.tau)


@dataclass(frozen=True)
class SimPOLoss(OfThePolicy):
    """The mean log-prob itself is the reward, and it must differ by a target margin; no reference is kept."""

    beta: Annotated[float, ABOVE_0] = 2.5
    target: Annotated[float, FROM_0] = 1.4
    """γ: the margin in β-scaled nats a token."""
    inside: ClassVar[str] = ""
    has_reference: ClassVar[bool] = False
    formula = Formula("-log σ({beta:g} [log π(y_w)/|y_w| - log π(y_l)/|y_l|] - {target:g})")

    def __call__(self, answers: Answers) -> Tensor:
        return preference_losses.simpo(*answers.split(answers.means_B()), self.beta, self.target)


@dataclass(frozen=True)
class ORPOLoss(OfThePolicy):
    """Fine-tuning on the chosen answer, and beside it the odds ratio of the two; no reference is kept."""

    weight: Annotated[float, FROM_0] = 0.1
    """λ, the weight of the odds-ratio loss."""
    inside: ClassVar[str] = "log p = log π(y)/|y|, odds p = p/(1 - p)"
    has_reference: ClassVar[bool] = False
    formula = Formula("-log p(y_w) - {weight:g} log σ(log odds p(y_w) - log odds p(y_l))")

    def __call__(self, answers: Answers) -> Tensor:
        chosen_M, rejected_M = answers.split(answers.means_B())
        return self.weight * preference_losses.odds_ratio(chosen_M, rejected_M) - chosen_M


@dataclass(frozen=True)
class KTOLoss(OfThePolicy):
    """λ_y (1 - σ(±β (log-ratio - z))): each answer alone is called good or bad, measured against the mean KL z."""

    beta: Annotated[float, ABOVE_0] = 0.1
    desirable: Annotated[float, FROM_0] = 1.0
    """λ_D: the weight of a good answer."""
    undesirable: Annotated[float, FROM_0] = 1.0
    """λ_U: the weight of a bad one."""
    inside: ClassVar[str] = "r = log π/π_ref(y), z = max(0, mean r of answers put after other prompts)"
    paired: ClassVar[bool] = False
    formula = Formula(
        "{desirable:g} (1 - σ({beta:g} (r - z))) where good, {undesirable:g} (1 - σ({beta:g} (z - r))) where bad"
    )

    def __call__(self, answers: Answers) -> Tensor:
        """[B], one an answer."""
        losses_B = preference_losses.kto(answers.log_ratios_B(), answers.desirable_B, answers.anchor, self.beta)
        return losses_B * (
            self.desirable * answers.desirable_B.to(losses_B) + self.undesirable * (~answers.desirable_B).to(losses_B)
        )


@dataclass(frozen=True)
class APOZeroLoss(OfThePolicy):
    """1 - σ(β r_w) + σ(β r_l): chosen answers up, rejected ones down; for answers better than the policy's own."""

    beta: Annotated[float, ABOVE_0] = 0.1
    inside: ClassVar[str] = "r = log π/π_ref(y)"
    formula = Formula("1 - σ({beta:g} r_w) + σ({beta:g} r_l)")

    def __call__(self, answers: Answers) -> Tensor:
        return preference_losses.apo_zero(*answers.split(answers.log_ratios_B()), self.beta)


@dataclass(frozen=True)
class APODownLoss(OfThePolicy):
    """σ(β r_w) + 1 - σ(β (r_w - r_l)): both down, the rejected more; for answers worse than the policy's own."""

    beta: Annotated[float, ABOVE_0] = 0.1
    inside: ClassVar[str] = "r = log π/π_ref(y)"
    formula = Formula("σ({beta:g} r_w) + 1 - σ({beta:g} (r_w - r_l))")

    def __call__(self, answers: Answers) -> Tensor:
        return preference_losses.apo_down(*answers.split(answers.log_ratios_B()), self.beta)


@dataclass(frozen=True)
class Unlikelihood(OfThePolicy):
    """-log π(y_w) + α log π(y_l): fine-tuning on the chosen answer, and away from the rejected one."""

    alpha: Annotated[float, FROM_0] = 0.5
    """0: fine-tuning on the chosen answers alone."""
    inside: ClassVar[str] = ""
    has_reference: ClassVar[bool] = False
    formula = Formula("-log π(y_w) + {alpha:g} log π(y_l)")

    def __call__(self, answers: Answers) -> Tensor:
        return preference_losses.unlikelihood(*answers.split(answers.values_B), self.alpha)


@dataclass(frozen=True)
class BradleyTerry(OfThePolicy):
    """-log σ(r(y_w) - r(y_l) - m): a reward model should score the chosen answer higher."""

    inside: ClassVar[str] = "r a score of the whole answer, m the pair's margin, 0 where the data has none"
    reads: ClassVar[str] = SCORES
    has_reference: ClassVar[bool] = False
    formula: ClassVar[str] = "-log σ(r(y_w) - r(y_l) - m)"

    def __call__(self, answers: Answers) -> Tensor:
        at_least_M = answers.at_least_M.to(answers.values_B)
        return preference_losses.bradley_terry(*answers.split(answers.values_B), at_least_M)


CHOSEN, REJECTED = 1.0, 0.0
"""The accuracy of a chosen (or desirable) answer, and of a rejected one."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """B answers and the M pairs that they form; answers may also stand alone (KTO).

    Example, one pair: `values_B = [-3.0, -5.0]`, `lengths_B = [2, 4]`, `desirable_B = [True, False]`,
    `pairs_M2 = [[0, 1]]`.
    """

    values_B: Tensor
    """Log-prob of each whole answer, in nats, or a reward model's score of it. Differentiable."""
    reference_B: Tensor | None
    """The reference's log-probs; None where the loss has no reference."""
    lengths_B: Tensor
    """Tokens, the end token included."""
    desirable_B: Tensor
    """bool: chosen, or labelled good."""
    pairs_M2: Tensor
    """int64: the rows of each pair's chosen and rejected answer."""
    at_least_M: Tensor
    """Margin by which the label says the chosen answer is better; 0 where the data has none."""
    anchor: float = 0.0
    """KTO's z: the KL to the reference, estimated on mismatched pairs."""

    def log_ratios_B(self, *, per_token: bool = False) -> Tensor:
        """log π(y|x) - log π_ref(y|x), or its mean over the answer's tokens."""
        assert self.reference_B is not None, "this loss needs the reference's log-probs"
        ratios_B = self.values_B - self.reference_B.to(self.values_B)
        return ratios_B / self.lengths_B if per_token else ratios_B

    def means_B(self) -> Tensor:
        """log π(y|x) / |y|."""
        return self.values_B / self.lengths_B

    def split(self, numbers_B: Tensor) -> tuple[Tensor, Tensor]:
        """[M] of the chosen answers, and [M] of the rejected ones."""
        return numbers_B[self.pairs_M2[:, 0]], numbers_B[self.pairs_M2[:, 1]]

    def margins_M(self, numbers_B: Tensor) -> Tensor:
        """Chosen less rejected."""
        chosen_M, rejected_M = self.split(numbers_B)
        return chosen_M - rejected_M


def pairs_of(batch: Batch) -> Tensor:
    """int64 [M,2]: the rows of each pair, chosen first, in the order of the chosen rows.

    The rows of a pair have one group id; a group with one row stands alone and is no pair.
    """
    rejected_rows = {int(batch.group_ids_B[b]): int(b) for b in torch.nonzero(batch.scores_B < CHOSEN)[:, 0]}
    pairs = [
        (int(b), rejected_rows[int(batch.group_ids_B[b])])
        for b in torch.nonzero(batch.scores_B >= CHOSEN)[:, 0]
        if int(batch.group_ids_B[b]) in rejected_rows
    ]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
