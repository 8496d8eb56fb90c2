"""Sampling with rung's decoder: prompts are read once each, then one token a row and step goes through a cache.

Activations stand with one column a row, [D, R]: a matrix product W·x with few columns is a quarter faster on a CPU
than x·Wᵀ, and the small operations between the products then run over contiguous memory.

Legend: **R** rows, **U** distinct prompts, **G** places for the rows of one prompt, **K** key-value heads, **J** query
heads a key-value head, **H** = K·J, **P** places of the prompt, **T** places of what was fed, **S** = P + T, **E**
width of a head, **D** width, **O** outputs of a linear layer, **V** vocabulary, **B**, **X**, **Y** products of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rung.models.language.decoder import Decoder
from rung.models.language.packing import Ids, distinct, prompt_levels

PREFILL_TOKENS = 8192
"""Prompt tokens read at once, so that many long prompts do not need much memory."""


@dataclass(frozen=True)
class Linear:
    """A linear layer as it is sampled from: the learner's own tensor, or a copy where a LoRA delta is added or the
    matrix products are in bfloat16."""

    weight_OD: Tensor
    bias_O: Tensor | None

    def __call__(self, x_DR: Tensor) -> Tensor:
        out_OR = torch.mm(self.weight_OD, x_DR.to(self.weight_OD.dtype))
        return out_OR if self.bias_O is None else out_OR.add_(self.bias_O[:, None])

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

    @staticmethod
    def joined(modules: Sequence[nn.Module], dtype: torch.dtype) -> Linear:
        """Layers with one input as a single layer, outputs in order: one product of many rows beats several of few.

        The weights are copied.
        """
        each = [Linear.of(module, dtype) for module in modules]
        weight_OD = torch.cat([one.weight_OD for one in each])
        if all(one.bias_O is None for one in each):
            return Linear(weight_OD, None)
        biases = [weight_OD.new_zeros(len(one.weight_OD)) if one.bias_O is None else one.bias_O for one in each]
        return Linear(weight_OD, torch.cat(biases))


class Layer:
    """One layer's weights for sampling."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.attention_norm, self.mlp_norm = layer.input_layernorm, layer.post_attention_layernorm
        self.qkv = Linear.joined([attention.q_proj, attention.k_proj, attention.v_proj], dtype)
        self.o = Linear.of(attention.o_proj, dtype)
        self.q_norm, self.k_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
        self.gate, self.up = Linear.of(mlp.gate_proj, dtype), Linear.of(mlp.up_proj, dtype)
        self.down = Linear.of(mlp.down_proj, dtype)
        self.scale = float(attention.scaling)

    def mlp(self, x_DR: Tensor) -> Tensor:
        """down(silu(gate) · up)"""
        return self.down(torch.nn.functional.silu(self.gate(x_DR)).mul_(self.up(x_DR)))


@dataclass(frozen=True)
class _Groups:
    """Where each row stands among the rows of its prompt, so that they ask the prompt's keys together."""

    prompt_R: Tensor
    """Which prompt a row continues."""
    size: int
    """G: the most rows that one prompt has."""
    place_R: Tensor | None
    """Each row's place in [U·G]; None when the rows are those places in order."""

    @staticmethod
    def of(prompt_R: Tensor, prompts: int) -> _Groups:
        which = prompt_R.cpu().numpy()
        order = np.argsort(which, kind="stable")
        counts = np.bincount(which, minlength=prompts)
        rank = np.empty_like(which)
        rank[order] = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = which * counts.max() + rank
        plain = len(place) == prompts * counts.max() and bool((place == np.arange(len(place))).all())
        return _Groups(prompt_R, int(counts.max()), None if plain else torch.from_numpy(place).to(prompt_R.device))


