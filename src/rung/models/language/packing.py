"""Packing: the tokens that the model must read for a batch, each only once.

Rows that answer one prompt share its computation, and prompts that begin alike (worked examples before each
question) share their beginning. So the tokens form a tree of at most three levels:

    level 0   what all prompts begin with            1 segment
    level 1   the rest of each distinct prompt       one segment a prompt
    level 2   what the policy answered               one segment a row

A token attends to the segments above its own and to its own segment up to itself. Only real tokens are in the tree:
padding exists inside the attention alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ids = npt.NDArray[np.int64]
SHORTEST_SHARED = 8
"""Prompts share their beginning when it is at least this long: another level costs a few kernel calls a layer."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """Segments of one depth of the tree, one after another in the packed tokens."""

    ids: tuple[Ids, ...]
    """One array of token ids a segment."""
    parents: Ids | None
    """[segments] which segment of the level above each one continues; None at the root."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What is asked of the model: B rows, each a prompt and what was answered, and the positions that count."""

    contexts: tuple[Ids, ...]
    """B prompts; rows whose prompts are equal share the computation."""
    actions: tuple[Ids, ...]
    """B arrays, cut after the last position that counts."""
    wanted: tuple[npt.NDArray[np.bool_], ...]
    """B masks as long as `actions`: which of them need a log-probability."""

    @property
    def targets(self) -> Ids:
        """The wanted tokens of all rows, one after another: N ids."""
        picked = [ids[want] for ids, want in zip(self.actions, self.wanted, strict=True)]
        return np.concatenate(picked) if picked else np.empty(0, np.int64)


def rows_of(contexts: Sequence[Tensor], actions_BT: Tensor, action_mask_BT: Tensor) -> Rows:
    """The rows of a batch. Nothing after a row's last True is read, so padding may hold anything.

    Raises:
        ValueError: an empty prompt; there is no state to act from.
    """
    mask_BT = action_mask_BT.detach().cpu().numpy()
    all_BT = actions_BT.detach().cpu().numpy()
    lengths = [int(np.flatnonzero(mask_T)[-1]) + 1 if mask_T.any() else 0 for mask_T in mask_BT]
    kept: dict[int, Ids] = {}
    prompts: list[Ids] = []
    for row, context in enumerate(contexts):
        if id(context) not in kept:
            kept[id(context)] = context.detach().cpu().numpy().astype(np.int64, copy=False)
        if kept[id(context)].size == 0:
            raise ValueError(f"row {row}: the prompt has no tokens, expected at least one to predict from")
        prompts.append(kept[id(context)])
    return Rows(
        contexts=tuple(prompts),
        actions=tuple(all_BT[b, :n].astype(np.int64) for b, n in enumerate(lengths)),
        wanted=tuple(mask_BT[b, :n] for b, n in enumerate(lengths)),
    )


def prompt_levels(prompts: Sequence[Ids]) -> tuple[Level, ...]:
    """One or two levels that hold the given distinct prompts."""
    shared = _shared_length(prompts)
    if shared < SHORTEST_SHARED:
        return (Level(ids=tuple(prompts), parents=None),)
    rest = Level(ids=tuple(ids[shared:] for ids in prompts), parents=np.zeros(len(prompts), np.int64))
    return Level(ids=(prompts[0][:shared],), parents=None), rest


def _shared_length(prompts: Sequence[Ids]) -> int:
    """How many tokens all prompts begin with; each keeps at least one of its own."""
    if len(prompts) < 2:
        return 0
    shortest = min(len(ids) for ids in prompts) - 1
    first = prompts[0][:shortest]
    for ids in prompts[1:]:
        different = np.flatnonzero(first != ids[: len(first)])
        if different.size:
            first = first[: different[0]]
    return len(first)


def distinct(prompts: Sequence[Ids]) -> tuple[list[Ids], Ids]:
    """The distinct prompts in order of first appearance, and which of them each one is."""
    number: dict[bytes, int] = {}
    which = np.array([number.setdefault(ids.tobytes(), len(number)) for ids in prompts], np.int64)
    firsts = {int(w): ids for w, ids in zip(reversed(which), reversed(prompts), strict=True)}
    return [firsts[i] for i in range(len(number))], which


