"""Advantage estimators: called with the batch, each gives [B,T]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas import advantages, divergences, returns
from rung.formulas.masked import last_step, zeroed
from rung.methods.parts.protocols import Baseline, Formula, fact, formula_of
from rung.methods.ranges import ABOVE_0, FROM_0, FROM_1, SHARE, ZERO_OR_ONE


def _groups(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return batch.returns_B(), batch.group_ids_B, batch.counted_B()


def _one_group(returns_B: Tensor, batch: Batch) -> tuple[tuple[Tensor, Tensor, Tensor], slice]:
    """`_groups` of the whole batch as one group, over all processes, and where this one's rows stand."""
    whole_B, own = batch.processes.gather(returns_B)
    counted_B, _ = batch.processes.gather(batch.counted_B().long())
    return (whole_B, torch.zeros_like(counted_B), counted_B.bool()), own


def _at_every_step(advantages_B: Tensor, batch: Batch) -> Tensor:
    return zeroed(advantages_B[:, None].expand_as(batch.rewards_BT), batch.action_mask_BT)


@dataclass(frozen=True)
class EpisodeReturn:
    """A_t = R - b at every step: the whole episode's return credits each of its actions (episodic REINFORCE)."""

    baseline: Baseline | None = None

    @property
    def needs_group(self) -> bool:
        return fact(self.baseline, "needs_group", False)

    @property
    def formula(self) -> str:
        return "A_{i,t} = R_i" + (f" - {formula_of(self.baseline)}" if self.baseline else "")

    def __call__(self, batch: Batch) -> Tensor:
        returns_B = batch.returns_B()
        if self.baseline is not None:
            returns_B = returns_B - self.baseline(returns_B, batch)
        return _at_every_step(returns_B, batch)


@dataclass(frozen=True)
class RewardToGo:
    """A_t = G_t - b: an action is credited with what came after it. Same mean as the whole return, less variance."""

    discount: Annotated[float, SHARE] = 1.0
    baseline: Baseline | None = None

    @property
    def needs_group(self) -> bool:
        return fact(self.baseline, "needs_group", False)

    @property
    def formula(self) -> str:
        power = "" if self.discount == 1.0 else f"{self.discount:g}^{{k-t}} "
        return f"A_{{i,t}} = ∑_{{k≥t}} {power}r_{{i,k}}" + (f" - {formula_of(self.baseline)}" if self.baseline else "")

    def __call__(self, batch: Batch) -> Tensor:
        to_go_BT = returns.reward_to_go(
            batch.rewards_BT, batch.discounts_BT, batch.cut_BT, batch.bootstrap_BT, batch.action_mask_BT, self.discount
        )
        if self.baseline is not None:
            to_go_BT = to_go_BT - self.baseline(batch.returns_B(), batch)[:, None]
        return zeroed(to_go_BT, batch.action_mask_BT)


@dataclass(frozen=True)
class RightAnswers:
    """A = 1 at every token of a right answer, 0 at those of any other: imitate right answers, ignore the others.

    Right is an accuracy of 1, whatever the rewards add up to.
    """

    formula: ClassVar[str] = "A_{i,t} = 1 where o_i is right, else 0"
    learns_from_others: ClassVar[bool] = True
    needs_right_answers: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Tensor:
        right_B = advantages.right_answers(batch.scores_B, batch.counted_B())
        return _at_every_step(right_B.to(batch.rewards_BT), batch)


@dataclass(frozen=True)
class GroupNormalized:
    """A_i = (R_i - group mean) / (group standard deviation + ε), the same at each of the sequence's tokens."""

    epsilon: Annotated[float, FROM_0] = 1e-6
    ddof: Annotated[int, ZERO_OR_ONE] = 0
    """0: population deviation; 1: sample deviation."""
    needs_group: ClassVar[bool] = True
    formula = Formula("A_{{i,t}} = (R_i - mean_j R_j) / (std_j R_j + {epsilon:g}) over the prompt's samples")

    def __call__(self, batch: Batch) -> Tensor:
        return _at_every_step(advantages.group_normalized(*_groups(batch), self.epsilon, self.ddof), batch)


