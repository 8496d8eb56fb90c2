"""What an estimator climbs: its gradient's expectation over every batch that it could have drawn.

Each batch is built as the training loop builds it and put through the estimator's real code, weighted by its
probability. The sum stands beside the true gradient.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import TypeIs

from rung.batch import Batch
from rung.lab.referee.world import NAN, World
from rung.methods import PolicyGradient

Loss = Callable[[Batch, Tensor, tuple[int, ...]], Tensor]
"""The loss of a batch with these log-probs [B,T]; the batch's row numbers key what it draws at random."""


def every_row(world: World, log_probs_PST: Tensor, reference_PST: Tensor) -> Batch:
    """One row for each prompt's each sequence, as the training loop would build it; `rows` of it are the batches.

    Row p·S + s is sequence s of prompt p. Every slot that a formula may not read is NaN, or an impossible action.
    """
    tree, prompts = world.tree, world.rewards_PST.shape[0]
    rows = prompts * len(tree.sequences)
    mask_BT, last_BT, actions_BT = (x.repeat(prompts, 1) for x in (tree.mask_ST, tree.last_ST, tree.actions_ST))
    terminated_B = tree.terminated_S.repeat(prompts)
    nothing_BT = torch.full(mask_BT.shape, NAN, dtype=torch.float64)
    old_BT = log_probs_PST.detach().flatten(0, 1)
    ended_BT = last_BT & terminated_B[:, None]
    cut_BT = last_BT & ~terminated_B[:, None]
    group_ids_B = torch.arange(prompts).repeat_interleave(len(tree.sequences))
    return Batch(
        contexts=tuple(torch.zeros(1) for _ in range(rows)),
        actions_BT=torch.where(mask_BT, actions_BT, -1),
        action_mask_BT=mask_BT,
        sampler_log_probs_BT=old_BT,
        rewards_BT=world.rewards_PST.flatten(0, 1),
        discounts_BT=torch.where(mask_BT, (~ended_BT).double(), nothing_BT),
        cut_BT=cut_BT | ~mask_BT,
        bootstrap_BT=torch.where(cut_BT, 0.0, nothing_BT),
        group_ids_B=group_ids_B,
        scores_B=world.returns_PS().flatten(),
        truncated_B=~terminated_B,
        old_log_probs_BT=old_BT,
        reference_log_probs_BT=reference_PST.flatten(0, 1),
    )


def all_batches(world: World, samples: int, *, ordered: bool = False) -> Iterator[tuple[float, list[int]]]:
    """Every batch of `samples` samples of each prompt, with its probability, as row numbers of `every_row`.

    A method does not see the order of a group's samples, so a group is a multiset, counted as often as it can be
    ordered; `ordered` lists every order (a test shows that both give the same).
    """
    groups: list[list[tuple[float, list[int]]]] = []
    for prompt, probs_S in enumerate(world.probs_PS().tolist()):
        every = range(len(probs_S))
        listed = (
            itertools.product(every, repeat=samples)
            if ordered
            else itertools.combinations_with_replacement(every, samples)
        )
        groups.append([])
        for group in listed:
            orders = math.factorial(samples) // math.prod(map(math.factorial, Counter(group).values()))
            share = math.prod(probs_S[s] for s in group) * (1 if ordered else orders)
            groups[-1].append((share, [prompt * len(probs_S) + s for s in group]))
    for combination in itertools.product(*groups):
        yield math.prod(share for share, _ in combination), [row for _, rows in combination for row in rows]


def has_policy_slots(method: object) -> TypeIs[PolicyGradient]:
    """Whether a method has the slots of a loss on drawn tokens: advantage, objective, aggregation."""
    return hasattr(method, "aggregation")


def loss_of(method: PolicyGradient) -> Loss:
    """What a method's own code makes of a batch as one update: `with_advantages`, `minibatch`, `choosing`, `losses`,
    `weights`."""

    def loss(batch: Batch, log_probs_BT: Tensor, key: tuple[int, ...]) -> Tensor:
        batch = method.minibatch(method.with_advantages(batch), lambda count: count)
        batch = method.choosing(batch, log_probs_BT.detach(), lambda count: count, key)
        return (method.weights(batch, lambda count: count) * method.losses(batch, log_probs_BT)).sum()

    return loss


def expected_gradient(
    estimator: PolicyGradient | Loss,
    world: World,
    samples: int,
    *,
    ordered: bool = False,
    seen_as: Callable[[Batch], Batch] = lambda batch: batch,
    drawn_from: Tensor | None = None,
) -> Tensor:
    """E[-∇loss] of a method, or of any loss, over all batches it could draw from its own policy: the direction it
    climbs. [P, N, V].

    `drawn_from` are the logits of another policy that gives the answers. `seen_as` alters the batches first, for
    negative controls. Asserts that no masked slot received a gradient.
    """
    loss_on = loss_of(estimator) if has_policy_slots(estimator) else estimator
    logits_PNV = world.logits_PNV.clone().requires_grad_()
    log_probs_PST = world.tree.log_probs(logits_PNV)
    everything = seen_as(every_row(world, log_probs_PST, world.tree.log_probs(world.reference_PNV)))
    table_RT = log_probs_PST.detach().flatten(0, 1).requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    giver = world if drawn_from is None else replace(world, logits_PNV=drawn_from)
    for probability, rows in all_batches(giver, samples, ordered=ordered):
        rows_B = torch.tensor(rows)
        loss = loss + probability * loss_on(everything.rows(rows_B), table_RT[rows_B], tuple(rows))
    (by_token_RT,) = torch.autograd.grad(loss, table_RT)
    assert bool((by_token_RT[~everything.action_mask_BT] == 0).all()), "a masked slot received a gradient"
    return -torch.autograd.grad(log_probs_PST, logits_PNV, by_token_RT.reshape(log_probs_PST.shape))[0]


@dataclass(frozen=True)
class Comparison:
    """How an expected gradient g stands to the true one t."""

    ratio: float
    """<g, t> / <t, t>: 1 when g is t; when g is another multiple of t, that multiple."""
    cosine: float
    """0 when g is nothing but rounding."""
    relative_error: float
    """|g - t| / |t|."""
    off_direction: float
    """|g - ratio · t| / |t|: what no step size can repair."""


def compare(found: Tensor, true: Tensor) -> Comparison:
    found, true = found.flatten(), true.flatten()
    ratio = float(found @ true / (true @ true))
    size, length = float(true.norm()), float(found.norm())
    cosine = float(found @ true) / (length * size) if length > 1e-12 * size else 0.0
    return Comparison(ratio, cosine, float((found - true).norm()) / size, float((found - ratio * true).norm()) / size)
