"""A language model small enough to enumerate: every expectation over its samples is a finite sum, in float64.

Legend beside the project's own: **P** prompts, **N** prefixes of the tree, **S** sequences of the tree. The policy is
one row of logits for each prompt and prefix, so that every policy over the tree can be written, and every gradient
is with respect to `logits_PNV`.

An estimator's expected gradient is taken over all batches it could have drawn, each built as the training loop
builds it and put through the real method: `with_advantages`, `losses`, `weights`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.methods import PolicyGradient

END = 0
"""The token that ends a sequence."""
NAN = float("nan")


@dataclass(frozen=True)
class Tree:
    """All sequences over `vocabulary` tokens that end at their first END or are cut at `length`.

    `Tree(3, 3)` has 7 prefixes and 15 sequences. Arrays are [S, T] with T = length + 1: the last column is padding
    in every row, and every masked slot of `log_probs` is NaN.
    """

    vocabulary: int = 3
    length: int = 3

    @cached_property
    def sequences(self) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        open_prefixes: list[tuple[int, ...]] = [()]
        while open_prefixes:
            prefix = open_prefixes.pop(0)
            if prefix and (prefix[-1] == END or len(prefix) == self.length):
                found.append(prefix)
            else:
                open_prefixes += [(*prefix, token) for token in range(self.vocabulary)]
        return found

    @cached_property
    def prefixes(self) -> dict[tuple[int, ...], int]:
        """Each prefix from which a token is drawn, with its row in the logits."""
        seen = {sequence[:t] for sequence in self.sequences for t in range(len(sequence))}
        return {prefix: row for row, prefix in enumerate(sorted(seen, key=lambda p: (len(p), p)))}

    def _table(self, value: dict[tuple[int, int], int]) -> Tensor:
        table_ST = torch.zeros(len(self.sequences), self.length + 1, dtype=torch.int64)
        for (sequence, step), entry in value.items():
            table_ST[sequence, step] = entry
        return table_ST

    @cached_property
    def actions_ST(self) -> Tensor:
        return self._table({(s, t): a for s, y in enumerate(self.sequences) for t, a in enumerate(y)})

    @cached_property
    def prefix_ST(self) -> Tensor:
        return self._table({(s, t): self.prefixes[y[:t]] for s, y in enumerate(self.sequences) for t in range(len(y))})

    @cached_property
    def lengths_S(self) -> Tensor:
        return torch.tensor([len(sequence) for sequence in self.sequences])

    @cached_property
    def mask_ST(self) -> Tensor:
        return torch.arange(self.length + 1)[None] < self.lengths_S[:, None]

    @cached_property
    def last_ST(self) -> Tensor:
        return torch.arange(self.length + 1)[None] == self.lengths_S[:, None] - 1

    @cached_property
    def terminated_S(self) -> Tensor:
        return torch.tensor([sequence[-1] == END for sequence in self.sequences])

    def log_probs(self, logits_PNV: Tensor) -> Tensor:
        """[P, S, T] log π of each token of each sequence; NaN where masked."""
        log_probs_PNV = logits_PNV.log_softmax(-1)
        taken_PST = log_probs_PNV[:, self.prefix_ST, self.actions_ST]
        return torch.where(self.mask_ST, taken_PST, torch.full_like(taken_PST, NAN))


@dataclass(frozen=True)
class World:
    """A tree, a policy, a reference policy, and the reward of every step of every sequence."""

    tree: Tree
    logits_PNV: Tensor
    reference_PNV: Tensor
    rewards_PST: Tensor

    def returns_PS(self) -> Tensor:
        return torch.where(self.tree.mask_ST, self.rewards_PST, 0.0).sum(-1)

    def log_probs_PS(self, logits_PNV: Tensor) -> Tensor:
        return torch.where(self.tree.mask_ST, self.tree.log_probs(logits_PNV), 0.0).sum(-1)

    def probs_PS(self, logits_PNV: Tensor | None = None) -> Tensor:
        return self.log_probs_PS(self.logits_PNV if logits_PNV is None else logits_PNV).exp()


def random_world(seed: int = 0, *, prompts: int = 1, tree: Tree | None = None, rewards: str = "dense") -> World:
    """A world from one seed.

    Rewards: `dense` (at every step, by prefix and token: a reward that came before what earned it would make
    reward-to-go wrong), `final` (by sequence, on the last step), `binary` (0 or 1, on the last step).
    """
    tree = tree or Tree()
    draw = np.random.Generator(np.random.PCG64(seed))

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(draw.standard_normal(shape))

    logits_PNV = normal(prompts, len(tree.prefixes), tree.vocabulary)
    reference_PNV = normal(prompts, len(tree.prefixes), tree.vocabulary)
    by_token_PST = normal(prompts, len(tree.prefixes), tree.vocabulary)[:, tree.prefix_ST, tree.actions_ST]
    by_sequence_PS = normal(prompts, len(tree.sequences))
    if rewards == "binary":
        by_sequence_PS = (by_sequence_PS > 0).double()
    on_last_PST = torch.where(tree.last_ST, by_sequence_PS[:, :, None], 0.0)
    rewards_PST = {"dense": by_token_PST, "final": on_last_PST, "binary": on_last_PST}[rewards]
    return World(tree, logits_PNV, reference_PNV, torch.where(tree.mask_ST, rewards_PST, NAN))


def without_rewards(world: World) -> World:
    """The same world with every reward 0, so that a KL's gradient stands alone."""
    return replace(world, rewards_PST=torch.where(world.tree.mask_ST, torch.zeros_like(world.rewards_PST), NAN))


