"""A method is data: one frozen dataclass whose slots are filled by parts.

Reading a definition is understanding the method; `changed` makes a variant; there is no inheritance between
methods, and the training loop knows no method's name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from rung.batch import Batch
from rung.methods.parts.advantages import Advantage
from rung.methods.parts.aggregations import Aggregation, Total
from rung.methods.parts.objectives import Objective
from rung.methods.parts.reference_kl import ReferenceKL
from rung.methods.parts.steps import AdamW


@dataclass(frozen=True, kw_only=True)
class PolicyGradient:
    """A policy-gradient method: J = E[ aggregation ( objective ) - reference KL ], climbed by `step`.

    Example: `GRPO.changed(name="grpo-two", minibatches=2)` is GRPO with two updates a rollout.
    """

    name: str
    paper: str
    summary: str
    """One sentence: the idea."""
    parent: str | None = None
    """The method below on the ladder, which `rung diff` compares with."""
    deviations: tuple[str, ...] = ()
    """Where the definition goes beyond, or away from, what the paper states."""

    samples_per_prompt: int
    advantage: Advantage
    objective: Objective
    aggregation: Aggregation
    reference_kl: ReferenceKL | None = None
    step: AdamW
    epochs: int = 1
    """Passes over one rollout's samples."""
    minibatches: int = 1
    """Updates a pass."""

    def changed(self, **slots: Any) -> PolicyGradient:
        """A copy with other slots; its parent is this method unless another is named."""
        return replace(self, **{"parent": self.name, **slots})

    def problems(self) -> list[str]:
        """What makes this combination of slots impossible, as sentences; empty when it can run."""
        found: list[str] = []
        for slot in ("samples_per_prompt", "epochs", "minibatches"):
            if getattr(self, slot) < 1:
                found.append(f"method.{slot}: got {getattr(self, slot)}, expected at least 1")
        if self.advantage.needs_group and self.samples_per_prompt == 1:
            found.append(
                f"method.samples_per_prompt: got 1, but {type(self.advantage).__name__} compares the samples of one "
                "prompt: with one sample every advantage is 0; set 2 or more"
            )
        if not self.objective.uses_ratio and self.epochs * self.minibatches > 1:
            found.append(
                f"method.epochs x method.minibatches: got {self.epochs} x {self.minibatches} updates a rollout, but "
                f"{type(self.objective).__name__} has no ratio to correct for samples of an older policy; set both to 1"
            )
        return found

    def updates_per_rollout(self) -> int:
        return self.epochs * self.minibatches

    def needs_old_log_probs(self) -> bool:
        """Whether the learner's log-probs must be taken before the first update.

        With one update a rollout the current log-probs are the old ones, and a whole pass is saved.
        """
        in_reward = self.reference_kl is not None and self.reference_kl.needs_old_log_probs
        return in_reward or (self.objective.uses_ratio and self.updates_per_rollout() > 1)

    def with_advantages(self, batch: Batch) -> Batch:
        """The batch with `advantages_BT`, after any KL has been taken off the rewards."""
        rewards_BT = batch.rewards_BT if self.reference_kl is None else self.reference_kl.rewards(batch)
        advantages_BT = self.advantage(batch.changed(rewards_BT=rewards_BT))
        return batch.changed(advantages_BT=advantages_BT.detach())

    def learns_from(self, batch: Batch) -> Tensor:
        """bool [B]: rows whose loss can have a gradient; the others need no backward pass, and none is wasted on them.

        A row whose advantages are all 0 teaches nothing unless a reference KL stands in the loss.
        """
        assert batch.advantages_BT is not None, "the advantage comes before"
        if self.reference_kl is not None and self.reference_kl.in_loss:
            return batch.counted_B()
        return (batch.advantages_BT != 0).any(1)

    def losses(self, batch: Batch, log_probs_BT: Tensor) -> Tensor:
        """[B,T] loss of each token, to be weighted by `weights` and summed."""
        losses_BT = self.objective(batch, log_probs_BT)
        if self.reference_kl is not None:
            losses_BT = losses_BT + self.reference_kl.loss(batch, log_probs_BT)
        return losses_BT

    def weights(self, batch: Batch, total: Total) -> Tensor:
        """[B,T] weights with which the whole batch's losses are summed; taken before it is cut into micro-batches."""
        return self.aggregation(batch, total)
