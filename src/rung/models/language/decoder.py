"""Our own forward pass for models of the Llama family, for learning and for sampling.

It calls the Hugging Face model's own modules, so the weights are the learner's weights and a LoRA wrap is part of the
computation: there is nothing to deliver to the sampler and nothing that can drift. What it adds to the model's own
forward is what reinforcement learning needs: each prompt is read once for all its samples (`packing`), linear layers
see real tokens only, the head sees only the positions that are asked for, and sampling has a preallocated cache.

Legend: **N** packed tokens, **D** width, **H** heads, **K** key-value heads, **E** width of a head, **R** rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rung.models.language.engine import Engine
from rung.models.language.kernels import gated_up, pad, rms_norm, rotate, unpad
from rung.models.language.packing import Level, Rows, Segments, packed_ids, packed_positions, segments, tree_of

FAMILY = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


def why_not(model: nn.Module) -> str | None:
    """None when `Decoder` computes this model; otherwise the reason why the model's own forward must be used."""
    name, config = type(model).__name__, model.config
    if name not in FAMILY:
        return f"{name} is not one of {', '.join(FAMILY)}"
    if getattr(config, "hidden_act", None) != "silu":
        return f"its activation is {config.hidden_act!r}, expected 'silu'"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if kinds != {"full_attention"} or (name == "MistralForCausalLM" and window is not None):
        return "it attends through a sliding window"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        return f"its rotary positions ({rope}) depend on the length of the text"
    return None if _agrees(model) else "its logits are not those that rung's decoder computes"


@torch.no_grad()
def _agrees(model: nn.Module) -> bool:
    """Whether the decoder's logits are the model's own, on a text of a few tokens: a guard against what the names of
    classes and settings do not tell."""
    head = model.get_output_embeddings()
    ids = np.arange(1, 9) % head.weight.shape[0]
    own = model(input_ids=torch.from_numpy(ids)[None].to(head.weight.device), use_cache=False).logits[0]
    mine = head(Decoder(model).hidden((Level(ids=(ids,), parents=None),))[0])
    close = torch.isclose(mine, own, rtol=0, atol=1e-3 * (1 + own.abs().nan_to_num().max().item()), equal_nan=True)
    return bool(close.all())


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """What attention needs to know of the levels, and the rotary angles of the packed tokens."""

    parts: list[Segments]
    cos_NE: Tensor
    sin_NE: Tensor


class Decoder(Engine):
    """The forward pass. `model` is a `...ForCausalLM` for which `why_not` is None.

    With `recompute` it takes about a third more time, for a memory that grows by one [N, D] a layer.
    """

    name = "rung's decoder"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.base = model.model
        config = model.config
        self.heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads)
        self.width = int(getattr(config, "head_dim", None) or config.hidden_size // self.heads)

    def read(self, rows: Rows) -> Tensor:
        """The hidden states [N, D] from which the rows' wanted tokens are predicted."""
        levels, read_N = tree_of(rows)
        weight = self.model.get_output_embeddings().weight
        if not levels:
            return weight.new_zeros((0, weight.shape[1]))
        return self.hidden(levels)[0].index_select(0, torch.from_numpy(read_N).to(weight.device))

    def hidden(self, levels: Sequence[Level], *, keep_keys: bool = False) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Normed last hidden states of all packed tokens [N, D]; with `keep_keys` also each layer's keys and values
        along the last level's segments, [R, K, S, E]."""
        base, device = self.base, self.base.embed_tokens.weight.device
        x_ND = base.embed_tokens(torch.from_numpy(packed_ids(levels)).to(device))
        positions_N = torch.from_numpy(packed_positions(levels)).to(device)
        cos, sin = base.rotary_emb(x_ND, positions_N[None])
        shape = _Shape(parts=segments(levels, device, _product_type(x_ND)), cos_NE=cos[0], sin_NE=sin[0])
        kept: list[tuple[Tensor, Tensor]] = []
        for layer in base.layers:
            if self.recompute and torch.is_grad_enabled():
                x_ND, _ = checkpoint(self._layer, layer, x_ND, shape, use_reentrant=False)
            else:
                x_ND, keys = self._layer(layer, x_ND, shape)
                if keep_keys:
                    kept.append(keys)
        return self._norm(base.norm, x_ND), kept

    def _layer(self, layer: Any, x_ND: Tensor, shape: _Shape) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q_NHE, k_NKE, v_NKE = self._heads(layer, x_ND, shape.cos_NE, shape.sin_NE)
        outs: list[Tensor] = []
        above: tuple[Tensor, Tensor] | None = None
        for part in shape.parts:
            here = slice(part.begin, part.end)
            q_RHLE = pad(q_NHE[here], part.place_N, part.rows, part.longest).transpose(1, 2)
            k_RKSE = pad(k_NKE[here], part.place_N, part.rows, part.longest).transpose(1, 2)
            v_RKSE = pad(v_NKE[here], part.place_N, part.rows, part.longest).transpose(1, 2)
            if above is not None:
                k_RKSE = torch.cat([above[0].index_select(0, part.parents_R), k_RKSE], dim=2)
                v_RKSE = torch.cat([above[1].index_select(0, part.parents_R), v_RKSE], dim=2)
            above = (k_RKSE, v_RKSE)
            out_RHLE = _attention(q_RHLE, k_RKSE, v_RKSE, part.mask_RLS, layer.self_attn.scaling)
            outs.append(unpad(out_RHLE.transpose(1, 2), part.place_N))
        out_NHE = outs[0] if len(outs) == 1 else torch.cat(outs)
        x_ND = x_ND + layer.self_attn.o_proj(out_NHE.flatten(1))
        assert above is not None
        return x_ND + self._mlp(layer, x_ND), above

    def _heads(self, layer: Any, x_ND: Tensor, cos_NE: Tensor, sin_NE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the tokens, turned to their positions."""
        attention = layer.self_attn
        normed_ND = self._norm(layer.input_layernorm, x_ND)
        q_NHE = attention.q_proj(normed_ND).unflatten(1, (self.heads, self.width))
        k_NKE = attention.k_proj(normed_ND).unflatten(1, (self.kv_heads, self.width))
        v_NKE = attention.v_proj(normed_ND).unflatten(1, (self.kv_heads, self.width))
        if hasattr(attention, "q_norm"):
            q_NHE, k_NKE = self._norm(attention.q_norm, q_NHE), self._norm(attention.k_norm, k_NKE)
        return rotate(q_NHE, cos_NE, sin_NE), rotate(k_NKE, cos_NE, sin_NE), v_NKE

    def _mlp(self, layer: Any, x_ND: Tensor) -> Tensor:
        mlp = layer.mlp
        normed_ND = self._norm(layer.post_attention_layernorm, x_ND)
        return mlp.down_proj(gated_up(mlp.gate_proj(normed_ND), mlp.up_proj(normed_ND)))

    @staticmethod
    def _norm(module: Any, x: Tensor) -> Tensor:
        return rms_norm(x, module.weight, module.variance_epsilon)


def _product_type(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _attention(q_RHLE: Tensor, k_RKSE: Tensor, v_RKSE: Tensor, mask_RLS: Tensor | None, scale: float) -> Tensor:
    """softmax(q·kᵀ·scale)·v over the keys that the mask allows; plainly causal when there is no mask."""
    mask = None if mask_RLS is None else mask_RLS[:, None]
    return F.scaled_dot_product_attention(
        q_RHLE,
        k_RKSE,
        v_RKSE,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=q_RHLE.shape[1] != k_RKSE.shape[1],
    )
