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

LANES, EXACT_STEPS, EXACT_BLOCK = 16, (192, 384), 512
"""Numbers of keys among which a token's attention is bit for bit the same; see `key_places`."""


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
    key_RS: Tensor
    """[R·S] the packed tokens of each segment's text from its start, the levels above included; then any."""
    mask_RLS: Tensor | None
    """To be added to the scores: 0 where a query may look, else −inf; None at the root, which is plainly causal."""


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
    texts = [np.empty(0, np.int64)]  # for each segment of the level above, its text's packed tokens
    for level in levels:
        lengths = np.array([len(ids) for ids in level.ids])
        rows, ends = len(lengths), begin + np.cumsum(lengths)
        parents = np.zeros(rows, np.int64) if level.parents is None else level.parents
        above_R = np.array([len(texts[p]) for p in parents])
        texts = [np.append(texts[p], np.arange(e - n, e)) for p, e, n in zip(parents, ends, lengths, strict=True)]
        places, longest = key_places(max(map(len, texts)), dtype), in_lanes(int(lengths.max()))
        longest = places if level.parents is None else longest
        own_RL = np.arange(longest)[None, :] < lengths[:, None]
        key_RS = np.stack([np.append(text, np.zeros(places - len(text), np.int64)) for text in texts])
        found.append(
            Segments(
                begin=begin,
                end=int(ends[-1]),
                rows=rows,
                longest=longest,
                place_N=None if own_RL.all() else torch.from_numpy(np.flatnonzero(own_RL.ravel())).to(device),
                key_RS=torch.from_numpy(key_RS.ravel()).to(device),
                mask_RLS=None if level.parents is None else _mask(above_R, longest, places, dtype).to(device),
            )
        )
        begin = int(ends[-1])
    return found


def key_places(keys: int, dtype: torch.dtype) -> int:
    """To how many keys so many are padded, so that masked ones change no bit of what the others give in bfloat16.

    The attention of torch on a CPU goes over 512 keys at a time. Of each such block, maxima and sums are taken in
    vectors of 16, and the product with the values is cut where its length says: measured, lengths up to 192 are not cut
    otherwise than 384 and 512 are, and those between are. In float32 a last bit does not grow, and 16 do.
    """
    if dtype == torch.bfloat16:
        blocks, rest = divmod(keys, EXACT_BLOCK)
        for step in EXACT_STEPS if rest > EXACT_STEPS[0] else ():
            if rest <= step:
                return blocks * EXACT_BLOCK + step
        if rest > EXACT_STEPS[-1]:
            return (blocks + 1) * EXACT_BLOCK
    return in_lanes(keys)


def in_lanes(places: int) -> int:
    """The next multiple of `LANES`. Queries are padded to it as well: products of one to three rows are summed in
    another order than those of more."""
    return -(-places // LANES) * LANES


def _mask(above_R: Ids, longest: int, places: int, dtype: torch.dtype) -> Tensor:
    """Every key of the text up to oneself; one row when all rows are alike."""
    above = torch.from_numpy(above_R[:1] if (above_R == above_R[0]).all() else above_R)
    last_RL = above[:, None] + torch.arange(longest)
    hidden_RLS = torch.arange(places) > last_RL[:, :, None]
    return torch.zeros(hidden_RLS.shape, dtype=dtype).masked_fill_(hidden_RLS, -torch.inf)