# --- what is true, by summing over every sequence ---------------------------------------------------------------


def expected(world: World, values_PS: Tensor, logits_PNV: Tensor | None = None) -> Tensor:
    """E_{y~π}[value(y)], averaged over prompts."""
    return (world.probs_PS(logits_PNV) * values_PS).sum(-1).mean()


def expected_return(world: World, logits_PNV: Tensor | None = None) -> Tensor:
    """J = E[R]."""
    return expected(world, world.returns_PS(), logits_PNV)


def kl(world: World, logits_PNV: Tensor | None = None) -> Tensor:
    """KL(π ‖ π_ref) of whole sequences."""
    logits_PNV = world.logits_PNV if logits_PNV is None else logits_PNV
    ratio_PS = world.log_probs_PS(logits_PNV) - world.log_probs_PS(world.reference_PNV)
    return expected(world, ratio_PS, logits_PNV)


def entropy(world: World, logits_PNV: Tensor | None = None) -> Tensor:
    """H(π) of whole sequences."""
    logits_PNV = world.logits_PNV if logits_PNV is None else logits_PNV
    return expected(world, -world.log_probs_PS(logits_PNV), logits_PNV)


def optimum_PS(world: World, beta: float) -> Tensor:
    """π*(y) = π_ref(y) exp(R(y)/β) / Z: the policy that climbs E[R] - β KL(π ‖ π_ref) to its top."""
    return (world.log_probs_PS(world.reference_PNV) + world.returns_PS() / beta).softmax(-1)


def total_variation(one_PS: Tensor, other_PS: Tensor) -> float:
    """½ ∑|p - q|, averaged over prompts."""
    return float((one_PS - other_PS).abs().sum(-1).mean() / 2)


def gradient(function: Callable[[World, Tensor], Tensor], world: World) -> Tensor:
    """∇ of `function(world, logits)` at the world's own logits. [P, N, V]."""
    logits_PNV = world.logits_PNV.clone().requires_grad_()
    return torch.autograd.grad(function(world, logits_PNV), logits_PNV)[0]


