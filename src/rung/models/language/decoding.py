"""Sampling with rung's decoder: prompts are read once each, then one token a row and step goes through a cache.

It is the learner's own computation, layer by layer (`Decoder.layer`, `decoder.attention`); only keys and values come
from the cache. A row's tokens stand in it one after another from the text's start, so that rows of any length go
together and a finished row makes room for the next.

Legend: **R** rows, **A** some of them, **U** prompts, **K** key-value heads, **J** query heads a key-value head,
**S** places of a row, **E** width of a head, **D** width, **O** outputs of a linear layer, **V** vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rung.models.language.decoder import Decoder, Layer, attention
from rung.models.language.packing import Ids, distinct, key_places, prompt_levels

PREFILL_TOKENS = 8192
"""Prompt tokens read at once, so that many long prompts do not need much memory."""
FEWEST_QUERIES = 4
"""Queries that attend together at least: products of fewer rows are summed in another order than the learner's."""


@dataclass(frozen=True)
class Linear:
    """A linear layer as it is sampled from: the learner's own tensor, or a copy where a LoRA delta is added or the
    matrix products are in bfloat16."""

    weight_OD: Tensor
    bias_O: Tensor | None

    def __call__(self, x_ND: Tensor) -> Tensor:
        x_ND = x_ND.to(self.weight_OD.dtype)
        if len(x_ND) == 1 and x_ND.dtype == torch.bfloat16:  # one row alone is summed in another order than many
            return self(x_ND.expand(2, -1))[:1]
        return F.linear(x_ND, self.weight_OD, self.bias_O)

    @staticmethod
    def of(module: nn.Module, dtype: torch.dtype) -> Linear:
        """The layer with its active adapters added."""
        base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
        weight_OD = base.weight
        if base is not module and not module.disable_adapters:
            for adapter in module.active_adapters:
                weight_OD = weight_OD + module.get_delta_weight(adapter)
        bias_O = None if base.bias is None else base.bias.detach().to(dtype)
        return Linear(weight_OD.detach().to(dtype), bias_O)


