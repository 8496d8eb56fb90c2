"""Whole model: any causal language model through its own forward pass.

Slower than `decoder` (prompts are not shared, padding is computed) and made so that nothing about the architecture
has to be known: when learning, rows are padded on the right, which no causal model can see; when sampling, rows of
equally long prompts go together, so there is no padding at all.

Legend: **R** rows, **V** vocabulary, **N** wanted tokens, **D** width.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rung.errors import DataError
from rung.models.language.agreement import Decodes, disagreement
from rung.models.language.engine import Engine
from rung.models.language.packing import Ids, Rows, distinct

CAPS_LOGITS = re.compile(r"(final_|output_)?logits?_soft_?cap(ping)?")
"""Settings of architectures that bend their logits, which small logits do not show."""


class WholeModel(Engine):
    """The model's own forward pass. DataError where transformers cannot run it here."""

    name = "the model's own forward pass"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        with running(model):
            self.plain_head = self._head_is_plain()

    @torch.no_grad()
    def _head_is_plain(self) -> bool:
        head = self.model.get_output_embeddings()
        probe = torch.arange(1, 5, device=next(self.model.parameters()).device)[None]
        probe %= self.model.get_input_embeddings().weight.shape[0]
        logits = self.model(input_ids=probe, use_cache=False).logits
        if not isinstance(head, nn.Linear) or any(self._caps()):
            return False
        hidden = self._last_hidden(probe)
        if hidden is None or hidden.shape[-1] != head.weight.shape[1]:
            return False
        by_head = head(hidden.to(head.weight.dtype)).float()
        return by_head.shape == logits.shape and torch.allclose(
            by_head, logits.float(), rtol=1e-3, atol=1e-3 * logits.abs().max().item()
        )

    def _caps(self) -> Iterator[bool]:
        for key, value in self.model.config.get_text_config().to_dict().items():
            yield bool(value) and CAPS_LOGITS.fullmatch(key) is not None

    def _last_hidden(self, ids_RS: Tensor) -> Tensor | None:
        base = self.model.base_model
        if base is self.model:
            return None
        return getattr(base(input_ids=ids_RS, use_cache=False), "last_hidden_state", None)

    @cached_property
    def way(self) -> tuple[Decodes, tuple[str, ...]]:
        """How texts are continued: the first way that gives the learner's own distribution; and what to say of it.

        A cache that counts places otherwise than the learner's pass would let the sampler draw from another law.
        """
        ways: tuple[Decodes, ...] = (
            lambda prompts: WholeDecoding(self, prompts),
            lambda prompts: WholeDecoding(self, prompts, positions=True),
        )
        why = ""
        for decodes in ways:
            try:
                gap = disagreement(self, decodes)
            except Exception as error:  # noqa: BLE001  (a cache may fail in any way, and there is a way without)
                why = f"its cache cannot be used ({type(error).__name__})"
                continue
            if gap is None:
                return decodes, ()
            why = f"its cached logits are not those of the whole text ({gap})"
        with running(self.model):
            gap = disagreement(self, lambda prompts: Rereading(self, prompts))
        if gap is not None:
            raise DataError(
                [
                    f"model: {type(self.model).__name__} reads a token's probability from the tokens after it ({gap}), "
                    "so it cannot write a text token by token; use a causal model (BERT and its kin are causal with "
                    "is_decoder = true in config.json)"
                ]
            )
        said = f"model: sampling reads the whole text again for each token, which is exact and slow, because {why}"
        return lambda prompts: Rereading(self, prompts), (said,)

    def read(self, rows: Rows) -> Tensor:
        """What the rows' wanted tokens are predicted from: hidden states [N, D], or logits without a plain head."""
        if not rows.targets.size:
            if self.plain_head:
                return self.model.get_output_embeddings().weight[:0]
            weight = self.model.get_input_embeddings().weight
            return weight[:0] @ weight.t()
        live = [b for b, want in enumerate(rows.wanted) if len(want)]
        texts = [np.concatenate([rows.contexts[b], rows.actions[b][:-1]]) for b in live]
        longest = max(len(ids) for ids in texts)
        ids_RS = np.zeros((len(live), longest), np.int64)
        read: list[Ids] = []
        for r, (b, ids) in enumerate(zip(live, texts, strict=True)):
            ids_RS[r, : len(ids)] = ids
            read.append(r * longest + len(rows.contexts[b]) - 1 + np.flatnonzero(rows.wanted[b]))
        device = next(self.model.parameters()).device
        padded_RS = torch.from_numpy(ids_RS).to(device)
        where_N = torch.from_numpy(np.concatenate(read)).to(device)
        if not self.plain_head:
            return self.model(input_ids=padded_RS, use_cache=False).logits.flatten(0, 1).index_select(0, where_N)
        hidden = self._last_hidden(padded_RS)
        assert hidden is not None
        return hidden.flatten(0, 1).index_select(0, where_N)


@contextmanager
def running(model: nn.Module) -> Iterator[None]:
    """While inside, what the model fails with is said as a DataError."""
    try:
        yield
    except Exception as error:
        what = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        raise DataError(
            [
                f"model: {type(model).__name__} cannot be run here by transformers on a text alone ({what}); use a "
                "model of another architecture"
            ]
        ) from error


