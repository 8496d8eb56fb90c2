"""Policies small enough to enumerate, and the batch that belongs to some episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rung.batch import Batch, Episode
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_tokenizer


@pytest.fixture
def make_policy() -> Callable[..., TextPolicy]:
    """`make_policy("llama", vocabulary=8)`: two layers of random weights, sharp enough to be far from uniform."""

    def make(kind: str = "llama", *, vocabulary: int = 99, context: int = 128) -> TextPolicy:
        import transformers as hf

        shape: dict[str, Any] = {
            "vocab_size": vocabulary,
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": context,
        }
        config = {
            "llama": lambda: hf.LlamaConfig(**shape),
            "qwen2": lambda: hf.Qwen2Config(**shape, tie_word_embeddings=True),
            "qwen3": lambda: hf.Qwen3Config(**shape, head_dim=8),
            "gpt2": lambda: hf.GPT2Config(vocab_size=vocabulary, n_embd=24, n_layer=2, n_head=4, n_positions=context),
            "mistral-window": lambda: hf.MistralConfig(**shape, sliding_window=6),
        }[kind]()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = hf.AutoModelForCausalLM.from_config(config)
            for name, parameter in model.named_parameters():
                parameter.data.normal_(0, 0.25)
                if "norm" in name or "ln_" in name:
                    parameter.data += 1.0
        model.generation_config.eos_token_id = None
        tokenizer = tiny_tokenizer()
        return TextPolicy(model, tokenizer)

    return make


@pytest.fixture
def to_batch() -> Callable[[Sequence[Episode]], Batch]:
    """The arrays of these episodes; rows of a group share one context."""

    def make(episodes: Sequence[Episode]) -> Batch:
        rows, steps = len(episodes), max(len(e.actions) for e in episodes)
        arrays = {
            "actions_BT": np.zeros((rows, steps), np.int64),
            "action_mask_BT": np.zeros((rows, steps), bool),
            "sampler_log_probs_BT": np.zeros((rows, steps), np.float32),
        }
        for row, e in enumerate(episodes):
            for name, values in zip(arrays, (e.actions, e.action_mask, e.log_probs), strict=True):
                arrays[name][row, : len(e.actions)] = values
        contexts = {e.group: torch.from_numpy(e.context) for e in episodes}
        zero = torch.zeros(rows, steps)
        return Batch(
            contexts=tuple(contexts[e.group] for e in episodes),
            rewards_BT=zero,
            discounts_BT=zero,
            cut_BT=zero.bool(),
            bootstrap_BT=zero,
            group_ids_B=torch.tensor([e.group for e in episodes]),
            scores_B=torch.zeros(rows),
            truncated_B=torch.tensor([e.truncated for e in episodes]),
            **{name: torch.from_numpy(array) for name, array in arrays.items()},
        )

    return make