@dataclass(frozen=True)
class GroupCentred:
    """A_i = R_i - group mean, no deviation: a hard or an easy prompt weighs what its rewards weigh (Dr. GRPO)."""

    formula: ClassVar[str] = "A_{i,t} = R_i - mean_j R_j over the prompt's samples"
    needs_group: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Tensor:
        return _at_every_step(advantages.group_centred(*_groups(batch)), batch)


@dataclass(frozen=True)
class GroupRelative:
    """A_i = (R_i - group mean) / group mean: a prompt that is seldom solved weighs more (MaxRL)."""

    formula: ClassVar[str] = "A_{i,t} = (R_i - mean_j R_j) / mean_j R_j over the prompt's samples"
    needs_group: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Tensor:
        return _at_every_step(advantages.group_relative(*_groups(batch)), batch)


@dataclass(frozen=True)
class GroupCentredBatchScaled:
    """A_i = (R_i - group mean) / (standard deviation of the whole batch's returns + ε) (LitePPO)."""

    epsilon: Annotated[float, FROM_0] = 1e-6
    ddof: Annotated[int, ZERO_OR_ONE] = 0
    """0: population deviation; 1: sample deviation."""
    needs_group: ClassVar[bool] = True
    formula = Formula("A_{{i,t}} = (R_i - mean_j R_j over the prompt's samples) / (std R over the batch + {epsilon:g})")

    def __call__(self, batch: Batch) -> Tensor:
        returns_B, groups_B, counted_B = _groups(batch)
        centred_B = advantages.group_centred(returns_B, groups_B, counted_B)
        whole, own = _one_group(returns_B, batch)
        scale_B = advantages.group_deviation(*whole, self.ddof)[own]
        return _at_every_step((centred_B / (scale_B + self.epsilon)).to(centred_B.dtype), batch)


@dataclass(frozen=True)
class NormalizedByOthers:
    """A_i = (R_i - others' mean) / (others' sample deviation + ε): leave-one-out, deviation too (NeMo RL)."""

    epsilon: Annotated[float, FROM_0] = 1e-6
    needs_group: ClassVar[bool] = True
    formula = Formula(
        "A_{{i,t}} = (R_i - mean_{{j≠i}} R_j) / (std_{{j≠i}} R_j + {epsilon:g}) over the prompt's other samples"
    )

    def __call__(self, batch: Batch) -> Tensor:
        return _at_every_step(advantages.normalized_by_others(*_groups(batch), self.epsilon), batch)


@dataclass(frozen=True)
class ProcessNormalized:
    """A_t = the normalised rewards of the step that t is in and of all later ones (GRPO with process supervision).

    A reward that judges steps says where they end; an answer without steps is one step.
    """

    epsilon: Annotated[float, FROM_0] = 1e-6
    ddof: Annotated[int, ZERO_OR_ONE] = 0
    """0: population deviation; 1: sample deviation."""
    needs_group: ClassVar[bool] = True
    needs_step_scores: ClassVar[bool] = True
    formula = Formula(
        "A_{{i,t}} = ∑_{{steps ending at k≥t}} (r_{{i,k}} - mean r) / (std r + {epsilon:g}) over the group's steps"
    )

    def __call__(self, batch: Batch) -> Tensor:
        ends_BT = last_step(batch.action_mask_BT) if batch.step_ends_BT is None else batch.step_ends_BT
        return advantages.process_normalized(
            batch.rewards_BT, ends_BT, batch.group_ids_B, batch.action_mask_BT, self.epsilon, self.ddof
        )


