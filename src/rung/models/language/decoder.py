"""Our own forward pass for models of the Llama family, for learning and for sampling.

It calls the Hugging Face model's own modules, so the weights are the learner's weights and a LoRA wrap is part of the
computation: there is nothing to deliver to the sampler and nothing that can drift. What it adds to the model's own
forward is what reinforcement learning needs: each prompt is read once for all its samples (`packing`), linear layers
see real tokens only, the head sees only the positions that are asked for, and sampling has a preallocated cache.

Learner and sampler go through one function for a layer and one for attention, which sees a text's keys in the text's
order. So both give a token the same number in bfloat16 too, where a difference in the last bit of a sum grows to a gap
of a hundredth of a nat within a few roundings.

Legend: **N** packed tokens, **D** width, **H** heads, **K** key-value heads, **E** width of a head, **R** rows, **L**
queries and **S** keys a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True)
class Layer:
    """One layer as it is computed with: norms are the model's modules, linear layers functions of [N, in]."""

    norms: tuple[Any, Any]
    qkv: Callable[[Tensor], Sequence[Tensor]]
    o: Callable[[Tensor], Tensor]
    gate: Callable[[Tensor], Tensor]
    up: Callable[[Tensor], Tensor]
    down: Callable[[Tensor], Tensor]
    head_norms: tuple[Any, Any] | None
    scale: float

    @staticmethod
    def of(layer: Any, linear: Callable[[nn.Module], Callable[[Tensor], Tensor]] = lambda module: module) -> Layer:
        """`linear` says how a linear layer is computed; by its own module when not given."""
        attention, mlp = layer.self_attn, layer.mlp
        three = [linear(each) for each in (attention.q_proj, attention.k_proj, attention.v_proj)]
        return Layer(
            norms=(layer.input_layernorm, layer.post_attention_layernorm),
            qkv=lambda x_ND: [each(x_ND) for each in three],
            o=linear(attention.o_proj),
            gate=linear(mlp.gate_proj),
            up=linear(mlp.up_proj),
            down=linear(mlp.down_proj),
            head_norms=(attention.q_norm, attention.k_norm) if hasattr(attention, "q_norm") else None,
            scale=float(attention.scaling),
        )


Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(queries [N, H, E], keys and values [N, K, E], scale) of the tokens -> what each of them attends to, [N, H, E]."""


class Decoder(Engine):
    """The forward pass. `model` is a `...ForCausalLM` for which `why_not` is None.

    With `recompute` it takes about a third more time, for a memory that grows by one [N, D] a layer.
    """

    name = "rung's decoder"
    refills = True

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
        along the texts of the last level's segments, [R, K, S, E]."""
        device = self.base.embed_tokens.weight.device
        x_ND = self.base.embed_tokens(torch.from_numpy(packed_ids(levels)).to(device))
        turn = self.turn(x_ND, torch.from_numpy(packed_positions(levels)).to(device))
        kept: list[tuple[Tensor, Tensor]] = []
        parts = segments(levels, device, _product_type(x_ND))
        attend = partial(_attend_packed, parts=parts, kept=kept if keep_keys else None)
        for module in self.base.layers:
            x_ND = self.through(module, x_ND, turn, attend)
        return self.norm(self.base.norm, x_ND), kept

    def through(self, module: Any, x_ND: Tensor, turn: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """`layer` of one of the model's own modules; a sharded model (`sharded`) gathers its weights around it."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self.layer, Layer.of(module), x_ND, turn, attend, use_reentrant=False)
        return self.layer(Layer.of(module), x_ND, turn, attend)

    def turn(self, x_ND: Tensor, positions_N: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of the angles by which keys and queries at these positions are turned, [N, E] each."""
        cos, sin = self.base.rotary_emb(x_ND, positions_N[None])
        return cos[0], sin[0]

    def layer(self, layer: Layer, x_ND: Tensor, turn: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """One layer over tokens of which `attend` knows what they may look at."""
        q_NHE, k_NKE, v_NKE = (x.unflatten(1, (-1, self.width)) for x in layer.qkv(self.norm(layer.norms[0], x_ND)))
        if layer.head_norms is not None:
            q_NHE, k_NKE = self.norm(layer.head_norms[0], q_NHE), self.norm(layer.head_norms[1], k_NKE)
        out_NHE = attend(rotate(q_NHE, *turn), rotate(k_NKE, *turn), v_NKE, layer.scale)
        x_ND = x_ND + layer.o(out_NHE.flatten(1))
        normed_ND = self.norm(layer.norms[1], x_ND)
        return x_ND + layer.down(gated_up(layer.gate(normed_ND), layer.up(normed_ND)))

    @staticmethod
    def norm(module: Any, x: Tensor) -> Tensor:
        """The RMSNorm of a module, in the type of its weight."""
        return rms_norm(x, module.weight, module.variance_epsilon)


def _product_type(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _attend_packed(
    q_NHE: Tensor,
    k_NKE: Tensor,
    v_NKE: Tensor,
    scale: float,
    *,
    parts: Sequence[Segments],
    kept: list[tuple[Tensor, Tensor]] | None,
) -> Tensor:
    outs: list[Tensor] = []
    for part in parts:
        q_RHLE = pad(q_NHE[part.begin : part.end], part.place_N, part.rows, part.longest).transpose(1, 2)
        keys, values = (
            x.index_select(0, part.key_RS).unflatten(0, (part.rows, -1)).transpose(1, 2) for x in (k_NKE, v_NKE)
        )
        out_RHLE = attention(q_RHLE, keys, values, part.mask_RLS, scale)
        outs.append(unpad(out_RHLE.transpose(1, 2), part.place_N))
        if kept is not None and part is parts[-1]:
            kept.append((keys, values))
    return outs[0] if len(outs) == 1 else torch.cat(outs)


def attention(q_RHLE: Tensor, k_RKSE: Tensor, v_RKSE: Tensor, mask_RLS: Tensor | None, scale: float) -> Tensor:
    """softmax(q·kᵀ·scale)·v over the keys that the mask allows; plainly causal when there is no mask.

    S is one of `packing.key_places`: then how many masked keys follow changes no bit of a sum.
    """
    return F.scaled_dot_product_attention(
        q_RHLE,
        k_RKSE,
        v_RKSE,
        attn_mask=None if mask_RLS is None else mask_RLS[:, None],
        is_causal=mask_RLS is None,
        scale=scale,
        enable_gqa=q_RHLE.shape[1] != k_RKSE.shape[1],
    )
