"""An engine for tests: a fake one that is another process, and a policy that it can draw from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rung.batch import Episode, Judgement
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_tokenizer
from rung.rollouts.engine.engines import EngineSettings
from rung.rollouts.engine.process import PACKAGE
from rung.rollouts.engine.sampler import EngineSampler
from rung.rollouts.engine.source import Source
from rung.trainers.assemble import assemble

DIGITS = """
def digits(completions, **_):
    return [sum(c.isdigit() for c in text) / max(len(text), 1) for text in completions]
"""
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


def engine_sampler(python: Path, policy: TextPolicy | None = None, *, engines: int = 1, **how: Any) -> EngineSampler:
    policy = policy or small_policy()
    settings = EngineSettings(python=str(python), environments=[{}] * engines, **how)
    sampler = EngineSampler(Source(policy), settings)
    sampler.deliver(policy.weights(), 0)
    return sampler


def small_policy(kind: str = "llama", *, tied: bool = True) -> TextPolicy:
    """Random weights; its heads are as wide as vLLM wants them on a CPU."""
    import transformers as hf

    tokenizer = tiny_tokenizer()
    make = {"llama": hf.LlamaConfig, "mistral": hf.MistralConfig, "qwen2": hf.Qwen2Config, "qwen3": hf.Qwen3Config}[
        kind
    ]
    config = make(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        **({"sliding_window": None} if kind == "mistral" else {}),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TextPolicy(hf.AutoModelForCausalLM.from_config(config), tokenizer)


def moved(policy: TextPolicy, by: float = 0.02, names: str = "") -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            if names in name:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def learners_gap(policy: TextPolicy, episodes: Sequence[Episode], temperature: float) -> float:
    judged = [replace(one, judgement=Judgement(total=0.0, parts={}, accuracy=None)) for one in episodes]
    batch = assemble(judged)
    with torch.no_grad():
        gap_BT = policy(batch, temperature=temperature).log_probs_BT - batch.sampler_log_probs_BT
    return float(gap_BT[batch.action_mask_BT].abs().max())


def engine_settings(folder: Path, python: Path) -> dict[str, Any]:
    """Of a run whose answers this engine draws; its reward, the share of digits, is one that it learns fast."""
    small_policy().save(folder / "model")
    (folder / "digits.py").write_text(DIGITS)
    return {
        "model": str(folder / "model"),
        "method": {"name": "grpo", "samples_per_prompt": 4, "optimizer": {"learning_rate": 3e-3, "warmup_steps": 0}},
        "task": {"name": "arithmetic", "levels": [1], "size": 50, "held_out": 8},
        "rewards": [{"function": f"{folder / 'digits.py'}:digits"}],
        "steps": 3,
        "prompts_per_step": 3,
        "max_new_tokens": 5,
        "learner": {"threads": 1},
        "evaluation": {"every": 2, "num_items": 4},
        "saving": {"every": 2},
        "reporting": {"page": False},
        "sampler": {"engine": "vllm", "python": str(python)},
    }
