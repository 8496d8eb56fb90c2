"""A language model small enough to enumerate: every expectation over its samples is a finite sum, in float64.

Legend beside the project's own: **P** prompts, **N** prefixes of the tree, **S** sequences of the tree. The policy is
one row of logits for each prompt and prefix, so that every policy over the tree can be written, and every gradient
is with respect to `logits_PNV`.

What is true of it is here; what an estimator makes of it is in `estimates`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rung.random import seeded

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
    draw = seeded(seed)

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


def gradient(function: Callable[[World, Tensor], Tensor], world: World) -> Tensor:
    """∇ of `function(world, logits)` at the world's own logits. [P, N, V]."""
    logits_PNV = world.logits_PNV.clone().requires_grad_()
    return torch.autograd.grad(function(world, logits_PNV), logits_PNV)[0]
