"""A method is data: one frozen dataclass whose slots are filled by parts.

Reading a definition is understanding the method; `changed` makes a variant; there is no inheritance between
methods, and the training loop knows no method's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Self, cast

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.masked import zeroed
from rung.formulas.policy_losses import capped
from rung.methods.kind import Method
from rung.methods.parts.entropy import EntropyTarget
from rung.methods.parts.filters import FrozenStart
from rung.methods.parts.learned_reward import SegmentPreferences
from rung.methods.parts.objectives import old_log_probs
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.parts.protocols import (
    Advantage,
    AfterUpdates,
    Aggregation,
    Correction,
    Critic,
    GroupFilter,
    Imitation,
    Objective,
    Optimizer,
    ReferenceKL,
    RewardShaping,
    RowFilter,
    Total,
    Whitening,
    fact,
    formula_of,
    stated_beside,
)
from rung.methods.ranges import FROM_0, FROM_1


@dataclass(frozen=True, kw_only=True)
class PolicyGradient(Method):
    """A policy-gradient method: J = E[ aggregation ( objective ) - reference KL ], maximised by `optimizer`.

    Example: `GRPO.changed(name="grpo-two", num_minibatches=2)` is GRPO with two updates a rollout.
    """

    samples_per_prompt: Annotated[int, FROM_1]
    """Samples of each prompt; together they are a group."""
    behaviour: FrozenStart | None = None
    """The model that gives the samples. None: the policy itself."""
    horizon: Annotated[int, FROM_1] | None = None
    """Steps of each environment that one rollout takes. None: whole episodes, as text always is."""
    learned_reward: SegmentPreferences | None = None
    """A learned reward in place of the task's. None: the task's own."""
    keep_group: GroupFilter | None = None
    shape_reward: RewardShaping | None = None
    reference_kl: ReferenceKL | None = None
    critic: Critic | None = None
    advantage: Advantage
    whiten: Whitening | None = None
    objective: Objective
    imitation: Imitation | None = None
    entropy_bonus: Annotated[float, FROM_0] = 0.0
    """Weight of the entropy bonus at each token."""
    entropy_target: EntropyTarget | None = None
    correction: Correction | None = None
    drop_rows: RowFilter | None = None
    aggregation: Aggregation
    optimizer: Optimizer
    num_epochs: Annotated[int, FROM_1] = 1
    """Passes over one rollout's samples."""
    num_minibatches: Annotated[int, FROM_1] = 1
    """Updates per pass."""

    def contradictions(self) -> Iterator[str]:
        yield from (*self._too_few_samples(), *self._too_many_updates(), *self._missing_partners())

    def _too_few_samples(self) -> Iterator[str]:
        least = fact(self.advantage, "least_samples", 1)
        if 0 < self.samples_per_prompt < least:
            yield (
                f"method.samples_per_prompt: got {self.samples_per_prompt}, but {type(self.advantage).__name__} "
                f"compares sets of a prompt's samples: set {least} or more"
            )
        if self.samples_per_prompt != 1:
            return
        if fact(self.advantage, "needs_group", False):
            yield (
                f"method.samples_per_prompt: got 1, but {type(self.advantage).__name__} compares the samples of one "
                "prompt: with one sample every advantage is 0; set 2 or more"
            )
        if self.keep_group is not None:
            yield "method.keep_group: got samples_per_prompt 1, but one sample never differs; set 2 or more"

    def _too_many_updates(self) -> Iterator[str]:
        updates = f"{self.num_epochs} x {self.num_minibatches}"
        if self.updates_per_rollout() > 1 and not fact(self.objective, "uses_ratio", False):
            yield (
                f"method.num_epochs x method.num_minibatches: got {updates} updates a rollout, but "
                f"{type(self.objective).__name__} has no ratio to correct for samples of an older policy; set both to 1"
            )
        allowed: int | None = fact(self.optimizer, "updates_allowed", None)
        if allowed is not None and self.updates_per_rollout() > allowed:
            yield (
                f"method.num_epochs x method.num_minibatches: got {updates}, but {type(self.optimizer).__name__} makes "
                f"{'one step' if allowed == 1 else f'{allowed} steps'} a rollout; set both to 1"
            )

    def _missing_partners(self) -> Iterator[str]:
        needs_critic = fact(self.advantage, "needs_critic", False)
        if needs_critic and self.critic is None:
            yield f"method.critic: got none, but {type(self.advantage).__name__} needs its values; set ValueFunction"
        if self.critic is not None and not needs_critic:
            yield (
                f"method.critic: {type(self.advantage).__name__} does not read its values, so it would be trained for "
                "nothing; set it to null, or the advantage to GAE"
            )
        if self.learned_reward is not None and self.keep_group is not None:
            yield (
                "method.keep_group: looks at the task's own returns, which a learned reward is to replace; "
                "set it to null"
            )
        if fact(self.advantage, "reads_reward_parts", False):
            for slot, changes in (("shape_reward", True), ("reference_kl", not self._kl_in_loss())):
                if getattr(self, slot) is not None and changes:
                    yield (
                        f"method.{slot}: changes the sum of the rewards, which {type(self.advantage).__name__} does "
                        "not read; set it to null, or use a reward of that kind"
                    )
        if self.to_teacher is not None and self.critic is not None:
            yield f"method.critic: {type(self.objective).__name__} needs none; set it to null"
        if self.trust_region() is not None:
            yield from self._against_the_trust_region(type(self.optimizer).__name__)
        if self.behaviour is not None:
            yield from self._others_answers(type(self.behaviour).__name__)

    def _against_the_trust_region(self, optimizer: str) -> Iterator[str]:
        if self.imitation is not None:
            yield f"method.imitation: got one, but the step of {optimizer} is of the objective alone; set it to null"
        warmup_steps = fact(self.critic, "warmup_steps", 0)
        if warmup_steps:
            yield (
                f"method.critic.warmup_steps: got {warmup_steps}, but with {optimizer} policy and critic always learn "
                "together; set it to 0"
            )
        if not fact(self.objective, "unbounded", False):
            yield (
                f"method.objective: got {type(self.objective).__name__}, but {optimizer} bounds the step itself; "
                "set Surrogate"
            )

    def _others_answers(self, giver: str) -> Iterator[str]:
        """Slots that cannot learn from the samples of another model."""
        for slot, wanted in (("advantage", "RightAnswers"), ("objective", "ScoreFunction")):
            got = getattr(self, slot)
            if not fact(got, "learns_from_others", False):
                yield (
                    f"method.{slot}: got {type(got).__name__}, which takes answers as the policy's own, but "
                    f"{giver} gives them; set {wanted}, or method.behaviour to null"
                )
        if self.reference_kl is not None:
            yield (
                f"method.reference_kl: got {type(self.reference_kl).__name__}, whose estimate is of the policy's own "
                f"answers, but {giver} gives them; set it to null, or method.behaviour to null"
            )

    def formula(self) -> str:
        """The objective, and the formulas of the parts inside it; one line each."""
        kl = "" if self.reference_kl is None else f"; {formula_of(self.reference_kl)}"
        entropy = f" + {self.entropy_bonus:g} entropy" if self.entropy_bonus else ""
        lines = [f"J = E[ {formula_of(self.aggregation)} {formula_of(self.objective)} ]{entropy}{kl}"]
        beside = (
            *(self.advantage, self.behaviour, self.learned_reward, self.whiten, self.critic, self.shape_reward),
            *(
                self.entropy_target,
                self.imitation,
                self.keep_group,
                self.correction,
                self.drop_rows,
                self.trust_region(),
            ),
        )
        return "\n".join([*lines, *(formula_of(part) for part in beside if part is not None)])

    def critic_learns_alone(self, step: int) -> bool:
        """Whether the policy stays as it is in this step of the run, counted from 1."""
        return step <= fact(self.critic, "warmup_steps", 0)

    def needs_start(self) -> bool:
        """Whether the starting model is needed: as the reference of the KL, or to give the samples."""
        return self.reference_kl is not None or self.behaviour is not None

    def refreshes_reference(self) -> bool:
        """Whether the reference is replaced by the current policy now and then."""
        return self.refresh_every() is not None

    def refresh_every(self) -> int | None:
        """Steps between updates of the reference to the current policy. None: it stays the starting model."""
        return fact(self.reference_kl, "refresh_every", None)

    def updates_per_rollout(self) -> int:
        return self.num_epochs * self.num_minibatches

    def trust_region(self) -> NaturalGradient | None:
        """The optimizer, where it takes natural-gradient steps; None: it takes gradient steps."""
        return cast("NaturalGradient", self.optimizer) if fact(self.optimizer, "trust_region", False) else None

    def needs_old_log_probs(self) -> bool:
        """Whether the learner's log-probs must be taken before the first update.

        With one update a rollout the current log-probs are the old ones, and a whole pass is saved.
        """
        many = fact(self.objective, "uses_ratio", False) and self.updates_per_rollout() > 1
        return many or any(fact(part, "needs_old_log_probs", False) for part in self._parts())

    @property
    def needs_teacher(self) -> bool:
        """Whether a part reads a teacher's log-probs, or its whole distribution."""
        return self.to_teacher is not None or any(fact(part, "needs_teacher", False) for part in self._parts())

    @property
    def to_teacher(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """[N] from both whole distributions [N, V], where the objective compares them."""
        return fact(self.objective, "to_teacher", None)

    def weighs_steps_alike(self) -> bool:
        """Whether the loss is a mean over steps alone, so that minibatches may mix the steps of many episodes."""
        return fact(self.aggregation, "mean_over_steps", False)

    def _parts(self) -> list[Any]:
        return [getattr(self, f.name) for f in fields(self)]

    def with_advantages(self, batch: Batch) -> Batch:
        """The batch with advantages, and the critic's targets: after the reward was shaped and any KL taken off it."""
        shaped = batch if self.shape_reward is None else batch.changed(rewards_BT=self.shape_reward(batch))
        if self.reference_kl is not None:
            shaped = shaped.changed(rewards_BT=self.reference_kl.rewards(shaped))
        advantages_BT = self.advantage(shaped).detach()
        if self.reference_kl is not None:
            advantages_BT = self.reference_kl.advantages(shaped, advantages_BT).detach()
        if self.critic is not None:
            batch = batch.changed(value_targets_BT=self._value_targets(shaped, advantages_BT))
        if self.whiten is not None and not self.whiten.per_minibatch:
            advantages_BT = self.whiten(advantages_BT, batch.action_mask_BT, batch.processes.total)
        batch = batch.changed(advantages_BT=advantages_BT)
        return batch if self.drop_rows is None else self.drop_rows(batch)

    def _value_targets(self, batch: Batch, advantages_BT: Tensor) -> Tensor:
        own: Callable[[Batch], Tensor] | None = fact(self.advantage, "value_targets", None)
        if own is not None:
            return own(batch)
        assert batch.values_BT is not None, "a critic's values come before the advantages"
        return advantages_BT + batch.values_BT.to(advantages_BT)

    @property
    def chooses_tokens(self) -> bool:
        """Whether the objective picks tokens by comparing all of an update's, so that it must see them together."""
        return fact(self.objective, "chosen", None) is not None

    @property
    def chooses_by_entropy(self) -> bool:
        """Whether the objective reads the policy's entropy at each token when it picks."""
        return fact(self.objective, "chooses_by_entropy", False)

    def choosing(self, minibatch: Batch, log_probs_BT: Tensor, total: Total, key: tuple[int, ...]) -> Batch:
        """The minibatch with the tokens that its objective chooses, by the current log-probs of the whole update."""
        chosen: Callable[..., Tensor] | None = fact(self.objective, "chosen", None)
        return minibatch if chosen is None else minibatch.changed(chosen_BT=chosen(minibatch, log_probs_BT, total, key))

    def minibatch(self, minibatch: Batch, total: Total) -> Batch:
        """The minibatch as it is learnt from: advantages whitened, if that is done by minibatch; what is imitated."""
        if self.imitation is not None:
            weights_BT = self.weights(minibatch, total)
            share_BT = self.imitation(minibatch, total) / torch.where(weights_BT > 0, weights_BT, torch.inf)
            minibatch = minibatch.changed(imitated_BT=share_BT)
        if self.whiten is None or not self.whiten.per_minibatch:
            return minibatch
        assert minibatch.advantages_BT is not None
        return minibatch.changed(advantages_BT=self.whiten(minibatch.advantages_BT, minibatch.action_mask_BT, total))

    def learns_from(self, batch: Batch) -> Tensor:
        """bool [B]: rows whose loss can have a gradient; the others skip the backward pass.

        A row whose advantages are all 0 teaches nothing unless a reference KL, an entropy bonus or a critic's loss
        stands beside them.
        """
        assert batch.advantages_BT is not None, "the advantage comes before"
        beside = self.critic is not None or self.entropy_weight != 0 or self.imitation is not None
        alone = not beside and not self._kl_in_loss()
        if not (alone and fact(self.objective, "zero_without_advantage", False)):
            return batch.counted_B()
        return (zeroed(batch.advantages_BT, batch.action_mask_BT) != 0).any(1)

    @property
    def entropy_weight(self) -> float:
        """Of the entropy bonus now: the fixed one, and that of a target while the entropy is below it."""
        held = self.entropy_target
        return self.entropy_bonus + (held.weight if held is not None and held.on else 0.0)

    def _kl_in_loss(self) -> bool:
        return self.reference_kl is not None and fact(self.reference_kl, "in_loss", True)

    def losses(self, batch: Batch, log_probs_BT: Tensor, entropy_BT: Tensor | None = None) -> Tensor:
        """[B,T] loss of each token, to be weighted by `weights` and summed. The critic's is apart."""
        losses_BT = self.objective(batch, log_probs_BT)
        if self.correction is not None:
            current = fact(self.correction, "of_current", False)
            of_BT = log_probs_BT.detach() if current else old_log_probs(batch, log_probs_BT)
            losses_BT = losses_BT * self.correction(batch, of_BT)
        if self.reference_kl is not None:
            losses_BT = losses_BT + self.reference_kl.loss(batch, log_probs_BT)
        if self.imitation is not None:
            assert batch.imitated_BT is not None, "what is imitated is weighed over the whole update"
            losses_BT = losses_BT - batch.imitated_BT * zeroed(log_probs_BT, batch.action_mask_BT)
        if self.entropy_weight:
            assert entropy_BT is not None, "an entropy bonus needs the entropy"
            losses_BT = losses_BT - self.entropy_weight * zeroed(entropy_BT, batch.action_mask_BT)
        return losses_BT

    def beyond_slopes(self) -> list[str]:
        """The slots whose parts a small network's compiled update does not know; autograd learns with them."""
        minibatches = self.whiten is not None and self.whiten.per_minibatch
        known = {
            "objective": stated_beside(self.objective, "slope", "__call__") is not None,
            "critic": self.critic is None or stated_beside(self.critic, "slope", "loss") is not None,
            "whiten": not minibatches or stated_beside(self.whiten, "numbers", "__call__") is not None,
            "correction": self.correction is None,
            "imitation": self.imitation is None,
            "entropy_target": self.entropy_target is None,
            "reference_kl": not self._kl_in_loss(),
            "optimizer": stated_beside(self.optimizer, "rule", "build") is not None,
        }
        return [slot for slot, is_known in known.items() if not is_known]

    def in_numbers(self, steps: int) -> tuple[float, float] | None:
        """γ and λ of the advantages of rollouts of so many steps, where one update learns from each, no part stands
        between the rollout and the update, and none measures it afterwards; None: the general way."""
        between = (self.whiten, self.shape_reward, self.reference_kl, self.drop_rows, self.behaviour)
        credit: Callable[[int], tuple[float, float] | None] | None = stated_beside(self.advantage, "credit", "__call__")
        alone = stated_beside(self.objective, "scores", "__call__") and not fact(self.objective, "diagnostics", None)
        plain = all(part is None for part in between) and alone and self.critic is not None
        asking = ("measured", "adapted", "needs_old_log_probs", "needs_teacher", "warmup_steps")
        asks = any(fact(part, name, None) for part in self._parts() for name in asking)
        one = self.updates_per_rollout() == 1 and self.weighs_steps_alike() and self.trust_region() is None
        if credit is None or not plain or asks or not one or self.beyond_slopes():
            return None
        return credit(steps)

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> dict[str, Tensor]:
        """bool [B,T] by metric name: which tokens each bound touched."""
        own: Callable[..., Mapping[str, Tensor]] | None = fact(self.objective, "diagnostics", None)
        found: dict[str, Tensor] = {} if own is None else dict(own(batch, log_probs_BT))
        to_sampler = fact(self.objective, "ratio_to_sampler", False)
        before_BT = batch.sampler_log_probs_BT if to_sampler else batch.old_log_probs_BT
        if fact(self.objective, "uses_ratio", False) and before_BT is not None:
            here_BT = log_probs_BT.detach()
            found["ratio/capped"] = capped(here_BT, before_BT.to(here_BT), batch.action_mask_BT)
        return found

    def weights(self, batch: Batch, total: Total) -> Tensor:
        """[B,T] weights with which the whole batch's losses are summed; taken before it is cut into micro-batches."""
        return self.aggregation(batch, total)

    def measured(self, after: AfterUpdates) -> dict[str, float]:
        """What the parts measure after a rollout's updates, by metric name."""
        asked: list[Callable[[AfterUpdates], Mapping[str, float]] | None]
        asked = [fact(part, "measured", None) for part in reversed(self._parts())]
        return {name: number for measure in asked if measure is not None for name, number in measure(after).items()}

    def adapted(self, measured: Mapping[str, float]) -> Self:
        """The method for the next rollout: coefficients that steer to a target have moved. Itself when none does."""
        asked: dict[str, Callable[[Mapping[str, float]], Any] | None]
        asked = {f.name: fact(getattr(self, f.name), "adapted", None) for f in fields(self)}
        parts = {slot: adapt(measured) for slot, adapt in asked.items() if adapt is not None}
        moved = {slot: part for slot, part in parts.items() if part != getattr(self, slot)}
        return replace(self, **moved) if moved else self