class Decoding:
    """R rows being continued, each in a slot of its own."""

    def __init__(self, decoder: Decoder, prompts: Sequence[Ids], slots: int, room: int, dtype: torch.dtype) -> None:
        """Args: `prompts`: of all the rows that will be filled in; equal ones are read once. `room`: how many tokens
        will be fed to a row at most. `dtype`: of the linear layers' products, and of keys and values."""
        self.decoder, self.dtype = decoder, dtype
        self.device = decoder.base.embed_tokens.weight.device
        self.layers = [Layer.of(layer, lambda module: Linear.of(module, dtype)) for layer in decoder.base.layers]
        self.head = Linear.of(decoder.model.get_output_embeddings(), torch.float32)
        self._prompts, self.prompt_of = distinct(prompts)
        places = key_places(max(len(ids) for ids in self._prompts) + room, dtype)
        size = (slots, decoder.kv_heads, places, decoder.width)
        self.keys_RKSE = [torch.zeros(size, dtype=dtype, device=self.device) for _ in self.layers]
        self.values_RKSE = [torch.zeros(size, dtype=dtype, device=self.device) for _ in self.layers]
        self._read_U = range(0)  # the prompts whose keys and values are held

    def fill(self, slots: Ids, rows: Ids) -> Tensor:
        """Begin these rows in these slots, and give the logits [A, V] of their first tokens, float32. Rows are filled
        in the order of their prompts (`prompt_of`), so that a prompt is held only while its rows begin."""
        last_AD: list[Tensor] = []
        while len(rows):
            if self.prompt_of[rows[0]] not in self._read_U:
                self._read()
            some = int(np.searchsorted(self.prompt_of[rows], self._read_U.stop))
            slot_A, prompt_A = (
                torch.from_numpy(each).to(self.device)
                for each in (slots[:some], self.prompt_of[rows[:some]] - self._read_U.start)
            )
            for buffers, read in ((self.keys_RKSE, self._keys_UKSE), (self.values_RKSE, self._values_UKSE)):
                for buffer_RKSE, read_UKSE in zip(buffers, read, strict=True):
                    buffer_RKSE[slot_A, :, : read_UKSE.shape[2]] = read_UKSE[prompt_A]
            last_AD.append(self._last_UD[prompt_A])
            slots, rows = slots[some:], rows[some:]
        with torch.autocast(self.device.type, enabled=False):
            return self.head(torch.cat(last_AD))

    def _read(self) -> None:
        """Read the next prompts: their keys and values, and the last hidden state of each."""
        begin = end = self._read_U.stop
        longest = 0
        while end < len(self._prompts):
            longest = max(longest, len(self._prompts[end]))
            if end > begin and (end + 1 - begin) * longest > PREFILL_TOKENS:
                break
            end += 1
        levels = prompt_levels(self._prompts[begin:end])
        hidden_ND, kept = self.decoder.hidden(levels, keep_keys=True)
        self._keys_UKSE, self._values_UKSE = ([pair[i].to(self.dtype) for pair in kept] for i in (0, 1))
        rest = np.array([len(ids) for ids in levels[-1].ids])
        ends = len(hidden_ND) - rest.sum() + np.cumsum(rest) - 1
        self._last_UD = hidden_ND[torch.from_numpy(ends).to(self.device)]
        self._read_U = range(begin, end)

    def feed(self, tokens_R: Tensor, positions_R: Tensor, places: int) -> Tensor:
        """Add one token to each row at these positions, all below `places`, and give the logits [R, V] of the tokens
        after them, float32. Nothing here waits for the device."""
        base, every_R = self.decoder.base, torch.arange(len(tokens_R), device=self.device)
        places = key_places(places, self.dtype)
        hidden_RS = torch.arange(places, device=self.device) > positions_R[:, None]
        mask_RS = torch.zeros(hidden_RS.shape, dtype=self.dtype, device=self.device).masked_fill_(hidden_RS, -torch.inf)

        def attend(q_RHE: Tensor, k_RKE: Tensor, v_RKE: Tensor, scale: float, *, number: int) -> Tensor:
            keys_RKSE, values_RKSE = self.keys_RKSE[number], self.values_RKSE[number]
            keys_RKSE[every_R, :, positions_R] = k_RKE.to(self.dtype)
            values_RKSE[every_R, :, positions_R] = v_RKE.to(self.dtype)
            q_RKJE = q_RHE.to(self.dtype).unflatten(1, (k_RKE.shape[1], -1))
            queries = q_RKJE.shape[2]
            q_RKJE = F.pad(q_RKJE, (0, 0, 0, max(0, FEWEST_QUERIES - queries)))
            mask_RJS = mask_RS[:, None].expand(-1, q_RKJE.shape[2], -1)
            out = attention(q_RKJE, keys_RKSE[:, :, :places], values_RKSE[:, :, :places], mask_RJS, scale)
            return out[:, :, :queries].flatten(1, 2)

        with torch.autocast(self.device.type, enabled=False):  # the types are what the layers' tensors say
            x_RD = base.embed_tokens(tokens_R)
            turn = self.decoder.turn(x_RD, positions_R)
            for number, layer in enumerate(self.layers):
                x_RD = self.decoder.layer(layer, x_RD, turn, partial(attend, number=number))
            return self.head(self.decoder.norm(base.norm, x_RD))

    def keep(self, slots_R: Ids) -> None:
        """Go on with these rows only, in this order."""
        index_R = torch.from_numpy(slots_R).to(self.device)
        for buffers in (self.keys_RKSE, self.values_RKSE):
            for number, buffer in enumerate(buffers):
                buffers[number] = buffer[index_R]


class BegunTogether:
    """A decoding all of whose rows begin at once, as `agreement` asks it."""

    def __init__(self, decoding: Decoding, prompts: Sequence[Ids]) -> None:
        self.decoding = decoding
        self.positions_R = np.array([len(ids) for ids in prompts])
        every_R = np.argsort(decoding.prompt_of, kind="stable")
        self.logits_RV = decoding.fill(every_R, every_R)[torch.from_numpy(np.argsort(every_R)).to(decoding.device)]

    def feed(self, tokens_R: Tensor) -> None:
        positions_R = torch.from_numpy(self.positions_R).to(self.decoding.device)
        self.logits_RV = self.decoding.feed(tokens_R, positions_R, int(self.positions_R.max()) + 1)
        self.positions_R = self.positions_R + 1

    def keep(self, index_R: Tensor) -> None:
        slots_R = index_R.cpu().numpy()
        self.decoding.keep(slots_R)
        self.positions_R, self.logits_RV = self.positions_R[slots_R], self.logits_RV[index_R]