@dataclass(frozen=True)
class TeacherLogRatio:
    """A_t = log π_teacher(a_t) - log π(a_t), discount 0: the teacher judges each token by itself."""

    formula: ClassVar[str] = "A_{i,t} = log π_teacher(a_t) - log π(a_t)"
    needs_teacher: ClassVar[bool] = True
    needs_old_log_probs: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Tensor:
        assert batch.teacher_log_probs_BT is not None, "distillation needs the teacher's log-probs"
        assert batch.old_log_probs_BT is not None, "distillation needs the learner's log-probs of the rollout"
        mask_BT = batch.action_mask_BT
        return -divergences.k1(zeroed(batch.old_log_probs_BT, mask_BT), zeroed(batch.teacher_log_probs_BT, mask_BT))


@dataclass(frozen=True)
class EachNormalized:
    """A_i = ∑_k w_k (r_k - group mean) / (group deviation + ε): each reward normalised apart, then weighed (GDPO)."""

    epsilon: Annotated[float, FROM_0] = 1e-6
    ddof: Annotated[int, ZERO_OR_ONE] = 0
    """0: population deviation; 1: sample deviation."""
    needs_group: ClassVar[bool] = True
    reads_reward_parts: ClassVar[bool] = True
    formula = Formula(
        "A_{{i,t}} = ∑_k w_k (r_{{k,i}} - mean_j r_{{k,j}}) / (std_j r_{{k,j}} + {epsilon:g}) over the prompt's samples"
    )

    def __call__(self, batch: Batch) -> Tensor:
        returns_B, groups_B, counted_B = _groups(batch)
        parts, weights = batch.reward_parts or {"total": returns_B}, batch.reward_weights or {"total": 1.0}
        numbers = (groups_B, counted_B, self.epsilon, self.ddof)
        return _at_every_step(advantages.each_normalized(parts, weights, *numbers).to(returns_B), batch)


@dataclass(frozen=True)
class GroupCentredOverMixed:
    """A_i = α (R_i - group mean), α the batch's samples over those whose group differs: others make up (GPG)."""

    formula: ClassVar[str] = "A_{i,t} = B/B_mixed (R_i - mean_j R_j over the prompt's samples)"
    needs_group: ClassVar[bool] = True

    def __call__(self, batch: Batch) -> Tensor:
        return _at_every_step(advantages.over_mixed_groups(*_groups(batch), batch.processes.total), batch)


@dataclass(frozen=True)
class PassAtK:
    """What an answer adds to the chance that one of k answers is right, over all sets of k of the prompt's samples."""

    k: Annotated[int, FROM_1] = 4
    normalize: bool = True
    """Over the deviation of that chance between sets."""
    needs_group: ClassVar[bool] = True
    needs_right_answers: ClassVar[bool] = True

    @property
    def least_samples(self) -> int:
        return self.k + 1

    @property
    def formula(self) -> str:
        over = " / √(m (1-m))" if self.normalize else ""
        return f"A_{{i,t}} = (P(one of {self.k} is right, i among them) - m){over}, m = P(one of {self.k} is right)"

    def __call__(self, batch: Batch) -> Tensor:
        given = (batch.scores_B >= 1, batch.group_ids_B, batch.counted_B(), self.k, self.normalize)
        return _at_every_step(advantages.pass_at_k(*given).to(batch.rewards_BT), batch)


@dataclass(frozen=True)
class GAE:
    """A_t = ∑_k (γλ)^k δ_{t+k}, δ_t = r_t + γV_{t+1} - V_t: λ trades the critic's bias for the return's variance."""

    discount: Annotated[float, SHARE] = 0.99
    lam: Annotated[float, SHARE] = 0.95
    needs_critic: ClassVar[bool] = True
    formula = Formula("A_t = ∑_k ({discount:g}·{lam:g})^k δ_{{t+k}}, δ_t = r_t + {discount:g} V_{{t+1}} - V_t")

    def credit(self, steps: int) -> tuple[float, float]:
        """γ and λ."""
        return self.discount, self.lam

    def __call__(self, batch: Batch) -> Tensor:
        lambda_B = batch.rewards_BT.new_full((len(batch),), self.lam)
        return returns.gae(*_with_values(batch), self.discount, lambda_B)


