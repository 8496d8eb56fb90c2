"""A text policy that is a table: Q of every token by prefix, so that targets can be worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from rung.models.language.packing import Rows
from rung.rollouts.token_replay import TokenReplay

VOCABULARY, LONGEST, END = 4, 3, 0
"""Tokens; of a completion; the one that ends it."""
PROMPT = (7,)


def prefixes() -> list[tuple[int, ...]]:
    """Every state in which a token is chosen."""
    tokens = range(1, VOCABULARY)
    return [one for length in range(LONGEST) for one in itertools.product(tokens, repeat=length)]


class TablePolicy:
    """One row of numbers a prefix."""

    def __init__(self, seed: int = 0, values_SV: Tensor | None = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(len(prefixes()), VOCABULARY, generator=generator, dtype=torch.float64)
        self.table = nn.Parameter(drawn if values_SV is None else values_SV)
        self._place = {prefix: place for place, prefix in enumerate(prefixes())}
        self.passes = 0

    def values(self, rows: Rows) -> Tensor:
        self.passes += 1
        states: list[int] = []
        for ids, own in zip(rows.actions, rows.wanted, strict=True):
            for place in np.flatnonzero(own):
                states.append(self._place[tuple(ids[:place].tolist())])
        return self.table[torch.tensor(states)]

    def at(self, prefix: tuple[int, ...]) -> Tensor:
        return self.table.detach()[self._place[prefix]]

    def trainable(self) -> dict[str, nn.Parameter]:
        return {"table": self.table}

    def weights(self) -> dict[str, Tensor]:
        return {"table": self.table.detach()}

    def copied(self) -> TablePolicy:
        made = TablePolicy(values_SV=self.table.detach().clone())
        made.table.requires_grad_(False)
        return made

    @torch.no_grad()
    def follow(self, other: TablePolicy, share: float) -> None:
        self.table.lerp_(other.table, share)


def completions() -> list[tuple[int, ...]]:
    """Every completion: ended by END, or cut at LONGEST tokens."""
    cut = list(itertools.product(range(1, VOCABULARY), repeat=LONGEST))
    return [(*prefix, END) for prefix in prefixes()] + cut


def reward(completion: tuple[int, ...]) -> float:
    """Known to nobody else: the best one is (2, 3, END)."""
    return {(2, 3, END): 1.0, (2, END): 0.4, (1, 1, 1): 0.7, (3, 1, 2): 0.2}.get(completion, 0.0)


def everything(capacity: int = 1000) -> TokenReplay:
    """Every completion once, the whole reward on its last token."""
    replay = TokenReplay(capacity=capacity, vocabulary=10)
    for one in completions():
        rewards = np.zeros(len(one))
        rewards[-1] = reward(one)
        replay.add(np.array(PROMPT), np.array(one), np.ones(len(one), bool), rewards)
    return replay


def best_values(discount: float) -> dict[tuple[int, ...], list[float]]:
    """Q* of every state, from the longest prefix back."""
    found: dict[tuple[int, ...], list[float]] = {}
    for prefix in reversed(prefixes()):
        found[prefix] = [
            discount * max(found[(*prefix, token)]) if (*prefix, token) in found else reward((*prefix, token))
            for token in range(VOCABULARY)
        ]
    return found
