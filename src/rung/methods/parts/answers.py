"""What a loss on preferences sees of a batch: one number an answer, and which answers are a pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rung.batch import Batch

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
    """By how much each chosen answer is held to be better; 0 where nobody said."""
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

    def chosen(self, numbers_B: Tensor) -> Tensor:
        """[M] of the chosen answers."""
        return numbers_B[self.pairs_M2[:, 0]]

    def rejected(self, numbers_B: Tensor) -> Tensor:
        """[M] of the rejected answers."""
        return numbers_B[self.pairs_M2[:, 1]]

    def margins_M(self, numbers_B: Tensor) -> Tensor:
        """Chosen less rejected."""
        return self.chosen(numbers_B) - self.rejected(numbers_B)


def pairs_of(batch: Batch) -> Tensor:
    """int64 [M,2]: the rows of each pair, chosen first, in the order of the chosen rows.

    The rows of a pair have one group id; a group with one row stands alone and is no pair.
    """
    rejected_rows = {int(batch.group_ids_B[b]): int(b) for b in torch.nonzero(batch.accuracy_B < CHOSEN)[:, 0]}
    pairs = [
        (int(b), rejected_rows[int(batch.group_ids_B[b])])
        for b in torch.nonzero(batch.accuracy_B >= CHOSEN)[:, 0]
        if int(batch.group_ids_B[b]) in rejected_rows
    ]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
