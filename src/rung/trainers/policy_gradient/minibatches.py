"""Minibatches (one update each) and micro-batches (what fits into memory at once)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.random import generator


def minibatches(batch: Batch, count: int, key: tuple[int, ...]) -> Iterator[Tensor]:
    """Row indices of each of `count` minibatches. Whole groups stay together while there are enough of them.

    With one minibatch the rows keep their order; otherwise the groups are shuffled by the key, which names seed,
    step and epoch, so that a resumed run cuts the same way. Rows without an action of the policy's own are left out,
    so that an excluded episode does not move the others.
    """
    if count == 1:
        yield torch.arange(len(batch))
        return
    counted_B = batch.counted_B()
    groups = torch.unique(batch.group_ids_B[counted_B])
    rows_B = torch.nonzero(counted_B)[:, 0]
    # Groups of one are rows: no need to look each of them up.
    whole = count <= len(groups) < len(rows_B)
    order = generator(key).permutation(len(groups) if whole else len(rows_B))
    if not whole:
        mixed_B = rows_B[torch.from_numpy(order)]
        yield from (part_B for part_B in mixed_B.tensor_split(count) if len(part_B))
        return
    units = [rows_B[batch.group_ids_B[rows_B] == group] for group in groups]
    for part in np.array_split(order, count):
        if len(part):
            yield torch.cat([units[int(i)] for i in part])


def cut_up(batch: Batch, count: int, key: tuple[int, ...]) -> Iterator[tuple[Tensor, Batch]]:
    """Each minibatch with its row indices; with one minibatch the batch itself."""
    chosen = list(minibatches(batch, count, key))
    return zip(chosen, batch.parts(chosen) if count > 1 else [batch], strict=True)


def micro_batches(batch: Batch, tokens: int, *, at_least: int = 1) -> Iterator[Tensor]:
    """Consecutive row indices whose prompts and actions hold about `tokens` tokens, at least one row each.

    A prompt shared by consecutive rows counts once. Rows without an action of the policy's own are left out. Where
    that gives fewer than `at_least`, they are cut smaller, into about so many.
    """
    if isinstance(batch.contexts, Tensor):  # environments: small networks take everything at once
        rows_B = torch.nonzero(batch.counted_B())[:, 0]
        if len(rows_B):
            yield rows_B
        return
    rows: list[int] = []
    held = 0
    lengths = batch.action_mask_BT.long().cumsum(1).argmax(1) + 1
    counted = torch.nonzero(batch.counted_B())[:, 0].tolist()
    if at_least > 1:
        prompts = {id(batch.contexts[row]): len(batch.contexts[row]) for row in counted}
        tokens = min(tokens, (sum(prompts.values()) + int(lengths[counted].sum())) // at_least)
    for row in counted:
        shared = bool(rows) and batch.contexts[row] is batch.contexts[rows[-1]]
        needs = int(lengths[row]) + (0 if shared else len(batch.contexts[row]))
        if rows and held + needs > tokens:
            yield torch.tensor(rows)
            rows, held = [], 0
            needs = int(lengths[row]) + len(batch.contexts[row])
        rows.append(row)
        held += needs
    if rows:
        yield torch.tensor(rows)
