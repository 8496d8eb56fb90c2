"""Batches with everything in them that a method may meet: holes, padding, unequal groups, an excluded row, junk."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.formulas.masked import last_step
from rung.methods import METHODS, PolicyGradient
from rung.methods.parts.advantages import (
    GAE,
    EpisodeReturn,
    GroupCentred,
    GroupNormalized,
    OthersInBatch,
    OthersInGroup,
    RewardToGo,
)
from rung.methods.parts.aggregations import PerConstantLength, PerEpisode, PerPrompt, PerSequence, PerToken, Whiten
from rung.methods.parts.corrections import GeometricMask, MaskedImportance, StaleNegatives, TruncatedImportance
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.filters import DropTruncated, SoftOverlong
from rung.methods.parts.objectives import ClippedSurrogate
from rung.methods.parts.reference_kl import K1, K2, K3, KLInLoss, KLInReward

JUNK = (float("nan"), 1e6, float("inf"))
GRPO = METHODS["grpo"]
AGGREGATIONS = (PerSequence(), PerToken(), PerEpisode(), PerConstantLength(length=6), PerPrompt())
EVERY_METHOD: dict[str, PolicyGradient] = {
    **{
        name: method
        for name, method in METHODS.items()
        if isinstance(method, PolicyGradient) and method.to_teacher is None
    },
    **{type(part).__name__: GRPO.changed(aggregation=part) for part in AGGREGATIONS},
    "GroupCentred": GRPO.changed(advantage=GroupCentred()),
    "GroupNormalized ddof 1": GRPO.changed(advantage=GroupNormalized(epsilon=1e-4, ddof=1)),
    "EpisodeReturn": GRPO.changed(advantage=EpisodeReturn(baseline=OthersInBatch())),
    "RewardToGo": GRPO.changed(advantage=RewardToGo(discount=0.9, baseline=OthersInGroup())),
    **{
        f"{type(k).__name__} {place.__name__}": GRPO.changed(reference_kl=place(0.5, k), advantage=RewardToGo())
        for k in (K1(), K2(), K3())
        for place in (KLInLoss, KLInReward)
    },
    "TruncatedImportance": GRPO.changed(correction=TruncatedImportance(cap=1.2)),
    "TruncatedImportance by sequence": GRPO.changed(correction=TruncatedImportance(cap=1.2, whole_sequence=True)),
    "MaskedImportance": GRPO.changed(correction=MaskedImportance(low=0.8, high=1.2)),
    "MaskedImportance by sequence": GRPO.changed(correction=MaskedImportance(low=0.5, high=2, whole_sequence=True)),
    "GeometricMask": GRPO.changed(correction=GeometricMask(low=0.9, high=1.1)),
    "StaleNegatives": GRPO.changed(correction=StaleNegatives(above=0.1)),
    "DropTruncated": GRPO.changed(drop_rows=DropTruncated()),
    "SoftOverlong": GRPO.changed(shape_reward=SoftOverlong(limit=5, cache=3)),
    "dual clip": GRPO.changed(objective=ClippedSurrogate(dual=1.1)),
    "GAE": GRPO.changed(advantage=GAE(), critic=ValueFunction(), whiten=Whiten(shift=False)),
}
"""Every named method, and GRPO with every part in its slot; those that compare whole distributions need a policy, and
are in tests/trainers/test_learner.py and tests/exact/test_distillation.py."""


def normal(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal(shape))


def mixed_mask() -> Tensor:
    """[8, 6] own actions: padding right, holes, one row of one action, one excluded row without any."""
    rows = ("######", "##.##.", "#.....", "####..", "......", ".##.#.", "###...", "#..#.#")
    return torch.tensor([[slot == "#" for slot in row] for row in rows])


def mixed_batch(seed: int = 0, mask_BT: Tensor | None = None) -> Batch:
    """Three groups, of 3, 4 and 1 rows, not side by side; two rows were cut by the limit."""
    mask_BT = mixed_mask() if mask_BT is None else mask_BT
    log_probs_BT, old_BT, reference_BT, rewards_BT, values_BT = normal(seed, (5, *mask_BT.shape)) * 0.4
    last_BT = last_step(mask_BT)
    truncated_B = torch.arange(len(mask_BT)) % 4 == 1
    ids_B = torch.tensor([5, 5, 9, 9, 9, 5, 9, 11])[: len(mask_BT)]
    return Batch(
        contexts=tuple(torch.tensor([int(group)]) for group in ids_B),
        actions_BT=torch.arange(mask_BT.numel()).reshape(mask_BT.shape),
        action_mask_BT=mask_BT,
        sampler_log_probs_BT=log_probs_BT,
        rewards_BT=torch.where(last_BT, rewards_BT, 0.0),
        discounts_BT=1.0 - (last_BT & ~truncated_B[:, None]).double(),
        cut_BT=last_BT & truncated_B[:, None],
        bootstrap_BT=torch.where(last_BT & truncated_B[:, None], 0.5, 0.0).double(),
        group_ids_B=ids_B,
        scores_B=(rewards_BT.sum(1) > 0).double(),
        truncated_B=truncated_B,
        old_log_probs_BT=log_probs_BT + 0.3 * old_BT,
        reference_log_probs_BT=log_probs_BT + reference_BT,
        teacher_log_probs_BT=log_probs_BT - 0.5 * reference_BT,
        step_ends_BT=last_BT | (mask_BT & (torch.arange(mask_BT.shape[1]) == 1)),
        values_BT=values_BT,
        entropy_BT=reference_BT.square(),
    )


def spoilt(batch: Batch, junk: float) -> Batch:
    """The same batch with every masked slot of every array overwritten."""
    mask_BT = batch.action_mask_BT
    changed: dict[str, Tensor] = {}
    for name, value in vars(batch).items():
        if isinstance(value, Tensor) and value.dim() == 2 and name != "action_mask_BT":
            if value.dtype == torch.bool:
                changed[name] = value | ~mask_BT
            elif value.is_floating_point():
                changed[name] = torch.where(mask_BT, value, torch.full_like(value, junk))
            else:
                changed[name] = torch.where(mask_BT, value, torch.full_like(value, -1))
    return batch.changed(**changed)


def log_probs_of(batch: Batch) -> Tensor:
    """The current policy's log-probs: the sampler's, moved a little."""
    moved_BT = 0.5 * torch.sin(torch.arange(batch.action_mask_BT.numel(), dtype=torch.float64))
    return batch.sampler_log_probs_BT + moved_BT.reshape(batch.action_mask_BT.shape)


def entropy_like(batch: Batch, log_probs_BT: Tensor) -> Tensor:
    """Something that depends on the policy as an entropy does; 0 where masked, as a policy gives it."""
    return torch.where(batch.action_mask_BT, log_probs_BT, 0.0).square()


def one(count: Tensor) -> Tensor:
    """The total over processes, where there is one."""
    return count


def loss_and_gradient(method: PolicyGradient, batch: Batch, log_probs_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of a whole batch in one piece, and its gradient with respect to the log-probs."""
    log_probs_BT = log_probs_BT.detach().clone().requires_grad_()
    batch = method.minibatch(method.with_advantages(batch), one)
    batch = method.choosing(batch, log_probs_BT.detach(), one, (7,))
    loss = (method.weights(batch, one) * method.losses(batch, log_probs_BT, entropy_like(batch, log_probs_BT))).sum()
    return loss.detach(), torch.autograd.grad(loss, log_probs_BT)[0]
