"""The learner: a policy, its optimiser, and what one rollout's batch does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from rung.batch import Batch
from rung.errors import NonFiniteError
from rung.formulas.masked import zeroed
from rung.methods import PolicyGradient
from rung.training.cut import micro_batches, minibatches
from rung.training.faults import reach
from rung.training.world import World


class Outputs(Protocol):
    """What a model pass brings; see rung.models.policy.Outputs."""

    log_probs_BT: Tensor
    entropy_BT: Tensor | None


class Policy(Protocol):
    """What the learner needs of a model: one differentiable pass over a batch, and its trainable parameters."""

    def __call__(self, batch: Batch, *, temperature: float = 1.0, with_entropy: bool = False) -> Outputs: ...
    def trainable(self) -> dict[str, torch.nn.Parameter]: ...


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
    diagnostics: Mapping[str, float] = field(default_factory=dict)


class Learner:
    """Owns the policy being trained. `update` is the whole of learning from one batch, for every method."""

    def __init__(
        self,
        policy: Policy,
        method: PolicyGradient,
        *,
        reference: Policy | None = None,
        temperature: float = 1.0,
        micro_batch_tokens: int = 1024,
        seed: int = 0,
        world: World | None = None,
    ) -> None:
        assert reference is not None or method.reference_kl is None, "this method needs a reference policy"
        self.policy, self.method, self.reference = policy, method, reference
        self.temperature, self.micro_batch_tokens, self.seed = temperature, micro_batch_tokens, seed
        self.world = world or World.current()
        self.optimizer = method.step.optimizer(policy.trainable().values())
        self.updates = 0
        """Updates made so far; the version of the policy."""

    def update(self, batch: Batch, step: int) -> Update:
        """Learns from one rollout. Raises NonFiniteError before a NaN or infinity could reach the weights."""
        if self.method.needs_old_log_probs():
            batch = batch.changed(old_log_probs_BT=self.log_probs(self.policy, batch))
        if self.method.reference_kl is not None:
            assert self.reference is not None
            batch = batch.changed(reference_log_probs_BT=self.log_probs(self.reference, batch))
        batch = self.method.with_advantages(batch)
        require_finite("the advantages", zeroed(batch.advantages_BT, batch.action_mask_BT))
        record = _Record(batch)
        for epoch in range(self.method.epochs):
            for rows_B in minibatches(batch, self.method.minibatches, (self.seed, step, epoch)):
                self._one_update(batch, rows_B, record)
        return record.result(batch, self.method.step.learning_rate_at(max(self.updates - 1, 0)))

    def log_probs(self, policy: Policy, batch: Batch) -> Tensor:
        """[B,T] log-probs under a policy, without gradient, a micro-batch at a time; 0 where masked."""
        log_probs_BT = torch.zeros_like(batch.rewards_BT)
        with torch.no_grad():
            for rows_B in micro_batches(batch, self.micro_batch_tokens):
                micro = batch.rows(rows_B)
                log_probs_BT[rows_B] = policy(micro, temperature=self.temperature).log_probs_BT.to(log_probs_BT)
        return log_probs_BT

    def _one_update(self, batch: Batch, rows_B: Tensor, record: _Record) -> None:
        minibatch = batch.rows(rows_B)
        weights_BT = self.method.weights(minibatch, self.world.total)
        parameters = list(self.policy.trainable().values())
        self.optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        learns_B = self.method.learns_from(minibatch)
        for rows_with, with_gradient in ((learns_B, True), (~learns_B & ~record.seen_B[rows_B], False)):
            chosen_B = torch.nonzero(rows_with)[:, 0]
            part = minibatch.rows(chosen_B)
            for micro_B in micro_batches(part, self.micro_batch_tokens):
                micro_rows_B = chosen_B[micro_B]
                with torch.set_grad_enabled(with_gradient):
                    loss += self._pass(part.rows(micro_B), weights_BT[micro_rows_B], rows_B[micro_rows_B], record)
        reach("update.backward")
        self.world.sum_gradients(parameters)
        if self.world.total(minibatch.action_mask_BT.sum()) == 0:
            return
        norm = _bounded_norm(parameters, self.method.step.max_grad_norm)
        if self.world.any(not (torch.isfinite(torch.tensor(loss)) and torch.isfinite(norm))):
            raise NonFiniteError(
                f"the loss is {loss}, the gradient's norm {float(norm)}, at update {self.updates + 1}: the weights "
                "were left as they are. Usual causes: a learning rate too high (method.step.learning_rate), a reward "
                "of enormous size, or weights that were already damaged"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.method.step.learning_rate_at(self.updates)
        self.optimizer.step()
        reach("update.step")
        self.updates += 1
        record.losses.append(loss)
        record.norms.append(float(norm))

    def _pass(self, micro: Batch, weights_BT: Tensor, rows_B: Tensor, record: _Record) -> float:
        """One micro-batch: its share of the loss, and, where gradients are on, of the gradient."""
        outputs = self.policy(micro, temperature=self.temperature, with_entropy=True)
        log_probs_BT = outputs.log_probs_BT.to(micro.rewards_BT.device)  # formulas work where the batch is
        losses_BT = self.method.losses(micro, log_probs_BT)
        loss = (weights_BT * losses_BT).sum()
        record.note(micro, rows_B, outputs, self.method.objective.diagnostics(micro, log_probs_BT))
        if loss.requires_grad:
            loss.backward()
        return float(loss.detach())


class _Record:
    """Collects what the updates of one rollout show, for the metrics."""

    def __init__(self, batch: Batch) -> None:
        self.log_probs_BT = torch.zeros_like(batch.rewards_BT)
        self.entropy_BT = torch.zeros_like(batch.rewards_BT)
        self.seen_B = torch.zeros(len(batch), dtype=torch.bool)
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.tokens = 0
        self.counts: dict[str, int] = {}

    def note(self, part: Batch, rows_B: Tensor, outputs: Outputs, diagnostics: Mapping[str, Tensor]) -> None:
        """Keeps the first pass's log-probs and entropy, and counts each diagnostic over every pass."""
        first_B = ~self.seen_B[rows_B]
        new_rows_B = rows_B[first_B]
        assert outputs.entropy_BT is not None
        self.log_probs_BT[new_rows_B] = outputs.log_probs_BT.detach().to(self.log_probs_BT)[first_B]
        self.entropy_BT[new_rows_B] = outputs.entropy_BT.detach().to(self.entropy_BT)[first_B]
        self.seen_B[rows_B] = True
        self.tokens += int(part.action_mask_BT.sum())
        for name, binds_BT in diagnostics.items():
            self.counts[name] = self.counts.get(name, 0) + int(binds_BT.sum())

    def result(self, batch: Batch, learning_rate: float) -> Update:
        return Update(
            batch=batch,
            log_probs_BT=batch.old_log_probs_BT if batch.old_log_probs_BT is not None else self.log_probs_BT,
            entropy_BT=self.entropy_BT,
            loss=_mean(self.losses),
            grad_norm=_mean(self.norms),
            learning_rate=learning_rate,
            diagnostics={name: count / max(self.tokens, 1) for name, count in self.counts.items()},
        )


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _bounded_norm(parameters: list[torch.nn.Parameter], bound: float) -> Tensor:
    return torch.nn.utils.clip_grad_norm_(parameters, bound)


def require_finite(what: str, values: Tensor) -> None:
    """Raises NonFiniteError, naming what and how many, when a value is NaN or infinite."""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise NonFiniteError(f"{what}: {bad} of {values.numel()} values are NaN or infinite; nothing was updated")