class WholeDecoding:
    """R rows being continued through the model's own forward pass and cache, one group for each prompt length."""

    logits_RV: Tensor

    def __init__(self, whole: WholeModel, prompts: Sequence[Ids], *, positions: bool = False) -> None:
        self.model = whole.model
        self.positions = positions
        self.plain_head = whole.plain_head
        self.network: Any = self.model.base_model if self.plain_head else self.model
        takes = inspect.signature(self.network.forward).parameters
        self.keyword = "cache_params" if "cache_params" in takes else "past_key_values"
        self.device = next(whole.model.parameters()).device
        lengths = np.array([len(ids) for ids in prompts])
        self.groups = [_Group(np.flatnonzero(lengths == n)) for n in np.unique(lengths)]
        pieces: list[Tensor] = []
        for group in self.groups:
            firsts, which = distinct([prompts[r] for r in group.rows])
            logits = self._forward(group, torch.from_numpy(np.stack(firsts)).to(self.device))
            from_R = torch.from_numpy(which).to(self.device)
            group.cache.reorder_cache(from_R)
            pieces.append(logits.index_select(0, from_R))
        self._collect(pieces)

    def _forward(self, group: _Group, ids_RS: Tensor) -> Tensor:
        """The logits after the last of these tokens, [R, V] float32."""
        places: dict[str, Tensor] = {}
        if self.positions:
            places["position_ids"] = torch.arange(group.read, group.read + ids_RS.shape[1], device=self.device)[None]
        out = self.network(input_ids=ids_RS, use_cache=True, **{self.keyword: group.cache}, **places)
        group.read += ids_RS.shape[1]
        group.cache = getattr(out, self.keyword, None)
        if not hasattr(group.cache, "reorder_cache"):
            raise ValueError(
                f"cannot sample from {type(self.model).__name__}: its forward pass returned "
                f"{type(group.cache).__name__} instead of a transformers Cache"
            )
        if not self.plain_head:
            return out.logits[:, -1].float()
        head = self.model.get_output_embeddings()
        bias = None if head.bias is None else head.bias.float()
        with torch.autocast(self.device.type, enabled=False):
            return F.linear(out.last_hidden_state[:, -1].float(), head.weight.float(), bias)

    def _collect(self, pieces: list[Tensor]) -> None:
        order = np.argsort(np.concatenate([group.rows for group in self.groups]))
        self.logits_RV = torch.cat(pieces).index_select(0, torch.from_numpy(order).to(self.device))

    def feed(self, tokens_R: Tensor) -> None:
        """Add one token to each row; `logits_RV` is then for the token after it."""
        self._collect([self._forward(g, tokens_R[torch.from_numpy(g.rows)][:, None]) for g in self.groups])

    def keep(self, index_R: Tensor) -> None:
        """Go on with these rows only; `index_R` is increasing."""
        kept = index_R.cpu().numpy()
        left: list[_Group] = []
        for group in self.groups:
            mine = np.flatnonzero(np.isin(group.rows, kept))
            if mine.size:
                group.cache.reorder_cache(torch.from_numpy(mine).to(self.device))
                left.append(_Group(np.searchsorted(kept, group.rows[mine]), group.cache, group.read))
        self.groups = left
        self.logits_RV = self.logits_RV[index_R]


class _Group:
    """Rows of equally long prompts, their cache, and how many tokens of each row are in it."""

    def __init__(self, rows: Ids, cache: Any = None, read: int = 0) -> None:
        self.rows, self.cache, self.read = rows, cache, read


class Rereading:
    """R rows being continued by reading each whole text again: slow, and exact where a cache is not."""

    logits_RV: Tensor

    def __init__(self, whole: WholeModel, prompts: Sequence[Ids]) -> None:
        self.whole, self.texts = whole, list(prompts)
        self._read()

    def _read(self) -> None:
        count = len(self.texts)
        self.logits_RV = self.whole.logits(
            Rows(
                contexts=tuple(self.texts),
                actions=(np.zeros(1, np.int64),) * count,  # what comes next: it is never looked at
                wanted=(np.ones(1, np.bool_),) * count,
            )
        )

    def feed(self, tokens_R: Tensor) -> None:
        """Add one token to each row; `logits_RV` is then for the token after it."""
        fed = tokens_R.cpu().numpy()
        self.texts = [np.append(ids, token) for ids, token in zip(self.texts, fed, strict=True)]
        self._read()

    def keep(self, index_R: Tensor) -> None:
        """Go on with these rows only; `index_R` is increasing."""
        self.texts = [self.texts[int(row)] for row in index_R]
        self.logits_RV = self.logits_RV[index_R]


class Together:
    """Rows that begin together, for the sampler: a cache of one length cannot take in rows that begin later."""

    def __init__(self, decodes: Decodes, prompts: Sequence[Ids], device: torch.device) -> None:
        self.decodes, self.prompts, self.device = decodes, prompts, device
        self.prompt_of = np.arange(len(prompts))

    def fill(self, slots: Ids, rows: Ids) -> Tensor:
        """Begin these rows, and give the logits [R, V] of their first tokens, float32."""
        assert len(slots) == len(rows)
        self.decoding = self.decodes([self.prompts[row] for row in rows])
        return self.decoding.logits_RV

    def feed(self, tokens_R: Tensor, positions_R: Tensor, places: int) -> Tensor:
        """Add one token to each row, and give the logits [R, V] of the tokens after them. The model counts positions
        itself."""
        self.decoding.feed(tokens_R)
        return self.decoding.logits_RV

    def keep(self, slots_R: Ids) -> None:
        """Go on with these rows only; `slots_R` is increasing."""
        self.decoding.keep(torch.from_numpy(slots_R).to(self.device))