def tree_of(rows: Rows) -> tuple[tuple[Level, ...], Ids]:
    """The packed tokens of the rows that have a wanted token; the others are not computed at all. And, for each wanted
    token, where in the packed tokens the state stands that predicts it."""
    live = [b for b, want in enumerate(rows.wanted) if len(want)]
    if not live:
        return (), np.empty(0, np.int64)
    prompts, which = distinct([rows.contexts[b] for b in live])
    above = prompt_levels(prompts)
    # The last action predicts nothing that is wanted, so it is not read.
    answers = Level(ids=tuple(rows.actions[b][:-1] for b in live), parents=which)
    above_size = sum(len(ids) for level in above for ids in level.ids)
    ends = above_size - sum(len(ids) for ids in above[-1].ids) + np.cumsum([len(ids) for ids in above[-1].ids])
    starts = above_size + np.cumsum([0] + [len(ids) for ids in answers.ids])
    read = []
    for i, b in enumerate(live):
        before = np.arange(len(rows.wanted[b])) + starts[i] - 1
        before[0] = ends[which[i]] - 1
        read.append(before[rows.wanted[b]])
    levels = (*above, answers) if any(len(ids) for ids in answers.ids) else above
    return levels, np.concatenate(read)


@dataclass(frozen=True, kw_only=True)
class Segments:
    """One level as tensors on the device, ready for attention. R segments of at most L tokens, S keys in all."""

    begin: int
    end: int
    """The level's slice of the packed tokens."""
    rows: int
    longest: int
    place_N: Tensor | None
    """Where each token stands in the padded [R·L] view; None when all segments are equally long."""
    parents_R: Tensor | None
    """None at the root, or when there is one parent for one segment."""
    mask_RLS: Tensor | None
    """To be added to the scores: 0 where a query may look, else −inf; None means plainly causal."""


def packed_ids(levels: Sequence[Level]) -> Ids:
    """All tokens of the tree, level after level."""
    return np.concatenate([ids for level in levels for ids in level.ids])


def packed_positions(levels: Sequence[Level]) -> Ids:
    """The position of each packed token in its own text, from 0."""
    depth = np.zeros(1, np.int64)
    pieces: list[Ids] = []
    for level in levels:
        start = depth[level.parents] if level.parents is not None else np.zeros(len(level.ids), np.int64)
        pieces += [np.arange(len(ids)) + s for ids, s in zip(level.ids, start, strict=True)]
        depth = start + np.array([len(ids) for ids in level.ids], np.int64)
    return np.concatenate(pieces)


def segments(levels: Sequence[Level], device: torch.device, dtype: torch.dtype) -> list[Segments]:
    """The levels' index tensors, and attention masks of the given type."""
    found: list[Segments] = []
    begin = 0
    valid_RS = np.ones((1, 0), bool)  # which keys of the levels above are real, for each segment above
    for level in levels:
        lengths = np.array([len(ids) for ids in level.ids])
        rows, longest = len(lengths), int(lengths.max())
        own_RL = np.arange(longest)[None, :] < lengths[:, None]
        above_RS = valid_RS if level.parents is None else valid_RS[level.parents]
        if level.parents is None:
            above_RS = np.ones((rows, 0), bool)
        place = None if own_RL.all() else np.flatnonzero(own_RL.ravel())
        found.append(
            Segments(
                begin=begin,
                end=begin + int(lengths.sum()),
                rows=rows,
                longest=longest,
                place_N=None if place is None else torch.from_numpy(place).to(device),
                parents_R=None if level.parents is None else torch.from_numpy(level.parents).to(device),
                mask_RLS=None if level.parents is None else _mask(above_RS, longest, dtype).to(device),
            )
        )
        begin += int(lengths.sum())
        valid_RS = np.concatenate([above_RS, own_RL], axis=1)
    return found


def _mask(above_RS: npt.NDArray[np.bool_], longest: int, dtype: torch.dtype) -> Tensor:
    """Every real key above, and the own segment up to oneself; one row when all rows are alike."""
    above = torch.from_numpy(above_RS[:1] if (above_RS == above_RS[:1]).all() else above_RS)
    own_LL = torch.ones(longest, longest, dtype=torch.bool).tril()
    rows = above.shape[0]
    seen = torch.cat([above[:, None, :].expand(rows, longest, -1), own_LL.expand(rows, -1, -1)], dim=2)
    return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf)
