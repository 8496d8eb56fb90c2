"""Fits a loss by rung's own parts: which advantage, objective, aggregation and reference KL give the same gradients.

A loss is seen as two terms, what it does with rewards and what is left without any. Each is searched over the parts
that the shipped methods use, and over all shipped parts with their defaults, on batches of older samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from rung.batch import Batch
from rung.lab.referee.estimates import has_policy_slots, loss_of
from rung.methods import METHODS, PolicyGradient
from rung.methods.parts.advantages import EpisodeReturn, GroupCentredBatchScaled, GroupNormalized, OthersInGroup
from rung.methods.parts.aggregations import PerConstantLength, Whiten
from rung.methods.parts.objectives import ClippedSurrogate, SequenceClippedSurrogate
from rung.methods.parts.protocols import Advantage, Aggregation, Objective, fact
from rung.methods.parts.reference_kl import K1, K2, K3, KLInAdvantage, KLInLoss, KLInReward
from rung.methods.parts.shipped import PARTS
from rung.methods.reinforce import REINFORCE

SAME = 1e-5
"""Gradients that differ by less, relative to their length, are the same; libraries take some sums in float32."""
UNFITTED = ("needs_critic", "needs_teacher", "needs_step_scores", "needs_right_answers", "chosen", "to_teacher")
"""Facts of parts that need more than rewards and the drawn tokens' log-probs, or draw at random."""
SLOTS = ("advantage", "whiten", "objective", "aggregation")
KEPT = 48
"""Fillings that are tried on every probe, of those nearest on the first."""
Probe = tuple[Batch, Tensor]
"""A batch of older samples, and the log-probs [B,T] of now."""


@dataclass(frozen=True)
class Fit:
    """The nearest filling of the slots."""

    slots: dict[str, Any]
    scale: float
    """What the parts' gradient is multiplied by."""
    distance: float
    """|gradient - scale · parts'| over |gradient|, over all probes."""
    kl: Any
    kl_aggregation: Any
    """None where it is the loss's own."""
    kl_distance: float

    @property
    def equal(self) -> bool:
        return self.distance < SAME and self.kl_distance < SAME


def _candidates(slot: str, protocol: Any) -> list[Any]:
    used = [getattr(method, slot) for method in METHODS.values() if has_policy_slots(method)]
    more = [GroupNormalized(e, d) for e in (1e-4, 1e-6, 1e-8) for d in (0, 1)]
    more += [GroupCentredBatchScaled(e, 1) for e in (1e-4, 1e-6, 1e-8)]
    more += [EpisodeReturn(OthersInGroup())]
    wide = [SequenceClippedSurrogate(0.2, 0.2), ClippedSurrogate(0.2, 0.2, 3.0)]
    extra = {"advantage": more, "objective": wide}.get(slot, [])
    found = [*used, *extra, *(part() for part in PARTS[protocol])]
    return [
        one
        for one in dict.fromkeys(found)
        if not any(fact(one, name, False) for name in UNFITTED) and not isinstance(one, PerConstantLength)
    ]


def without_rewards(batch: Batch) -> Batch:
    return batch.changed(rewards_BT=torch.zeros_like(batch.rewards_BT), scores_B=torch.zeros_like(batch.scores_B))


def gradients(method: PolicyGradient, probes: Sequence[Probe]) -> Tensor:
    """The method's gradients over all probes, at the tokens that were drawn, one after another."""
    found: list[Tensor] = []
    for batch, log_probs_BT in probes:
        here_BT = log_probs_BT.detach().requires_grad_()
        (gradient_BT,) = torch.autograd.grad(loss_of(method)(batch, here_BT, (0,)), here_BT)
        found.append(gradient_BT[batch.action_mask_BT])
    return torch.cat(found)


def _ranked(target: Tensor, candidates: Iterable[tuple[Any, Tensor]]) -> list[tuple[float, float, Any, float, float]]:
    """(distance, 0 where it is none; how far the scale is from 1; the candidate; its scale; its distance) of each that
    does not point the other way.
    """
    ranked: list[tuple[float, float, Any, float, float]] = []
    for what, found in candidates:
        square = float(found @ found)
        scale = float(target @ found) / square if square > 0 else 0.0
        if scale <= 0:
            continue
        distance = float((target - scale * found).norm() / target.norm())
        ranked.append((0.0 if distance < SAME else distance, round(abs(scale - 1), 5), what, scale, distance))
    return ranked


def _nearest(target: Tensor, candidates: Iterable[tuple[Any, Tensor]]) -> tuple[Any, float, float]:
    """(the nearest, its scale, its distance); the first of equally near ones with the scale nearest to 1."""
    return min(_ranked(target, candidates), key=lambda one: one[:2])[2:]


