"""Update record: what the updates of one rollout showed, for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.masked import masked_mean, zeroed
from rung.models.outputs import Outputs
from rung.trainers.ranks import Ranks
from rung.trainers.trainer import Metrics


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one rollout's updates were: the batch as it was learnt from, and numbers about the updates."""

    batch: Batch
    log_probs_BT: Tensor
    """The learner's log-probs of the rollout, before the first update."""
    entropy_BT: Tensor
    loss: float | None
    """None when no token was left to learn from: the update was skipped."""
    grad_norm: float | None
    learning_rate: float
    own_answers: bool = True
    """Whether the policy itself gave the answers, so that sampler and learner should agree on their log-probs."""
    diagnostics: Mapping[str, float] = field(default_factory=dict)

    def metrics(self) -> Metrics:
        """What the learner saw and did: entropy, the gap to the sampler, the gradient, the clip."""
        batch, mask_BT = self.batch, self.batch.action_mask_BT
        any_token = bool(mask_BT.any())
        gap_BT = (zeroed(self.log_probs_BT, mask_BT) - zeroed(batch.sampler_log_probs_BT, mask_BT)).abs()
        return {
            "entropy": float(masked_mean(self.entropy_BT, mask_BT)) if any_token else None,
            "sampler_gap/mean": float(masked_mean(gap_BT, mask_BT)) if any_token and self.own_answers else None,
            "sampler_gap/max": float(gap_BT.max()) if any_token and self.own_answers else None,
            "advantage/size": self._advantage_size() if any_token else None,
            "loss": self.loss,
            "grad/norm": self.grad_norm,
            "learning_rate": self.learning_rate,
            "clip/share": self.diagnostics.get("clip/share"),
            "clip/low": self.diagnostics.get("clip/low"),
            "clip/high": self.diagnostics.get("clip/high"),
            "episodes/trained": float(batch.counted_B().sum()),
            "tokens/trained": float(mask_BT.sum()),
            **{name: value for name, value in self.diagnostics.items() if not name.startswith("clip/")},
        }

    def _advantage_size(self) -> float:
        assert self.batch.advantages_BT is not None
        return float(masked_mean(self.batch.advantages_BT.abs(), self.batch.action_mask_BT))


Weights = tuple[Tensor, Tensor]
"""[B,T] of the objective's losses, and of the critic's."""
Diagnose = Callable[[Batch, Tensor], Mapping[str, Tensor]]
"""(part of the batch, the policy's log-probs of it) -> bool [B,T] by metric name."""
Loss = Callable[[Batch, Outputs, Weights], Tensor]
"""(part of the batch, what the model says of it, the losses' weights) -> the loss."""


class Noted:
    """What the passes of one update said, for its record: each process brings its own passes, and all note all."""

    def __init__(self, ranks: Ranks, minibatch: Batch, rows_B: Tensor, record: UpdateRecord) -> None:
        self._ranks, self._minibatch, self._rows_B, self._record = ranks, minibatch, rows_B, record
        self._mine: list[tuple[Tensor | None, Outputs, bool]] = []

    def take(self, part: Batch, micro_rows_B: Tensor | None, outputs: Outputs, counts: bool) -> None:
        """One pass of this process, over these rows of the minibatch; None: all of them."""
        if self._ranks.size == 1:
            rows_B = self._rows_B if micro_rows_B is None else self._rows_B[micro_rows_B]
            self._record.note(part, rows_B, outputs)
        else:
            self._mine.append((micro_rows_B, outputs.detached(), counts))

    def over(self, passes: Sequence[Tensor | None]) -> None:
        """All processes have made these passes."""
        if not self._mine:
            return
        rows_B = torch.cat([rows_B for rows_B in passes if rows_B is not None])
        seen = [self._whole(field) for field in range(len(self._mine[0][1]))]
        self._mine = []
        outputs = Outputs(*(None if one_BT is None else one_BT[rows_B] for one_BT in seen))
        self._record.note(self._minibatch.rows(rows_B), self._rows_B[rows_B], outputs)

    def _whole(self, field: int) -> Tensor | None:
        first_BT = self._mine[0][1][field]
        if first_BT is None:
            return None
        whole_BT = torch.zeros(self._minibatch.action_mask_BT.shape, dtype=first_BT.dtype)
        for rows_B, outputs, counts in self._mine:
            if counts:
                whole_BT[rows_B] = outputs[field].cpu()
        return self._ranks.total(whole_BT)


