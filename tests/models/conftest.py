"""Small random models of several architectures, and batches made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rung.batch import Batch
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_tokenizer

SHAPE = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def _config(kind: str, vocabulary: int) -> Any:
    import transformers as hf

    common = {"vocab_size": vocabulary, **SHAPE}
    made = {
        "llama": lambda: hf.LlamaConfig(**common, tie_word_embeddings=True),
        "llama3-rope": lambda: hf.LlamaConfig(
            **common,
            head_dim=6,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        ),
        "qwen2": lambda: hf.Qwen2Config(**common),
        "qwen3": lambda: hf.Qwen3Config(**common, head_dim=8),
        "mistral": lambda: hf.MistralConfig(**common, sliding_window=None),
        "mistral-window": lambda: hf.MistralConfig(**common, sliding_window=8),
        "gpt2": lambda: hf.GPT2Config(vocab_size=vocabulary, n_embd=24, n_layer=3, n_head=4, n_positions=64),
        "gemma2": lambda: hf.Gemma2Config(**common, head_dim=8, sliding_window=8, final_logit_softcapping=3.0),
    }
    return made[kind]()


@pytest.fixture
def make_policy() -> Callable[..., TextPolicy]:
    """`make_policy("qwen2", dtype=torch.float64)`: random weights large enough that positions and tokens matter."""

    def make(kind: str, *, dtype: torch.dtype = torch.float32, seed: int = 0, vocabulary: int = 99) -> TextPolicy:
        from transformers import AutoModelForCausalLM

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(_config(kind, vocabulary)).to(dtype)
            for name, parameter in model.named_parameters():
                parameter.data.normal_(0, 0.2 if parameter.dim() > 1 else 0.3)
                if "norm" in name or "ln_" in name:
                    parameter.data += 1.0
        return TextPolicy(model, tiny_tokenizer())

    return make


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """`make_batch(contexts, actions)`: right-padded; `mask` where not all actions count, `junk` in the padding."""

    def make(
        contexts: Sequence[Tensor],
        actions: Sequence[Sequence[int]],
        *,
        mask: Sequence[Sequence[bool]] | None = None,
        junk: int = 0,
        extra: int = 0,
    ) -> Batch:
        rows, steps = len(actions), max((len(a) for a in actions), default=0) + extra
        actions_BT = np.full((rows, steps), junk, np.int64)
        mask_BT = np.zeros((rows, steps), bool)
        for row, ids in enumerate(actions):
            actions_BT[row, : len(ids)] = ids
            mask_BT[row, : len(ids)] = True if mask is None else mask[row]
        nothing_BT = torch.full((rows, steps), torch.nan)
        return Batch(
            contexts=tuple(contexts),
            actions_BT=torch.from_numpy(actions_BT),
            action_mask_BT=torch.from_numpy(mask_BT),
            sampler_log_probs_BT=nothing_BT,
            rewards_BT=nothing_BT,
            discounts_BT=nothing_BT,
            cut_BT=torch.zeros((rows, steps), dtype=torch.bool),
            bootstrap_BT=nothing_BT,
            group_ids_B=torch.arange(rows),
            scores_B=torch.zeros(rows),
            truncated_B=torch.zeros(rows, dtype=torch.bool),
        )

    return make


@pytest.fixture
def ragged(make_batch: Callable[..., Batch]) -> Batch:
    """Eight rows of four prompts of different lengths, three of which begin alike; answers of 1 to 7 tokens."""
    drawn = np.random.default_rng(5)
    start = drawn.integers(4, 99, 9)
    prompts = [
        torch.from_numpy(np.concatenate([start, drawn.integers(4, 99, n)]) if n < 9 else drawn.integers(4, 99, n))
        for n in (1, 4, 2, 9)
    ]
    contexts = [prompts[i] for i in (0, 0, 0, 1, 1, 2, 3, 3)]
    actions = [drawn.integers(0, 99, n).tolist() for n in (5, 1, 7, 3, 4, 2, 6, 1)]
    return make_batch(contexts, actions)
