"""A small random model of any architecture that transformers has, from its own default configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

SIZES: tuple[tuple[str, int], ...] = (
    (r"vocab_size|.*_vocab_size|vocab_size_.*", 99),
    (r".*(bos|eos|pad|sep|unk|mask|start|image|audio|video|boi|eoi|boa|eoa|cls)_(token_)?(id|index)", 1),
    (r"(.*_)?n_layers?|.*layers|num_blocks|depth", 2),
    (r".*(kv|key_value|group)s?_heads|multi_query_groups|(mamba_)?n_groups", 2),
    (r"(.*_)?(heads?|n_heads?)", 4),
    (r".*(head_dim|head_size|d_head|qk_.*_dim|rope_dim|rotary_dim|d_kv)", 8),
    (r".*topk_group|n_group|.*shared_experts", 1),
    (r"index_topk", 128),
    (r".*(per_tok|top_?k|per_token)|moe_k", 2),
    (r".*experts?(_num)?|moe_num_.*", 4),
    (r".*rank(_.*)?|rank_.*", 8),
    (r".*(position_embeddings|n_positions|target_positions|n_ctx|seq_len|max_length).*|max_seq.*", 128),
    (r".*(window|chunk|block).*", 8),
    (r".*(intermediate|ffn|ff_|inner|mlp).*", 64),
    (r".*(hidden|model|embd|embed|width).*|d_.*|.*_?dim", 32),
)
"""The first pattern that a setting's name matches is the size that it is shrunk to; any other number to 32."""
UNSET = {"head_dim": 8, "num_key_value_heads": 2, "n_routed_experts": 4, "n_shared_experts": 1}
UNSET |= {"num_experts_per_tok": 2}
"""What some defaults leave open and models need."""
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8}
FITTING: Mapping[str, Mapping[str, Any]] = {
    "reformer": {"axial_pos_embds": False},
    "cohere_compass_text": {
        "head_dim": 128,
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}},
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "hrm_text": {"num_layers_per_stack": 1, "num_hidden_layers": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "xlnet": {"d_head": 8},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        **{"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
        **{"attention_hidden_size": 64, "attention_head_dim": 16},
    },
    "zamba2": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "hybrid_layer_ids": [1, 3],
        **{"mamba_headdim": 16, "attention_head_dim": 16, "attention_hidden_size": 64, "kv_channels": 8},
    },
    "qwen4_exp_text": {
        **{"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 16},
        "indexer_compress_ratio": 4,
    },
    "bamba": {**MAMBA, "attn_layer_indices": [1]},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 64},
    "granitemoehybrid": {**MAMBA, "layer_types": ["mamba", "attention"]},
    "deepseek_v2": {"first_k_dense_replace": 1},
    "deepseek_v3": {"first_k_dense_replace": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "minimax": {"layer_types": ["linear_attention", "full_attention"]},
}
"""What does not follow from sizes alone."""


def small_config(kind: str, **changed: Any) -> Any:
    """The architecture's own default configuration, every size in it shrunk."""
    from transformers import AutoConfig

    default = AutoConfig.for_model(kind)
    return type(default)(**{**_shrunk(default.to_dict()), **changed})


def _shrunk(data: Mapping[str, Any]) -> dict[str, Any]:
    layers = next((data[key] for key in ("num_hidden_layers", "n_layer", "num_layers") if data.get(key)), 0)
    lists = {k: v for k, v in data.items() if isinstance(v, list) and layers and len(v) == layers}
    picks = _each_kind_once([tuple(map(str, row)) for row in zip(*lists.values(), strict=True)])
    small: dict[str, Any] = {}
    for key, value in data.items():
        if key in ("model_type", "_name_or_path", "output_attentions", "architectures", "per_layer_config", "dtype"):
            continue
        if isinstance(value, dict) and "model_type" in value:
            small[key] = _shrunk(value) | {"model_type": value["model_type"]}
        elif key in lists:
            small[key] = [_size(key, value[index]) for index in picks]
        elif isinstance(value, list):
            small[key] = [_size(key, one) for one in value]
        elif re.fullmatch(SIZES[2][0], key) and value == layers and picks:
            small[key] = len(picks)
        else:
            small[key] = _size(key, UNSET.get(key) if value is None else value)
    if "is_decoder" in data:
        small["is_decoder"] = True
    if "kv_lora_rank" in data and "num_key_value_heads" in data:  # latent attention has as many keys as queries
        small["num_key_value_heads"] = small["num_attention_heads"]
    small.pop("qk_head_dim", None)  # follows from its two parts
    return small | FITTING.get(data.get("model_type", ""), {})


def _each_kind_once(rows: list[tuple[str, ...]]) -> list[int]:
    """The first layer of each kind, and at least two."""
    firsts = sorted({row: index for index, row in reversed(list(enumerate(rows)))}.values())
    return firsts if len(firsts) > 1 or len(rows) < 2 else [0, 1]


def _size(key: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return value
    return min(value, next((size for pattern, size in SIZES if re.fullmatch(pattern, key)), 32))


def small_model(kind: str, *, maker: Any = None, **changed: Any) -> Any:
    """A random model, with weights large enough that places and tokens matter. `maker`: another auto class."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _random((maker or AutoModelForCausalLM).from_config(small_config(kind, **changed)).float().eval())


def _random(model: Any) -> Any:
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and "norm" not in name:
            torch.nn.init.normal_(weight, std=0.5 / math.sqrt(weight.shape[-1]))
    return model