class UpdateRecord:
    """Filled by every pass of a rollout's updates."""

    def __init__(self, batch: Batch) -> None:
        self.log_probs_BT = torch.zeros_like(batch.rewards_BT)
        self.entropy_BT = torch.zeros_like(batch.rewards_BT)
        self.seen_B = torch.zeros(len(batch), dtype=torch.bool)
        self.num_epochs = 0
        """Passes over the whole batch that are over."""
        self._passes: list[tuple[Batch, Tensor, Outputs]] = []
        """Of the epoch that is going on: looked at all at once when it is over, which costs less."""
        self._weighed: list[tuple[Batch, Outputs, Weights, int]] = []
        """Those among them that were whole updates, so many, whose loss is taken then too."""
        self.clipped_BT: Tensor | None = None
        """Where a bound of the objective held in any pass; None where it has none."""
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.tokens = 0
        self.counts: dict[str, int] = {}
        self.numbers: dict[str, float] = {}
        """Measurements of the whole rollout, by metric name."""

    def note(
        self, part: Batch, rows_B: Tensor, outputs: Outputs, weights: Weights | None = None, *, updates: int = 1
    ) -> None:
        """Keeps what a pass over these rows brought, until the epoch is over; with weights, which a pass that was the
        whole of one or more updates may bring, the loss is taken then too."""
        seen = outputs.detached()
        self._passes.append((part, rows_B, seen))
        if weights is not None:
            self._weighed.append((part, seen, weights, updates))

    def epoch_over(self, diagnostics: Diagnose | None = None, loss: Loss | None = None) -> None:
        """Keeps each row's first log-probs and entropy, and counts each diagnostic over every pass."""
        self.num_epochs += 1
        if not self._passes:
            return
        self._take_losses(loss)
        parts, rows, outputs = zip(*self._passes, strict=True)
        self._passes = []
        part, rows_B, seen = Batch.joined(parts), torch.cat(rows), Outputs.joined(outputs)
        log_probs_BT = seen.log_probs_BT.to(part.rewards_BT.device)
        first_B = ~self.seen_B[rows_B]
        if first_B.any():
            assert seen.entropy_BT is not None
            new_rows_B = rows_B[first_B]
            self.log_probs_BT[new_rows_B] = log_probs_BT.to(self.log_probs_BT)[first_B]
            self.entropy_BT[new_rows_B] = seen.entropy_BT.to(self.entropy_BT)[first_B]
            self.seen_B[new_rows_B] = True
        self.tokens += int(part.action_mask_BT.sum())
        self._count(rows_B, {} if diagnostics is None else diagnostics(part, log_probs_BT))

    def _take_losses(self, loss: Loss | None) -> None:
        """Of the updates whose loss is not known yet: each gets their mean."""
        if not self._weighed:
            return
        assert loss is not None
        parts, outputs, weights, updates = zip(*self._weighed, strict=True)
        self._weighed = []
        policy, critic = zip(*weights, strict=True)
        total = loss(Batch.joined(parts), Outputs.joined(outputs), (torch.cat(policy), torch.cat(critic)))
        self.losses += [float(total) / sum(updates)] * sum(updates)

    def _count(self, rows_B: Tensor, diagnostics: Mapping[str, Tensor]) -> None:
        for name, binds_BT in diagnostics.items():
            self.counts[name] = self.counts.get(name, 0) + int(binds_BT.sum())
        if "clip/share" in diagnostics:
            if self.clipped_BT is None:
                self.clipped_BT = torch.zeros(self.entropy_BT.shape, dtype=torch.bool)
            self.clipped_BT[rows_B] |= diagnostics["clip/share"].to(self.clipped_BT)

    def result(self, batch: Batch, learning_rate: float, *, own_answers: bool = True) -> Update:
        shares = {name: count / max(self.tokens, 1) for name, count in self.counts.items()}
        log_probs_BT = batch.old_log_probs_BT if batch.old_log_probs_BT is not None else self.log_probs_BT
        seen = {"old_log_probs_BT": log_probs_BT, "entropy_BT": self.entropy_BT, "clipped_BT": self.clipped_BT}
        return Update(
            batch=batch.changed(**seen),
            log_probs_BT=log_probs_BT,
            entropy_BT=self.entropy_BT,
            loss=_mean(self.losses),
            grad_norm=_mean(self.norms),
            learning_rate=learning_rate,
            own_answers=own_answers,
            diagnostics={**shares, **self.numbers},
        )


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
