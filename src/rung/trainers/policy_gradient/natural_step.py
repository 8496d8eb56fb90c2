"""TRPO's step: conjugate gradients on Fisher-vector products, a line search, and the critic's own updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from rung.batch import Batch
from rung.faults import fault_point
from rung.formulas.aggregations import token_mean
from rung.formulas.natural_gradient import conjugate_gradient, longest_step
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.parts.protocols import Critic
from rung.models.language.distributions import Distribution
from rung.models.outputs import Outputs
from rung.models.small.network import SmallPolicy
from rung.trainers.optimizer import bound_norm, optimizer_step, require_finite_update
from rung.trainers.policy_gradient.compiled_epoch import CompiledEpochs, LearnsInEpochs
from rung.trainers.policy_gradient.minibatches import cut_up, micro_batches
from rung.trainers.policy_gradient.policy import is_critics
from rung.trainers.policy_gradient.record import UpdateRecord


class Learning(LearnsInEpochs, Protocol):
    """What a natural-gradient step needs of the learner."""

    micro_batch_tokens: int


def natural_update(learner: Learning, batch: Batch, record: UpdateRecord, key: tuple[int, ...]) -> None:
    """One natural-gradient step of the policy, then the critic's epochs.

    Args:
        key: of the critic's minibatches, with the epoch's number after it.
    """
    step = learner.method.trust_region()
    assert step is not None
    if not bool(batch.action_mask_BT.any()):
        return
    named = learner.policy.trainable()
    policy = [parameter for name, parameter in named.items() if not is_critics(name)]
    search = _Search(learner, batch, step, policy, record)
    search.run()
    record.epoch_over()
    if learner.optimizer is not None:
        _critic_epochs(learner, batch, step, key)


class _Search:
    """The line search of one update. Everything is measured on the whole batch, the Fisher matrix on a share of its
    steps."""

    def __init__(
        self,
        learner: Learning,
        batch: Batch,
        step: NaturalGradient,
        policy: Sequence[torch.nn.Parameter],
        record: UpdateRecord,
    ) -> None:
        self.learner, self.batch, self.step, self.policy, self.record = learner, batch, step, policy, record
        self.weights_BT = learner.method.weights(batch, batch.processes.total)
        with torch.no_grad():
            self.old_distributions = [self._distribution(micro).detached() for _, micro in self._micro(batch)]

    def run(self) -> None:
        gradient_P, loss = self._gradient()
        _require_finite(self.learner, loss, gradient_P.norm())
        self.record.losses.append(loss)
        self.record.norms.append(float(gradient_P.norm()))
        self.record.numbers |= {"trpo/kl": 0.0, "trpo/backtracks": 0.0, "trpo/accepted": 0.0}
        if not gradient_P.any():
            return
        product = fisher_product(self.learner, self.batch, self.policy, self.step.damping, self.step.fisher_share)
        direction_P = conjugate_gradient(product, -gradient_P, self.step.iterations)
        full_P = longest_step(direction_P, product(direction_P), self.step.max_kl).to(direction_P) * direction_P
        fault_point("update.backward")
        start = [parameter.detach().clone() for parameter in self.policy]
        for tried in range(self.step.backtracks + 1):
            self._place(start, full_P * self.step.shrink**tried)
            improved, kl = loss - self._loss(), self._kl()
            if improved > 0 and kl <= self.step.accept * self.step.max_kl:
                self.learner.updates += 1
                self.record.numbers |= {"trpo/kl": kl, "trpo/backtracks": float(tried), "trpo/accepted": 1.0}
                fault_point("update.step")
                return
        self._place(start, torch.zeros_like(full_P))
        self.record.numbers["trpo/backtracks"] = float(self.step.backtracks)

    def _micro(self, batch: Batch) -> Iterator[tuple[Tensor, Batch]]:
        for rows_B in micro_batches(batch, self.learner.micro_batch_tokens):
            yield rows_B, batch.rows(rows_B)

    def _distribution(self, micro: Batch) -> Distribution:
        return self.learner.policy.distribution(micro, temperature=self.learner.temperature)

    def _gradient(self) -> tuple[Tensor, float]:
        """∂loss/∂θ of the policy alone, [P], and the loss; the record sees each pass."""
        for parameter in self.policy:
            parameter.grad = None
        loss = 0.0
        for rows_B, micro, outputs, share in self._shares():
            share.backward()
            loss += float(share.detach())
            self.record.note(micro, rows_B, outputs)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.policy]
        gradient_P = torch.cat([gradient.flatten() for gradient in gradients])
        return gradient_P, loss

    @torch.no_grad()
    def _loss(self) -> float:
        return sum((float(share) for *_, share in self._shares()), 0.0)

    def _shares(self) -> Iterator[tuple[Tensor, Batch, Outputs, Tensor]]:
        """Each micro-batch's rows, itself, what the policy says of it, and its share of the loss."""
        learner = self.learner
        for rows_B, micro in self._micro(self.batch):
            outputs = learner.policy(micro, temperature=learner.temperature, with_entropy=True)
            entropy_BT = None if outputs.entropy_BT is None else outputs.entropy_BT.to(micro.rewards_BT.device)
            log_probs_BT = outputs.log_probs_BT.to(micro.rewards_BT.device)
            losses_BT = learner.method.losses(micro, log_probs_BT, entropy_BT)
            yield rows_B, micro, outputs, (self.weights_BT[rows_B] * losses_BT).sum()

    @torch.no_grad()
    def _kl(self) -> float:
        """Mean KL(π_old ‖ π) a step, exact."""
        total, count = 0.0, 0
        for old, (_, micro) in zip(self.old_distributions, self._micro(self.batch), strict=True):
            kl_N = old.kl(self._distribution(micro))
            total, count = total + float(kl_N.sum()), count + len(kl_N)
        return total / count

    @torch.no_grad()
    def _place(self, start: Sequence[Tensor], change_P: Tensor) -> None:
        begin = 0
        for parameter, from_ in zip(self.policy, start, strict=True):
            here = change_P[begin : begin + from_.numel()].view_as(from_)
            parameter.copy_(from_ + here)
            begin += from_.numel()


