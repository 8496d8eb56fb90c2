"""A method is data: one frozen dataclass whose slots are filled by parts.

Reading a definition is understanding the method; `changed` makes a variant; there is no inheritance between
methods, and the training loop knows no method's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from rung.batch import Batch
from rung.formulas.masked import zeroed
from rung.formulas.policy_losses import capped
from rung.methods.parts.advantages import Advantage, LengthAdaptiveGAE, RightAnswers, TeacherLogRatio
from rung.methods.parts.aggregations import Aggregation, Total, Whiten, alone
from rung.methods.parts.critics import Critic
from rung.methods.parts.filters import Behaviour, Correction, DropRows, KeepGroup, ShapeReward
from rung.methods.parts.learned_reward import LearnedReward
from rung.methods.parts.objectives import (
    ClipCov,
    ClippedSurrogate,
    KLCov,
    KLPenalty,
    Objective,
    ScoreFunction,
    Surrogate,
    WithinProbability,
    WithSlope,
    old_log_probs,
)
from rung.methods.parts.optimizers import NaturalGradient, Step
from rung.methods.parts.reference_kl import KLInReward, ReferenceKL


@dataclass(frozen=True, kw_only=True)
class PolicyGradient:
    """A policy-gradient method: J = E[ aggregation ( objective ) - reference KL ], climbed by `step`.

    Example: `GRPO.changed(name="grpo-two", num_minibatches=2)` is GRPO with two updates a rollout.
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
    behaviour: Behaviour | None = None
    """Who gives the answers that are learnt from. None: the policy itself."""
    horizon: int | None = None
    """Steps of each environment that one rollout takes. None: whole episodes, as text always is."""
    learned_reward: LearnedReward | None = None
    """What stands in the place of the task's own reward. None: the task's own is learnt from."""
    keep_group: KeepGroup | None = None
    shape_reward: ShapeReward | None = None
    reference_kl: ReferenceKL | None = None
    critic: Critic | None = None
    advantage: Advantage
    whiten: Whiten | None = None
    objective: Objective
    entropy_bonus: float = 0.0
    """The policy's entropy at each token, times this, is climbed too."""
    correction: Correction | None = None
    drop_rows: DropRows | None = None
    aggregation: Aggregation
    optimizer: Step
    num_epochs: int = 1
    """Passes over one rollout's samples."""
    num_minibatches: int = 1
    """Updates a pass."""

    def changed(self, **slots: Any) -> Self:
        """A copy with other slots; its parent is this method unless another is named."""
        return replace(self, **{"parent": self.name, **slots})

    def problems(self) -> list[str]:
        """What makes this combination of slots impossible, as sentences; empty when it can run."""
        found: list[str] = []
        for slot in ("samples_per_prompt", "num_epochs", "num_minibatches"):
            if getattr(self, slot) < 1:
                found.append(f"method.{slot}: got {getattr(self, slot)}, expected at least 1")
        if self.advantage.needs_group and self.samples_per_prompt == 1:
            found.append(
                f"method.samples_per_prompt: got 1, but {type(self.advantage).__name__} compares the samples of one "
                "prompt: with one sample every advantage is 0; set 2 or more"
            )
        if not self.objective.uses_ratio and self.num_epochs * self.num_minibatches > 1:
            found.append(
                f"method.num_epochs x method.num_minibatches: got {self.num_epochs} x {self.num_minibatches} updates a "
                "rollout, but "
                f"{type(self.objective).__name__} has no ratio to correct for samples of an older policy; set both to 1"
            )
        return [*found, *self._missing_partners(), *self._others_answers()]

    def _others_answers(self) -> Iterator[str]:
        """What cannot learn from answers that are not the policy's own."""
        if self.behaviour is None:
            return
        giver = type(self.behaviour).__name__
        for slot, wanted in (("advantage", RightAnswers), ("objective", ScoreFunction)):
            got = getattr(self, slot)
            if not isinstance(got, wanted):
                yield (
                    f"method.{slot}: got {type(got).__name__}, which takes answers as the policy's own, but "
                    f"{giver} gives them; set {wanted.__name__}, or method.behaviour to null"
                )
        if self.reference_kl is not None:
            yield (
                f"method.reference_kl: got {type(self.reference_kl).__name__}, whose estimate is of the policy's own "
                f"answers, but {giver} gives them; set it to null, or method.behaviour to null"
            )

    def _missing_partners(self) -> Iterator[str]:
        if self.advantage.needs_critic and self.critic is None:
            yield f"method.critic: got none, but {type(self.advantage).__name__} needs its values; set ValueFunction"
        if self.critic is not None and not self.advantage.needs_critic:
            yield (
                f"method.critic: {type(self.advantage).__name__} does not read its values, so it would be trained for "
                "nothing; set it to null, or the advantage to GAE"
            )
        if self.keep_group is not None and self.samples_per_prompt == 1:
            yield "method.keep_group: got samples_per_prompt 1, but one sample never differs; set 2 or more"
        if self.learned_reward is not None and self.keep_group is not None:
            yield (
                "method.keep_group: looks at the task's own returns, which a learned reward is to replace; "
                "set it to null"
            )
        if isinstance(self.optimizer, NaturalGradient):
            if self.critic is not None and self.critic.warmup_steps:
                yield (
                    f"method.critic.warmup_steps: got {self.critic.warmup_steps}, but with NaturalGradient policy and "
                    "critic always learn together; set it to 0"
                )
            if self.updates_per_rollout() > 1:
                yield (
                    f"method.num_epochs x method.num_minibatches: got {self.num_epochs} x {self.num_minibatches}, but "
                    "NaturalGradient makes one step a rollout; set both to 1"
                )
            if not isinstance(self.objective, Surrogate):
                yield (
                    f"method.objective: got {type(self.objective).__name__}, but NaturalGradient bounds the step "
                    "itself; set Surrogate"
                )

    def formula(self) -> str:
        """The objective that is climbed, and the advantage inside it, from the parts."""
        kl = f"; {self.reference_kl.formula}" if self.reference_kl is not None else ""
        entropy = f" + {self.entropy_bonus:g} entropy" if self.entropy_bonus else ""
        lines = [f"J = E[ {self.aggregation.formula} {self.objective.formula} ]{entropy}{kl}", self.advantage.formula]
        beside = (
            self.behaviour,
            self.learned_reward,
            self.whiten,
            self.critic,
            self.shape_reward,
            self.keep_group,
            self.correction,
            self.drop_rows,
        )
        lines += [part.formula for part in beside if part is not None]
        return "\n".join([*lines, self.optimizer.formula] if isinstance(self.optimizer, NaturalGradient) else lines)

    def critic_learns_alone(self, step: int) -> bool:
        """Whether the policy stays as it is in this step of the run, counted from 1."""
        return self.critic is not None and step <= self.critic.warmup_steps

    def needs_start(self) -> bool:
        """Whether the policy as it was at the start stands in the objective, or answers in the policy's place."""
        return self.reference_kl is not None or self.behaviour is not None

    def refreshes_reference(self) -> bool:
        """Whether the reference follows the policy from time to time."""
        return self.reference_kl is not None and self.reference_kl.refresh_every is not None

    def updates_per_rollout(self) -> int:
        return self.num_epochs * self.num_minibatches

    def needs_old_log_probs(self) -> bool:
        """Whether the learner's log-probs must be taken before the first update.

        With one update a rollout the current log-probs are the old ones, and a whole pass is saved.
        """
        in_reward = self.reference_kl is not None and self.reference_kl.needs_old_log_probs
        many = self.objective.uses_ratio and self.updates_per_rollout() > 1
        return in_reward or many or isinstance(self.optimizer, NaturalGradient) or self.needs_teacher

    @property
    def needs_teacher(self) -> bool:
        """Whether the advantage reads a teacher's log-probs."""
        return isinstance(self.advantage, TeacherLogRatio)

    def with_advantages(self, batch: Batch, total: Total = alone) -> Batch:
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
            advantages_BT = self.whiten(advantages_BT, batch.action_mask_BT, total)
        batch = batch.changed(advantages_BT=advantages_BT)
        return batch if self.drop_rows is None else self.drop_rows(batch)

    def _value_targets(self, batch: Batch, advantages_BT: Tensor) -> Tensor:
        if isinstance(self.advantage, LengthAdaptiveGAE):
            return self.advantage.value_targets(batch)
        assert batch.values_BT is not None, "a critic's values come before the advantages"
        return advantages_BT + batch.values_BT.to(advantages_BT)

    @property
    def chooses_tokens(self) -> bool:
        """Whether the objective picks tokens by comparing all of an update's, so that it must see them together."""
        return isinstance(self.objective, (ClipCov, KLCov))

    def choosing(self, minibatch: Batch, log_probs_BT: Tensor, total: Total, key: tuple[int, ...]) -> Batch:
        """The minibatch with the tokens that its objective chooses, by the current log-probs of the whole update."""
        if not isinstance(self.objective, (ClipCov, KLCov)):
            return minibatch
        return minibatch.changed(chosen_BT=self.objective.chosen(minibatch, log_probs_BT, total, key))

    def minibatch(self, minibatch: Batch, total: Total) -> Batch:
        """The minibatch as it is learnt from: its advantages whitened, if that is done by minibatch."""
        if self.whiten is None or not self.whiten.per_minibatch:
            return minibatch
        assert minibatch.advantages_BT is not None
        return minibatch.changed(advantages_BT=self.whiten(minibatch.advantages_BT, minibatch.action_mask_BT, total))

    def learns_from(self, batch: Batch) -> Tensor:
        """bool [B]: rows whose loss can have a gradient; the others need no backward pass, and none is wasted on them.

        A row whose advantages are all 0 teaches nothing unless a reference KL, an entropy bonus or a critic's loss
        stands beside them.
        """
        assert batch.advantages_BT is not None, "the advantage comes before"
        in_loss = self.reference_kl is not None and self.reference_kl.in_loss
        if (
            in_loss
            or self.critic is not None
            or self.entropy_bonus != 0
            or isinstance(self.objective, (KLPenalty, WithinProbability, KLCov))
        ):
            return batch.counted_B()
        return (zeroed(batch.advantages_BT, batch.action_mask_BT) != 0).any(1)

    def losses(self, batch: Batch, log_probs_BT: Tensor, entropy_BT: Tensor | None = None) -> Tensor:
        """[B,T] loss of each token, to be weighted by `weights` and summed. The critic's is apart."""
        losses_BT = self.objective(batch, log_probs_BT)
        if self.correction is not None:
            losses_BT = losses_BT * self.correction(batch, old_log_probs(batch, log_probs_BT))
        if self.reference_kl is not None:
            losses_BT = losses_BT + self.reference_kl.loss(batch, log_probs_BT)
        if self.entropy_bonus:
            assert entropy_BT is not None, "an entropy bonus needs the entropy"
            losses_BT = losses_BT - self.entropy_bonus * zeroed(entropy_BT, batch.action_mask_BT)
        return losses_BT

    def by_hand(self) -> WithSlope | None:
        """The objective, where it is the whole loss beside critic and entropy bonus and all slopes are known by hand;
        None: autograd is needed."""
        objective, kl = self.objective, self.reference_kl
        bounded = isinstance(objective, ClippedSurrogate) and objective.dual is not None
        clipped = self.critic is not None and self.critic.clip is not None
        more = self.correction is not None or (kl is not None and kl.in_loss)
        return objective if isinstance(objective, WithSlope) and not (bounded or clipped or more) else None

    def diagnostics(self, batch: Batch, log_probs_BT: Tensor) -> dict[str, Tensor]:
        """bool [B,T] by metric name: which tokens each bound touched."""
        found = dict(self.objective.diagnostics(batch, log_probs_BT))
        before_BT = batch.old_log_probs_BT
        if isinstance(self.objective, WithinProbability):
            before_BT = batch.sampler_log_probs_BT
        if self.objective.uses_ratio and before_BT is not None:
            here_BT = log_probs_BT.detach()
            found["ratio/capped"] = capped(here_BT, before_BT.to(here_BT), batch.action_mask_BT)
        return found

    def weights(self, batch: Batch, total: Total) -> Tensor:
        """[B,T] weights with which the whole batch's losses are summed; taken before it is cut into micro-batches."""
        return self.aggregation(batch, total)

    def adapted(self, *, kl_old: float | None, kl_sequence: float | None, episodes: int) -> PolicyGradient:
        """The method for the next rollout: coefficients that steer to a target have moved. Itself when none does."""
        method = self
        if isinstance(self.objective, KLPenalty) and kl_old is not None:
            method = replace(method, objective=self.objective.adapted(kl_old))
        if isinstance(self.reference_kl, KLInReward) and kl_sequence is not None:
            method = replace(method, reference_kl=self.reference_kl.adapted(kl_sequence, episodes))
        return method