def reached_PN(world: World) -> Tensor:
    """How probable it is that a sample passes through each prefix."""
    probs_PS = world.probs_PS()
    reached = torch.zeros(probs_PS.shape[0], len(world.tree.prefixes), dtype=torch.float64)
    for prompt in range(probs_PS.shape[0]):
        shares_ST = torch.where(world.tree.mask_ST, probs_PS[prompt][:, None], 0.0)
        reached[prompt].index_add_(0, world.tree.prefix_ST.flatten(), shares_ST.flatten())
    return reached


def kl_by_prefix(world: World, logits_PNV: Tensor, *, reverse: bool = False) -> Tensor:
    """∑_prefix d(prefix) KL(π(·|prefix) ‖ π_ref(·|prefix)) with d held still: what a token-level loss can see.

    `reverse`: KL(π_ref ‖ π) instead. Without `reverse` its value is `kl`'s; its gradient lacks d's own.
    """
    policy, reference = logits_PNV.log_softmax(-1), world.reference_PNV.log_softmax(-1)
    first, second = (reference, policy) if reverse else (policy, reference)
    return (reached_PN(world) * (first.exp() * (first - second)).sum(-1)).sum(-1).mean()


# --- what a method does on average ------------------------------------------------------------------------------


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


def expected_gradient(
    method: PolicyGradient,
    world: World,
    samples: int,
    *,
    ordered: bool = False,
    seen_as: Callable[[Batch], Batch] = lambda batch: batch,
    drawn_from: Tensor | None = None,
) -> Tensor:
    """E[-∇loss] of a method over all batches it could draw from its own policy: the direction it climbs. [P, N, V].

    `drawn_from` are the logits of another policy that gives the answers. `seen_as` alters the batches first, for
    negative controls. Asserts that no masked slot received a gradient.
    """
    logits_PNV = world.logits_PNV.clone().requires_grad_()
    log_probs_PST = world.tree.log_probs(logits_PNV)
    everything = seen_as(every_row(world, log_probs_PST, world.tree.log_probs(world.reference_PNV)))
    table_RT = log_probs_PST.detach().flatten(0, 1).requires_grad_()
    loss = torch.zeros((), dtype=torch.float64)
    giver = world if drawn_from is None else replace(world, logits_PNV=drawn_from)
    for probability, rows in all_batches(giver, samples, ordered=ordered):
        rows_B = torch.tensor(rows)
        batch = method.with_advantages(everything.rows(rows_B))
        batch = method.choosing(batch, table_RT[rows_B].detach(), lambda count: count, tuple(rows))
        losses_BT = method.losses(batch, table_RT[rows_B])
        loss = loss + probability * (method.weights(batch, lambda count: count) * losses_BT).sum()
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


def constant(p: float, samples: int, ddof: int = 0) -> float:
    """c(p, G) = E[m(1-m)/std] / (p(1-p)), m the group's mean: with 0/1 rewards and ε = 0 GRPO's expected gradient is
    this times the true one. With the population deviation (ddof 0) it is E[std] / (p(1-p)).
    """
    expectation = 0.0
    for right in range(1, samples):
        share = math.comb(samples, right) * p**right * (1 - p) ** (samples - right)
        mean = right / samples
        expectation += share * mean * (1 - mean) / math.sqrt(mean * (1 - mean) * samples / (samples - ddof))
    return expectation / (p * (1 - p))


def climb(
    method: PolicyGradient, world: World, samples: int, *, steps: int, rate: float, drawn_from: Tensor | None = None
) -> Tensor:
    """The sequence probabilities [P, S] after exact ascent of a method's expected gradient, by Adam, from π_ref."""
    logits_PNV = world.reference_PNV.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits_PNV], lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for _ in range(steps):
        here = replace(world, logits_PNV=logits_PNV.detach())
        logits_PNV.grad = -expected_gradient(method, here, samples, drawn_from=drawn_from)
        optimizer.step()
        schedule.step()
    return world.probs_PS(logits_PNV.detach())
