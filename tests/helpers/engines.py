"""An engine for tests: a fake one that is another process, and a policy that it can draw from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_tokenizer
from rung.rollouts.engine.process import PACKAGE
from rung.rollouts.engine.sampler import EngineSampler, EngineSettings

FAKE = Path(__file__).with_name("fake_engine.py")


def interpreter(folder: Path) -> Path:
    """What `sampler.python` may name: whatever it is asked to run, it runs the fake engine, and the file `fault` beside
    it says what that does wrong."""
    script = folder / "python"
    (folder / "fault").touch()
    environment = f"PYTHONPATH={PACKAGE.parent} RUNG_FAKE={folder / 'fault'}"
    script.write_text(f'#!/bin/sh\n{environment} exec {sys.executable} {FAKE} "$@"\n')
    script.chmod(0o755)
    return script


def engine_sampler(python: Path, policy: TextPolicy | None = None, **how: Any) -> EngineSampler:
    policy = policy or small_policy()
    sampler = EngineSampler(policy, EngineSettings(python=str(python), **how))
    sampler.deliver(policy.weights(), 0)
    return sampler


def small_policy(*, tied: bool = True, seed: int = 0) -> TextPolicy:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return TextPolicy(model, tokenizer)
