"""The shipped parts of every slot, by the protocol they satisfy. A method's data can name these, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any, cast

from rung.methods.parts import (
    advantages,
    aggregations,
    chosen_tokens,
    corrections,
    critics,
    distillation,
    elements,
    entropy,
    filters,
    imitation,
    learned_reward,
    objectives,
    optimizers,
    preference_losses,
    protocols,
    q_learning,
    reference_kl,
    turn_advantages,
)


def parts_in(module: ModuleType, but: Sequence[type[Any]] = ()) -> tuple[type[Any], ...]:
    """The dataclasses that a file of parts defines, in its order, less those that fill no slot or another one."""
    own = [one for one in vars(module).values() if is_dataclass(one) and one.__module__ == module.__name__]
    return tuple(cast("type[Any]", one) for one in own if one not in but)


_BASELINES = (advantages.OthersInBatch, advantages.OthersInGroup, advantages.LengthWeightedMean)
PARTS: Mapping[type[Any], tuple[type[Any], ...]] = {
    protocols.Advantage: (*parts_in(advantages, but=_BASELINES), *parts_in(turn_advantages), distillation.NoAdvantage),
    protocols.Baseline: _BASELINES,
    protocols.Objective: (*parts_in(objectives), *parts_in(chosen_tokens), distillation.ToTeacher),
    protocols.Divergence: (distillation.ReverseKL, distillation.ForwardKL, distillation.GeneralisedJSD),
    protocols.Aggregation: parts_in(aggregations, but=(aggregations.Whiten,)),
    protocols.Whitening: (aggregations.Whiten,),
    protocols.Imitation: (imitation.RightAnswersToo,),
    protocols.GroupFilter: (filters.AccuraciesDiffer,),
    protocols.RewardShaping: (filters.SoftOverlong,),
    protocols.RowFilter: (filters.DropTruncated,),
    protocols.Correction: parts_in(corrections),
    protocols.Critic: (critics.ValueFunction,),
    protocols.Estimator: (reference_kl.K1, reference_kl.K2, reference_kl.K3),
    protocols.ReferenceKL: (reference_kl.KLInLoss, reference_kl.KLInReward, reference_kl.KLInAdvantage),
    protocols.Optimizer: (optimizers.AdamW, optimizers.RMSprop, optimizers.NaturalGradient),
    protocols.GradientOptimizer: (optimizers.AdamW, optimizers.RMSprop),
    protocols.PreferenceLoss: parts_in(preference_losses, but=(preference_losses.Answers,)),
    protocols.ValueTarget: (q_learning.MaxTarget, q_learning.DoubleTarget),
    protocols.Replay: (q_learning.Uniform, q_learning.Prioritised),
    protocols.Exploration: (q_learning.EpsilonGreedy, q_learning.Boltzmann),
    protocols.TDError: (q_learning.SquaredError, q_learning.ClippedError),
    protocols.TargetNetwork: (q_learning.Every,),
    protocols.QLayers: (q_learning.Layers2013, q_learning.Layers2015),
    protocols.QOptimizer: (q_learning.Adam, q_learning.CentredRMSprop),
    protocols.Actor: (elements.SearchElement, elements.Lifetimes),
    protocols.Queries: (learned_reward.ByDisagreement, learned_reward.AtRandom),
    **{
        part: (part,)
        for part in (
            elements.CriticElement,
            entropy.EntropyTarget,
            filters.FrozenStart,
            learned_reward.SegmentPreferences,
        )
    },
}
"""Four fill slots that are closed: CriticElement's loop is compiled, EntropyTarget is the bonus itself, FrozenStart
says who answers, and SegmentPreferences decides the trainer. Protocols have parts of their own."""