def _on_one(
    before: Iterable[tuple[Any, Any]], objectives: Sequence[Any], aggregations: Sequence[Any], probe: Probe, rest: Probe
) -> Iterable[tuple[tuple[Any, ...], Tensor]]:
    """Every filling's policy term on one probe; what fillings share is taken once."""
    mask_BT = probe[0].action_mask_BT
    weights = [(one, one(probe[0], lambda count: count)) for one in aggregations]
    for advantage, whiten in before:
        method = REINFORCE.changed(advantage=advantage, whiten=whiten)
        batch, resting = method.with_advantages(probe[0]), method.with_advantages(rest[0])
        for objective in objectives:
            here_BT = probe[1].detach().requires_grad_()
            losses_BT = objective(batch, here_BT)
            if not fact(objective, "zero_without_advantage", False):
                losses_BT = losses_BT - objective(resting, here_BT)
            for aggregation, weights_BT in weights:
                total = (weights_BT * losses_BT).sum()
                (gradient_BT,) = torch.autograd.grad(total, here_BT, retain_graph=True)
                yield (advantage, whiten, objective, aggregation), gradient_BT[mask_BT]


def fit(found: Tensor, at_rest: Tensor, probes: Sequence[Probe], asked: Sequence[str]) -> Fit:
    """The slots whose gradients are nearest to `found`; `at_rest` are the loss's gradients where no reward is given."""
    own = {"rewards", "token_rewards"} & set(asked)
    advantages = _candidates("advantage", Advantage) if own else [EpisodeReturn(OthersInGroup())]
    resting = [(without_rewards(batch), now) for batch, now in probes]
    first = len(gradients(REINFORCE, probes[:1]))

    def policy_term(slots: tuple[Any, ...], on: int | None) -> Tensor:
        method = REINFORCE.changed(reference_kl=None, **dict(zip(SLOTS, slots, strict=True)))
        alone = gradients(method, probes[:on])
        return alone if fact(slots[2], "zero_without_advantage", False) else alone - gradients(method, resting[:on])

    term = found - at_rest
    objectives, aggregations = _candidates("objective", Objective), _candidates("aggregation", Aggregation)
    whitenings = [None, Whiten(), Whiten(ddof=1)] if own else [None]
    every = _on_one(product(advantages, whitenings), objectives, aggregations, probes[0], resting[0])
    near = sorted(_ranked(term[:first], every), key=lambda one: one[:2])
    slots, scale, distance = _nearest(term, [(one[2], policy_term(one[2], None)) for one in near[:KEPT]])
    if "reference_log_probs" in asked:
        kl, kl_aggregation, kl_distance = _kl_of(at_rest, slots, scale, resting)
    else:
        rest = scale * gradients(REINFORCE.changed(**dict(zip(SLOTS, slots, strict=True))), resting)
        kl, kl_aggregation, kl_distance = None, None, float((at_rest - rest).norm() / found.norm())
    named = dict(zip(SLOTS, slots, strict=True))
    return Fit(named, scale, distance, kl, kl_aggregation, kl_distance)


def _kl_of(at_rest: Tensor, slots: tuple[Any, ...], scale: float, resting: Sequence[Probe]) -> tuple[Any, Any, float]:
    """(the reference KL, its aggregation where that is another, the distance) of what is left without rewards."""
    method = REINFORCE.changed(reference_kl=None, **dict(zip(SLOTS, slots, strict=True)))
    pull = scale * gradients(method, resting)
    left = at_rest - pull
    if float(left.norm()) < 1e-9:
        return None, None, 0.0
    in_loss = [KLInLoss(1.0, k, times) for k in (K1(), K2(), K3()) for times in (False, True)]
    before = [place(1.0, k) for place in (KLInReward, KLInAdvantage) for k in (K1(), K2(), K3())]
    own = slots[-1]
    listed = [(kl, own) for kl in (*in_loss, *before)]
    listed += [(kl, part) for kl in in_loss for part in _candidates("aggregation", Aggregation) if part != own]
    terms = [
        (both, gradients(method.changed(reference_kl=both[0], aggregation=both[1]), resting) - pull / scale)
        for both in listed
    ]
    (kl, aggregation), factor, distance = _nearest(left, terms)
    kl = replace(kl, coefficient=float(f"{factor / scale:.4g}"))
    return kl, None if aggregation == own else aggregation, distance


def parting(found: Tensor, method: PolicyGradient, probes: Sequence[Probe]) -> str | None:
    """The first number at which a loss's gradients differ from a method's, in words; None where none does.

    The two are compared at the same length: a multiple is the fit's to tell.
    """
    own = gradients(method, probes)
    scale = float(found @ own) / float(own @ own)
    for n, (got, expected) in enumerate(zip(found.tolist(), (scale * own).tolist(), strict=True)):
        if abs(got - expected) > SAME * float(found.norm()):
            return f"token {n + 1} of the first batches: gradient {got:.6g}, {method.name} {expected:.6g}"
    return None
