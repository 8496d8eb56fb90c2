"""An interpreter that has a fake engine, and a policy that it can draw from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_tokenizer
from rung.rollouts.engine.process import PACKAGE
from rung.rollouts.engine.sampler import EngineSampler, EngineSettings

FAKE = Path(__file__).with_name("fake_engine.py")


@pytest.fixture(scope="session")
def fake_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `sampler.python` may name: whatever it is asked to run, it runs the fake engine."""
    script = tmp_path_factory.mktemp("interpreter") / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={PACKAGE.parent} exec {sys.executable} {FAKE} "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`fault("layer")`: what the engine does wrong from now on."""
    monkeypatch.setenv("RUNG_FAKE", str(tmp_path / "fault"))
    return lambda what: (tmp_path / "fault").write_text(what) and None


@pytest.fixture
def sampler(fake_python: str, fault: Callable[[str], None]) -> Iterator[EngineSampler]:
    sampler = engine_sampler(fake_python)
    yield sampler
    sampler.close()


def engine_sampler(python: str, **how: object) -> EngineSampler:
    policy = small_policy()
    sampler = EngineSampler(policy, EngineSettings(python=python, **how))
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