def fisher_product(
    learner: Learning, batch: Batch, policy: Sequence[torch.nn.Parameter], damping: float, share: float = 1.0
) -> Callable[[Tensor], Tensor]:
    """v -> (F + damping) v, with F the Hessian of the mean KL(π_old ‖ π) at π = π_old: two backward passes, or for a
    small network on the CPU a compiled one.

    F is taken at every n-th step of the whole batch, row after row, n the whole number nearest to 1 / `share`.
    """
    batch, whole = every_nth(batch, round(1 / share)), learner.policy
    if isinstance(whole, SmallPolicy) and whole.device.type == "cpu" and learner.ranks.size == 1:
        image = whole.fisher(batch, temperature=learner.temperature)
        return lambda vector_P: damping * vector_P + image(vector_P)
    steps = int(batch.action_mask_BT.sum())

    def product(vector_P: Tensor) -> Tensor:
        image_P = torch.zeros_like(vector_P)
        for rows_B in micro_batches(batch, learner.micro_batch_tokens):
            distribution = learner.policy.distribution(batch.rows(rows_B), temperature=learner.temperature, twice=True)
            kl = distribution.detached().kl(distribution).sum() / steps
            first = torch.autograd.grad(kl, policy, create_graph=True, materialize_grads=True)
            along = torch.dot(torch.cat([gradient.flatten() for gradient in first]), vector_P)
            second = torch.autograd.grad(along, policy, materialize_grads=True)
            image_P = image_P + torch.cat([gradient.flatten() for gradient in second])
        return damping * vector_P + image_P

    return product


def every_nth(batch: Batch, n: int) -> Batch:
    """The batch with every n-th of its own steps, the first among them.

    Of text every n-th row: a token is read after those before it, so that single ones would cost as much as all.
    """
    if n == 1:
        return batch
    units = batch.by_step() if isinstance(batch.contexts, Tensor) else batch
    rows_B = torch.nonzero(units.counted_B())[:, 0]
    return units.rows(rows_B[::n])


def _require_finite(learner: Learning, loss: float, norm: Tensor) -> None:
    require_finite_update(loss, norm, update=learner.updates + 1)


def _critic_epochs(learner: Learning, batch: Batch, step: NaturalGradient, key: tuple[int, ...]) -> None:
    """The critic's passes over the batch, an update a minibatch; a policy without memory has its steps mixed."""
    if step.num_critic_minibatches > 1 and isinstance(batch.contexts, Tensor):
        batch = batch.by_step()
    compiled = CompiledEpochs.of(learner, batch)
    for epoch in range(step.num_critic_epochs):
        if compiled is not None:
            compiled.of_critic(step.num_critic_minibatches, (*key, epoch))
            continue
        for _, minibatch in cut_up(batch, step.num_critic_minibatches, (*key, epoch)):
            _critic_update(learner, minibatch, learner.method.optimizer.max_grad_norm)


def _critic_update(learner: Learning, batch: Batch, max_grad_norm: float) -> None:
    """One update of the critic, on all of the batch."""
    assert learner.optimizer is not None and learner.method.critic is not None
    weights_BT = token_mean(batch.action_mask_BT, batch.action_mask_BT.sum())
    learner.optimized.clear()
    if isinstance(batch.contexts, Tensor):  # taking rows out costs more than a small network's pass
        parts = [(batch, weights_BT)]
    else:
        cuts = micro_batches(batch, learner.micro_batch_tokens)
        parts = [(batch.rows(rows_B), weights_BT[rows_B]) for rows_B in cuts]
    loss = sum(_critic_pass(learner, learner.method.critic, *part) for part in parts)
    norm = bound_norm(learner.optimized.parameters, max_grad_norm)
    _require_finite(learner, loss, norm)
    optimizer_step(learner.optimizer)


def _critic_pass(learner: Learning, critic: Critic, micro: Batch, weights_BT: Tensor) -> float:
    """A micro-batch's share of the critic's loss and of its gradient."""
    values_BT = learner.policy(micro, temperature=learner.temperature, with_values=True).values_BT
    assert values_BT is not None
    share = (weights_BT * critic.loss(micro, values_BT.to(micro.rewards_BT.device))).sum()
    share.backward()
    return float(share.detach())