@dataclass(frozen=True)
class LengthAdaptiveGAE:
    """GAE with λ = 1 - 1/(α·length) for the policy, so that a long answer's reward reaches its first tokens (VAPO).

    The critic's targets keep λ = 1: they are the returns themselves.
    """

    alpha: Annotated[float, ABOVE_0] = 0.05
    discount: Annotated[float, SHARE] = 1.0
    needs_critic: ClassVar[bool] = True
    formula = Formula("A_t = ∑_k λ^k δ_{{t+k}}, λ = 1 - 1/({alpha:g}·|o|)")

    def __call__(self, batch: Batch) -> Tensor:
        lengths_B = batch.action_mask_BT.sum(1).to(batch.rewards_BT)
        lambda_B = (1 - 1 / (self.alpha * lengths_B).clamp(min=1)).clamp(min=0)
        return returns.gae(*_with_values(batch), self.discount, lambda_B)

    def value_targets(self, batch: Batch) -> Tensor:
        assert batch.values_BT is not None
        ones_B = torch.ones_like(batch.returns_B())
        return batch.values_BT + returns.gae(*_with_values(batch), self.discount, ones_B)


@dataclass(frozen=True)
class NStep:
    """A_t = r_t + γ r_{t+1} + ... + γⁿ V_{t+n} - V_t: look n steps ahead, then trust the critic (A3C)."""

    discount: Annotated[float, SHARE] = 0.99
    steps: Annotated[int, FROM_1] = 5
    needs_critic: ClassVar[bool] = True
    formula = Formula("A_t = ∑_{{k<{steps}}} {discount:g}^k r_{{t+k}} + {discount:g}^{steps} V_{{t+{steps}}} - V_t")

    def credit(self, steps: int) -> tuple[float, float] | None:
        """γ and λ in rows of so many steps, which GAE with λ = 1 credits alike unless they are longer than n."""
        return (self.discount, 1.0) if steps <= self.steps else None

    def __call__(self, batch: Batch) -> Tensor:
        return returns.n_step(*_with_values(batch), self.discount, self.steps)


def _with_values(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    assert batch.values_BT is not None, "an advantage with a critic needs its values"
    values_BT = batch.values_BT.to(batch.rewards_BT)
    ends = (batch.discounts_BT, batch.cut_BT, batch.bootstrap_BT)
    return batch.rewards_BT, values_BT, *ends, batch.action_mask_BT


@dataclass(frozen=True)
class OthersInBatch:
    """b_i = mean return of the batch's other episodes. Independent of the episode's own actions, so unbiased."""

    formula: ClassVar[str] = "mean_{j≠i} R_j over the batch"
    needs_others: ClassVar[bool] = True

    def __call__(self, returns_B: Tensor, batch: Batch) -> Tensor:
        whole, own = _one_group(returns_B, batch)
        return returns_B - advantages.leave_one_out(*whole)[own]


@dataclass(frozen=True)
class OthersInGroup:
    """b_i = mean return of the prompt's other samples (RLOO)."""

    formula: ClassVar[str] = "mean_{j≠i} R_j over the prompt's samples"
    needs_group: ClassVar[bool] = True

    def __call__(self, returns_B: Tensor, batch: Batch) -> Tensor:
        return returns_B - advantages.leave_one_out(returns_B, batch.group_ids_B, batch.counted_B())


@dataclass(frozen=True)
class LengthWeightedMean:
    """b = mean return of the prompt's samples, each weighed by its length (OPO). The sample itself is among them."""

    formula: ClassVar[str] = "∑_j |o_j| R_j / ∑_j |o_j| over the prompt's samples"
    needs_group: ClassVar[bool] = True

    def __call__(self, returns_B: Tensor, batch: Batch) -> Tensor:
        lengths_B = batch.action_mask_BT.sum(1)
        return advantages.length_weighted_mean(returns_B, lengths_B, batch.group_ids_B, batch.counted_B())
