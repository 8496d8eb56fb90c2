"""Learning from pairs of answers of which one was preferred: the policy itself, or a reward model, in one dataclass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from rung.methods.kind import Method
from rung.methods.parts.preference_losses import LOG_PROBS, Answers
from rung.methods.parts.protocols import GradientOptimizer, PreferenceLoss, fact, formula_of
from rung.methods.ranges import FROM_1


@dataclass(frozen=True, kw_only=True)
class PreferenceLearning(Method):
    """A method that lowers E[ loss ] over stored pairs, one update a step; nothing is sampled.

    Example: `DPO.changed(name="dpo-near", loss=DPOLoss(beta=0.5))` keeps nearer to the reference.
    """

    loss: PreferenceLoss
    optimizer: GradientOptimizer
    pairs_per_step: Annotated[int, FROM_1] = 64
    """Pairs of one update; for a loss without pairs (KTO) answers come in pairs where the data has them."""

    def contradictions(self) -> Iterator[str]:
        if not self.loss.paired and self.pairs_per_step == 1:
            yield (
                f"method.pairs_per_step: got 1, but {type(self.loss).__name__} estimates the KL from answers to other "
                "prompts of the step; set 2 or more"
            )

    def formula(self) -> str:
        """The loss, and the optimizer."""
        over = "pairs (x, y_w, y_l)" if self.loss.paired else "answers (x, y)"
        lines = [
            f"L = E[ {formula_of(self.loss)} ] over {over}",
            fact(self.loss, "inside", ""),
            formula_of(self.optimizer),
        ]
        return "\n".join(line for line in lines if line)

    def needs_start(self) -> bool:
        """Whether the loss has a reference: the policy as it was at the start."""
        return self.loss.has_reference

    def trains_policy(self) -> bool:
        """False for a reward model."""
        return self.loss.reads == LOG_PROBS

    def losses(self, answers: Answers) -> Tensor:
        """One loss a pair [M], or an answer [B] for a loss without pairs; the whole batch's mean is lowered."""
        return self.loss(answers)
