"""Which groups are learnt from: called with the groups' accuracies before any shaping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class AccuraciesDiffer:
    """Keep a prompt only if its samples are neither all right nor all wrong, and draw further prompts in their place.

    It looks at the accuracy, never at the shaped reward: a length penalty would make an all-wrong group differ.
    """

    refill: bool = True
    """Draw further prompts until the step is full; False: train on fewer."""
    most_batches: int = 10
    """Rounds of drawing at most; then the step goes on with what there is, and says so."""
    formula: ClassVar[str] = "only prompts with 0 < #right < G"

    def __call__(self, accuracies: Sequence[float]) -> bool:
        """Whether a group with these accuracies (judged samples only) is kept.

        >>> AccuraciesDiffer()([1.0, 0.0, 1.0]), AccuraciesDiffer()([1.0, 1.0])
        (True, False)
        """
        return len(set(accuracies)) > 1


KeepGroup = AccuraciesDiffer