class Decoding:
    """R rows being continued: `logits_RV` is the distribution of each row's next token, float32.

    The keys and values of a prompt are kept once for all its rows, [K, U, P, E], right-padded to the longest prompt;
    those of what was fed are kept a row, [K, R, T, E]. They are rounded to the compute type like the learner's and
    kept in float32, because scores rounded to bfloat16 would make the sampler's distribution another one than the
    learner's.
    """

    logits_RV: Tensor

    def __init__(self, decoder: Decoder, prompts: Sequence[Ids], room: int, dtype: torch.dtype) -> None:
        """Args: `prompts`: one a row, equal ones are read once. `room`: how many tokens will be fed at most.
        `dtype`: of the linear layers' products."""
        self.decoder, self.dtype, self.fed = decoder, dtype, 0
        self.device = decoder.base.embed_tokens.weight.device
        self.layers = [Layer(layer, dtype) for layer in decoder.base.layers]
        head = decoder.model.get_output_embeddings()
        self.head = Linear.of(head, torch.float32)
        firsts, which = distinct(prompts)
        self.groups = _Groups.of(torch.from_numpy(which).to(self.device), len(firsts))
        self.lengths_R = torch.tensor([len(ids) for ids in prompts], device=self.device)
        lengths_U = torch.tensor([len(ids) for ids in firsts], device=self.device)
        absent_UP = torch.arange(int(lengths_U.max()), device=self.device) >= lengths_U[:, None]
        self.absent_UP = absent_UP if bool(absent_UP.any()) else None
        hidden_UD = self._read(firsts, absent_UP.shape[1])
        with torch.autocast(self.device.type, enabled=False):
            self.logits_RV = self.head(hidden_UD.index_select(0, self.groups.prompt_R).t()).t()
        size = (decoder.kv_heads, len(prompts), room, decoder.width)
        self.keys_KRTE = [torch.empty(size, device=self.device) for _ in self.layers]
        self.values_KRTE = [torch.empty(size, device=self.device) for _ in self.layers]

    def _read(self, firsts: Sequence[Ids], longest: int) -> Tensor:
        """Read the prompts, keep their keys and values, and give the last hidden state of each, [U, D]."""
        size = (self.decoder.kv_heads, len(firsts), longest, self.decoder.width)
        self.keys_KUPE = [torch.zeros(size, device=self.device) for _ in self.layers]
        self.values_KUPE = [torch.zeros(size, device=self.device) for _ in self.layers]
        last_UD: list[Tensor] = []
        begin = 0
        while begin < len(firsts):
            end, tokens = begin + 1, len(firsts[begin])
            while end < len(firsts) and tokens + len(firsts[end]) <= PREFILL_TOKENS:
                tokens += len(firsts[end])
                end += 1
            levels = prompt_levels(firsts[begin:end])
            hidden_ND, kept = self.decoder.hidden(levels, keep_keys=True)
            for number, (k_UKSE, v_UKSE) in enumerate(kept):
                self.keys_KUPE[number][:, begin:end, : k_UKSE.shape[2]] = k_UKSE.to(self.dtype).transpose(0, 1)
                self.values_KUPE[number][:, begin:end, : v_UKSE.shape[2]] = v_UKSE.to(self.dtype).transpose(0, 1)
            rest = np.array([len(ids) for ids in levels[-1].ids])
            ends = len(hidden_ND) - rest.sum() + np.cumsum(rest) - 1
            last_UD.append(hidden_ND.index_select(0, torch.from_numpy(ends).to(self.device)))
            begin = end
        return torch.cat(last_UD)

    def feed(self, tokens_R: Tensor) -> None:
        """Add one token to each row; `logits_RV` is then for the token after it."""
        base = self.decoder.base
        with torch.autocast(self.device.type, enabled=False):  # the types are what the layers' tensors say
            x_RD = base.embed_tokens(tokens_R)
            cos, sin = base.rotary_emb(x_RD, (self.lengths_R + self.fed)[None])
            cos_ER, sin_ER = cos[0].t().contiguous(), sin[0].t().contiguous()
            x_DR = x_RD.t().contiguous()
            for number, layer in enumerate(self.layers):
                x_DR = self._step(layer, number, x_DR, cos_ER, sin_ER)
            self.fed += 1
            self.logits_RV = self.head(_norm(base.norm, x_DR)).t()

    def _step(self, layer: Layer, number: int, x_DR: Tensor, cos_ER: Tensor, sin_ER: Tensor) -> Tensor:
        heads, kv_heads, width, rows = self.decoder.heads, self.decoder.kv_heads, self.decoder.width, x_DR.shape[1]
        normed_DR = _norm(layer.attention_norm, x_DR)
        all_HER = layer.qkv(normed_DR).view(heads + 2 * kv_heads, width, rows)
        q_HER, k_KER, v_KER = all_HER.split([heads, kv_heads, kv_heads])
        if layer.q_norm is not None and layer.k_norm is not None:
            q_HER, k_KER = _norm(layer.q_norm, q_HER), _norm(layer.k_norm, k_KER)
        q_HER = _turn(q_HER, cos_ER, sin_ER).to(self.dtype).float().mul_(layer.scale)
        self.keys_KRTE[number][:, :, self.fed] = _turn(k_KER, cos_ER, sin_ER).to(self.dtype).transpose(1, 2)
        self.values_KRTE[number][:, :, self.fed] = v_KER.transpose(1, 2)
        q_KRJE = q_HER.unflatten(0, (kv_heads, -1)).permute(0, 3, 1, 2).contiguous()
        out_KRJE = self._attention(number, q_KRJE)
        x_DR = x_DR + layer.o(out_KRJE.permute(0, 2, 3, 1).reshape(heads * width, rows))
        return x_DR + layer.mlp(_norm(layer.mlp_norm, x_DR))

    def _attention(self, number: int, q_KRJE: Tensor) -> Tensor:
        """softmax(q·kᵀ)·v over the prompt and what was fed. The rows of a prompt share one product with it."""
        kv_heads, rows, group, width = q_KRJE.shape
        places = self.keys_KUPE[number].shape[2]
        k_BTE = self.keys_KRTE[number].flatten(0, 1)[:, : self.fed + 1]
        v_BTE = self.values_KRTE[number].flatten(0, 1)[:, : self.fed + 1]
        prompt_BXP = torch.bmm(self._by_prompt(q_KRJE), self.keys_KUPE[number].flatten(0, 1).transpose(1, 2))
        if self.absent_UP is not None:
            prompt_BXP.unflatten(0, (kv_heads, -1)).masked_fill_(self.absent_UP[:, None], -torch.inf)
        fed_BJT = torch.bmm(q_KRJE.view(-1, group, width), k_BTE.transpose(1, 2))
        scores = [self._by_row(prompt_BXP, q_KRJE), fed_BJT.view(kv_heads, rows, group, -1)]
        weights_KRJS = torch.cat(scores, dim=3).softmax(-1)
        prompt_BXP = self._by_prompt(weights_KRJS)[..., :places]
        prompt_BXE = torch.bmm(prompt_BXP, self.values_KUPE[number].flatten(0, 1))
        fed_BJT = weights_KRJS.view(-1, group, weights_KRJS.shape[3])[..., places:]
        prompt_BJE = self._by_row(prompt_BXE, q_KRJE).reshape(-1, group, width)
        return torch.baddbmm(prompt_BJE, fed_BJT, v_BTE).view_as(q_KRJE)

    def _by_prompt(self, x_KRJY: Tensor) -> Tensor:
        """[K, R, J, Y] to [K·U, G·J, Y], zeros where a prompt has fewer rows than another."""
        if self.groups.place_R is not None:
            places = self.keys_KUPE[0].shape[1] * self.groups.size
            padded = x_KRJY.new_zeros((x_KRJY.shape[0], places, *x_KRJY.shape[2:]))
            x_KRJY = padded.index_copy_(1, self.groups.place_R, x_KRJY)
        return x_KRJY.reshape(-1, self.groups.size * x_KRJY.shape[2], x_KRJY.shape[3])

    def _by_row(self, x_BXY: Tensor, like_KRJE: Tensor) -> Tensor:
        """[K·U, G·J, Y] back to [K, R, J, Y]."""
        x_KRJY = x_BXY.view(like_KRJE.shape[0], -1, like_KRJE.shape[2], x_BXY.shape[2])
        return x_KRJY if self.groups.place_R is None else x_KRJY.index_select(1, self.groups.place_R)

    def keep(self, index_R: Tensor) -> None:
        """Go on with these rows only, in this order. Prompts that no row continues any more are dropped."""
        alive_U, prompt_R = self.groups.prompt_R[index_R].unique(return_inverse=True)
        for buffers in (self.keys_KRTE, self.values_KRTE):
            for number, buffer in enumerate(buffers):
                smaller = buffer.new_empty((buffer.shape[0], len(index_R), *buffer.shape[2:]))
                smaller[:, :, : self.fed] = buffer[:, :, : self.fed].index_select(1, index_R)
                buffers[number] = smaller
        if len(alive_U) < self.keys_KUPE[0].shape[1]:
            self.keys_KUPE = [buffer[:, alive_U] for buffer in self.keys_KUPE]
            self.values_KUPE = [buffer[:, alive_U] for buffer in self.values_KUPE]
            self.absent_UP = None if self.absent_UP is None else self.absent_UP[alive_U]
        self.groups = _Groups.of(prompt_R, len(alive_U))
        self.lengths_R = self.lengths_R[index_R]
        self.logits_RV = self.logits_RV[index_R]


def _norm(module: Any, x: Tensor) -> Tensor:
    """RMSNorm over the dimension before the rows, [..., D, R]; as `kernels.rms_norm`."""
    x = x.to(module.weight.dtype)
    scale = torch.rsqrt(x.square().mean(-2, keepdim=True).add_(module.variance_epsilon))
    return (x * scale).mul_(module.weight[:, None])


def _turn(x_HER: Tensor, cos_ER: Tensor, sin_ER: Tensor) -> Tensor:
    """Rotary positions with one column a row, in the type of the angles; as `kernels.rotate`."""
    x_HER = x_HER.to(cos_ER.dtype)
    half = x_HER.shape[1] // 2
    first, second = x_HER[:, :half], x_HER[:, half:]
    cos, sin = cos_ER[:half], sin_ER[:half]
    out = torch.empty_like(x_HER)
    torch.mul(first, cos, out=out[:, :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out[:, half:]).addcmul_(first, sin)
    return out
