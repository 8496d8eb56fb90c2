"""The learner: a policy, its optimizer, and what one rollout's batch does to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from rung.batch import Batch
from rung.errors import NonFiniteError
from rung.faults import fault_point
from rung.formulas.aggregations import token_mean
from rung.formulas.masked import masked_mean, zeroed
from rung.formulas.value_losses import explained_variance
from rung.methods import PolicyGradient
from rung.models.language.distributions import Categorical
from rung.models.outputs import Outputs
from rung.trainers.optimizer import Optimized, gradient_step
from rung.trainers.policy_gradient.compiled_epoch import CompiledEpochs
from rung.trainers.policy_gradient.minibatches import cut_up, micro_batches
from rung.trainers.policy_gradient.natural_step import natural_update
from rung.trainers.policy_gradient.one_update import InNumbers, OneUpdate
from rung.trainers.policy_gradient.policy import Policy, is_critics
from rung.trainers.policy_gradient.record import Noted, Update, UpdateRecord
from rung.trainers.ranks import ONE, Ranks, summed

REFERENCE = "reference:"
"""Begins the names of a refreshed reference's weights among the learner's tensors."""


class Learner:
    """Owns the policy being trained. `update` is the whole of learning from one batch, for every method."""

    def __init__(
        self,
        policy: Policy,
        method: PolicyGradient,
        *,
        reference: Policy | None = None,
        teacher: Policy | None = None,
        temperature: float = 1.0,
        micro_batch_tokens: int = 1024,
        seed: int = 0,
        ranks: Ranks = ONE,
    ) -> None:
        assert reference is not None or method.reference_kl is None, "this method needs a reference policy"
        assert teacher is not None or not method.needs_teacher, "this method needs a teacher policy"
        self.policy, self.method, self.reference, self.teacher = policy, method, reference, teacher
        self.temperature, self.micro_batch_tokens, self.seed = temperature, micro_batch_tokens, seed
        self.ranks = ranks
        self.optimized = Optimized(self._optimized(), apart=method.critic_learns_alone(1))
        self.optimizer = self._optimizer()
        self.updates = 0
        """Updates made so far; the version of the policy."""
        self._in_numbers = OneUpdate(self)
        self._critic_alone = False
        """In this step the critic alone learns."""
        self._progress = 0.0
        """The share of the run that was over when this step began."""

    def _optimized(self) -> dict[str, torch.nn.Parameter]:
        """All parameters; the critic's alone where the policy takes natural-gradient steps."""
        named = self.policy.trainable()
        every = self.method.trust_region() is None
        return {name: parameter for name, parameter in named.items() if every or is_critics(name)}

    def _optimizer(self) -> torch.optim.Optimizer | None:
        nothing = self.method.trust_region() is not None and not self.optimized.parameters
        return None if nothing else self.method.optimizer.build(self.optimized.parameters)

    def update(self, batch: Batch, step: int, progress: float = 0.0) -> Update | InNumbers:
        """Learns from one rollout. Raises NonFiniteError before a NaN or infinity could reach the weights."""
        self._progress = progress
        self._refresh_reference(step)
        self._critic_alone = self.method.critic_learns_alone(step)
        if not self._critic_alone and (learnt := self._in_numbers(batch, self._learning_rate_at(self.updates))):
            return learnt
        batch = self.method.with_advantages(self._before(batch))
        require_finite("the advantages", zeroed(batch.advantages_BT, batch.action_mask_BT))
        if self.method.num_minibatches > 1 and self.method.weighs_steps_alike() and isinstance(batch.contexts, Tensor):
            batch = batch.by_step()  # a policy without memory: minibatches may mix the steps under a mean over steps
        record = UpdateRecord(batch)
        if self.method.trust_region() is not None:
            natural_update(self, batch, record, (self.seed, step))
        else:
            compiled = None if self._critic_alone else CompiledEpochs.of(self, batch)
            for epoch in range(self.method.num_epochs):
                self._one_epoch(batch, compiled, (self.seed, step, epoch), record)
        if not self._critic_alone:  # a coefficient that steers the policy has nothing to steer
            self._adapt(batch, record)
        self._note_critic(batch, record)
        return record.result(batch, self.learning_rate(), own_answers=self.method.behaviour is None)

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state, and the reference where it is refreshed, for a checkpoint."""
        found = self.optimized.state(self.optimizer)
        if self.method.refreshes_reference():
            assert self.reference is not None
            found |= {f"{REFERENCE}{name}": weight for name, weight in self.reference.weights().items()}
        return found

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Puts back what `tensors` gave."""
        reference = {name.removeprefix(REFERENCE): t for name, t in tensors.items() if name.startswith(REFERENCE)}
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith(REFERENCE)}
        self.optimized.restore(self.optimizer, own)
        if reference:
            here = {name: tensor.clone() for name, tensor in self.policy.state().items()}
            self.policy.load_state({**here, **reference})
            self.reference = self.policy.reference()
            self.policy.load_state(here)

    def learning_rate(self) -> float:
        """The rate of the latest update."""
        return self._learning_rate_at(max(self.updates - 1, 0))

    def _learning_rate_at(self, update: int) -> float:
        return self.method.optimizer.learning_rate_at(update, self._progress)

    def _before(self, batch: Batch) -> Batch:
        """The batch with everything that must be known before the first update."""
        values = self.method.critic is not None and batch.values_BT is None
        if self.method.needs_old_log_probs() or values:
            old_BT, _, values_BT = self._outputs(self.policy, batch, with_values=values)
            known = {"old_log_probs_BT": old_BT} if self.method.needs_old_log_probs() else {}
            batch = batch.changed(**known, **({"values_BT": values_BT} if values else {}))
        if self.method.reference_kl is not None:
            assert self.reference is not None
            batch = batch.changed(reference_log_probs_BT=self.log_probs(self.reference, batch))
        if self.method.needs_teacher and self.method.to_teacher is None:
            assert self.teacher is not None
            batch = batch.changed(teacher_log_probs_BT=self.log_probs(self.teacher, batch))
        return batch

    def _refresh_reference(self, step: int) -> None:
        """Before step N+1, 2N+1, ... the policy as it is becomes the reference, where the method wants it so."""
        every = self.method.refresh_every()
        if every is not None and step > 1 and (step - 1) % every == 0:
            self.reference = self.policy.reference()

    def _adapt(self, batch: Batch, record: UpdateRecord) -> None:
        """Moves the coefficients that steer to a target, for the next rollout."""
        measured = self.method.measured(_AfterUpdates(self, batch))
        record.numbers |= measured
        episodes = int(batch.counted_B().sum())
        mask_BT = batch.action_mask_BT
        seen = {"entropy": float(masked_mean(record.entropy_BT, mask_BT))} if mask_BT.any() else {}
        self.method = self.method.adapted({**measured, "episodes": episodes, **seen})
        if self.method.entropy_target is not None:
            record.numbers["entropy/weight"] = self.method.entropy_weight

    def _note_critic(self, batch: Batch, record: UpdateRecord) -> None:
        if batch.value_targets_BT is None or not batch.action_mask_BT.any():
            return
        assert batch.values_BT is not None
        values_BT = batch.values_BT.to(batch.value_targets_BT)
        explained = explained_variance(values_BT, batch.value_targets_BT, batch.action_mask_BT)
        if torch.isfinite(explained):
            record.numbers["critic/explained_variance"] = float(explained)
        if self.method.critic_learns_alone(1):
            record.numbers["critic/alone"] = float(self._critic_alone)

    def log_probs(self, policy: Policy, batch: Batch) -> Tensor:
        """[B,T] log-probs under a policy, without gradient, a micro-batch at a time; 0 where masked."""
        return self._outputs(policy, batch)[0]

    def _outputs(self, policy: Policy, batch: Batch, **asked: bool) -> tuple[Tensor, Tensor, Tensor]:
        """[B,T] each of what `Outputs` has, 0 where it was not `asked` for."""
        whole = tuple(torch.zeros_like(batch.rewards_BT) for _ in Outputs._fields)
        asked = {name: True for name, wanted in asked.items() if wanted}
        with torch.no_grad():
            for rows_B, counts in self.ranks.dealt(self._micro_batches(batch)):
                outputs = policy(batch.rows(rows_B), temperature=self.temperature, **asked)
                for whole_BT, one_BT in zip(whole, outputs, strict=True):
                    if counts and one_BT is not None:
                        whole_BT[rows_B] = one_BT.to(whole_BT)
        log_probs_BT, entropy_BT, values_BT = (self.ranks.total(whole_BT) for whole_BT in whole)
        return log_probs_BT, entropy_BT, values_BT

    def _micro_batches(self, batch: Batch) -> list[Tensor]:
        return list(micro_batches(batch, self.micro_batch_tokens, at_least=self.ranks.size))

    def _one_epoch(
        self, batch: Batch, compiled: CompiledEpochs | None, key: tuple[int, ...], record: UpdateRecord
    ) -> None:
        if compiled is not None:
            rates = [self._learning_rate_at(self.updates + n) for n in range(self.method.num_minibatches)]
            compiled.of_policy(key, rates, record)
        else:
            for rows_B, minibatch in cut_up(batch, self.method.num_minibatches, key):
                self._one_update(minibatch, rows_B, record)
        record.epoch_over(self.method.diagnostics, self.loss)

    def _one_update(self, minibatch: Batch, rows_B: Tensor, record: UpdateRecord) -> None:
        minibatch = self._chosen(self.method.minibatch(minibatch, minibatch.processes.total))
        tokens = minibatch.action_mask_BT.sum()
        weights_BT = critic_BT = self.method.weights(minibatch, minibatch.processes.total)
        if self.method.critic is not None and not self.method.weighs_steps_alike():
            critic_BT = token_mean(minibatch.action_mask_BT, tokens)
        self.optimized.clear()
        loss, noted = 0.0, Noted(self.ranks, minibatch, rows_B, record)
        for passes, with_gradient in self._passes(minibatch, rows_B, record):
            for micro_rows_B, counts in self.ranks.dealt(passes):
                part, weights = minibatch, (weights_BT, critic_BT)
                if micro_rows_B is not None:
                    part, weights = minibatch.rows(micro_rows_B), (weights_BT[micro_rows_B], critic_BT[micro_rows_B])
                if not counts:
                    weights = (torch.zeros_like(weights[0]), torch.zeros_like(weights[1]))
                with torch.set_grad_enabled(with_gradient):
                    share, outputs = self._pass(part, weights, record)
                noted.take(part, micro_rows_B, outputs, counts)
                loss += share if counts else 0.0
            noted.over(passes)
        loss = summed(self.ranks, loss)
        fault_point("update.backward")
        self.optimized.fill()
        if self._critic_alone:
            self._leave_policy()
        if tokens == 0:
            return
        assert self.optimizer is not None
        norm = gradient_step(
            self.optimizer,
            self.optimized.parameters,
            loss=loss,
            max_grad_norm=self.method.optimizer.max_grad_norm,
            learning_rate=self._learning_rate_at(self.updates),
            update=self.updates + 1,
        )
        self.updates += 1
        record.losses.append(loss)
        record.norms.append(norm)

    def _leave_policy(self) -> None:
        """Takes the policy's gradients away: what has none, an optimizer leaves as it is, its own state included."""
        for name, parameter in self.policy.trainable().items():
            if not is_critics(name):
                parameter.grad = None

    def _passes(
        self, minibatch: Batch, rows_B: Tensor, record: UpdateRecord
    ) -> Iterator[tuple[Sequence[Tensor | None], bool]]:
        """The rows of each pass through the model with a gradient, and of each without; None: all the minibatch's."""
        learns_B = self.method.learns_from(minibatch)
        if isinstance(minibatch.contexts, Tensor) and bool(learns_B.all()):
            yield [None], True  # taking rows out costs more than a small network's pass
            return
        for rows_with, with_gradient in ((learns_B, True), (~learns_B & ~record.seen_B[rows_B], False)):
            chosen_B = torch.nonzero(rows_with)[:, 0]
            yield [chosen_B[micro_B] for micro_B in self._micro_batches(minibatch.rows(chosen_B))], with_gradient

    def _chosen(self, minibatch: Batch) -> Batch:
        """The minibatch with the tokens its objective picks among all of them, before it is cut into micro-batches."""
        if not self.method.chooses_tokens:
            return minibatch
        log_probs_BT, entropy_BT, _ = self._outputs(self.policy, minibatch, with_entropy=self.method.chooses_by_entropy)
        return self.method.choosing(
            minibatch.changed(entropy_BT=entropy_BT), log_probs_BT, minibatch.processes.total, (self.seed, self.updates)
        )

    def _pass(self, micro: Batch, weights: tuple[Tensor, Tensor], record: UpdateRecord) -> tuple[float, Outputs]:
        """One micro-batch: its share of the loss, where gradients are on of the gradient, and what the model said."""
        entropy = self.method.entropy_weight != 0 or record.num_epochs == 0
        asked = {"with_values": True} if self.method.critic is not None else {}
        if self.method.to_teacher is not None:
            micro, outputs = self._compared(micro, self.method.to_teacher)
        else:
            outputs = self.policy(micro, temperature=self.temperature, with_entropy=entropy, **asked)
        loss = self.loss(micro, outputs, weights)
        if loss.requires_grad:
            loss.backward()
        return float(loss.detach()), outputs

    def _compared(self, micro: Batch, divergence: Callable[[Tensor, Tensor], Tensor]) -> tuple[Batch, Outputs]:
        """A micro-batch with the divergence of the policy's distributions from the teacher's, and what they say."""
        assert self.teacher is not None
        own = self.policy.distribution(micro, temperature=self.temperature)
        with torch.no_grad():
            teachers = self.teacher.distribution(micro, temperature=self.temperature)
        assert isinstance(own, Categorical) and isinstance(teachers, Categorical), "a teacher is of text"
        mask_BT = micro.action_mask_BT.to(own.log_probs_NV.device)
        zero_BT = own.log_probs_NV.new_zeros(mask_BT.shape)
        taken_N = own.log_prob(micro.actions_BT.to(mask_BT.device)[mask_BT])
        entropy_N = (own if self.method.entropy_weight else own.detached()).entropy()
        said = (taken_N, entropy_N, divergence(own.log_probs_NV, teachers.log_probs_NV.to(own.log_probs_NV)))
        log_probs_BT, entropy_BT, divergence_BT = (zero_BT.masked_scatter(mask_BT, one_N) for one_N in said)
        return micro.changed(divergence_BT=divergence_BT.to(micro.rewards_BT.device)), Outputs(
            log_probs_BT, entropy_BT, None
        )

    def loss(self, micro: Batch, outputs: Outputs, weights: tuple[Tensor, Tensor]) -> Tensor:
        """The objective's loss and the critic's, weighted and summed."""
        where = micro.rewards_BT.device  # formulas work where the batch is
        log_probs_BT = outputs.log_probs_BT.to(where)
        entropy_BT = None if outputs.entropy_BT is None else outputs.entropy_BT.to(where)
        loss = log_probs_BT.new_zeros(())
        if not self._critic_alone:
            loss = (weights[0] * self.method.losses(micro, log_probs_BT, entropy_BT)).sum()
        if self.method.critic is not None:
            assert outputs.values_BT is not None
            loss = loss + (weights[1] * self.method.critic.loss(micro, outputs.values_BT.to(where))).sum()
        return loss


class _AfterUpdates:
    """A rollout after its updates, as the parts that adapt themselves measure it (`rung.parts.AfterUpdates`)."""

    def __init__(self, learner: Learner, batch: Batch) -> None:
        self._learner, self.batch = learner, batch

    @cached_property
    def log_probs_BT(self) -> Tensor:
        return self._learner.log_probs(self._learner.policy, self.batch)


def require_finite(what: str, values: Tensor) -> None:
    """Raises NonFiniteError, naming what and how many, when a value is NaN or infinite."""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise NonFiniteError(f"{what}: {bad} of {values.numel()} values are NaN or infinite; nothing was updated")
