"""What an engine cannot draw is said before anything starts; what is planned for it is what it is sent."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from engines import engine_sampler, interpreter, moved, small_policy

from rung.errors import SettingsError
from rung.models.language.lora import Lora, add_adapter
from rung.models.language.policy import TextPolicy
from rung.models.language.size import shape_of
from rung.random import Stream
from rung.rollouts.engine.source import Source
from rung.rollouts.sampling import Prompt
from rung.settings import Settings
from rung.trainers.choose import kind_for, problems
from rung.trainers.engine import engine_plan
from rung.trainers.engine import engine_sampler as sampler_of
from rung.trainers.memory import memory_of, trained_parameters


def settings(**changed: Any) -> Settings:
    return Settings.model_validate({"model": "m", "method": "grpo", "task": "arithmetic", **changed})


def refusals(engine: str = "vllm", ahead: int = 0, **changed: Any) -> str:
    asked = settings(sampler={"engine": engine, "ahead": ahead}, **changed)
    return "\n".join(problems(asked, asked.resolved_method()))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"ahead": 1}, "set method.correction=TruncatedImportance, or method.correction=null to go on without"),
        ({"ahead": 4}, "set method.correction=TruncatedImportance, or method.correction=null to go on without"),
        ({"ahead": 1, "method": {"name": "grpo", "correction": None}}, ""),
        ({"ahead": 1, "method": {"name": "grpo", "correction": "TruncatedImportance"}}, ""),
        ({"ahead": 1, "method": {"name": "grpo", "correction": "MaskedImportance"}}, ""),
        ({"ahead": 1, "method": "grpo@prime-rl"}, ""),
        ({"ahead": 1, "method": {"name": "dapo", "correction": None}}, "set 0, or method.keep_group.refill=false"),
        ({"method": "dapo"}, ""),
        ({"method": "rft"}, "are another model's"),
        ({"method": "dqn"}, "draws for policy gradients on text"),
        ({"method": "dpo", "task": "pairs.jsonl"}, "draws for policy gradients on text"),
        ({"method": "ppo", "task": "CartPole-v1", "model": "small"}, "draws for policy gradients on text"),
        ({"engine": "in_process", "ahead": 1}, "it is of an engine beside the learner"),
    ],
)
def test_what_does_not_fit_an_engine_is_said(changed: dict[str, Any], said: str) -> None:
    found = "\n".join(line for line in refusals(**changed).splitlines() if line.startswith("sampler."))
    assert said in found
    assert bool(said) == bool(found)


def test_a_model_whose_weights_it_does_not_know_is_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    tokenizer = small_policy().tokenizer
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=32, n_layer=1, n_head=1, n_positions=32))
    with pytest.raises(SettingsError, match=r"GPT2LMHeadModel is not one of Llama.*set in_process"):
        sampler_of(settings(), TextPolicy(gpt2, tokenizer))
    narrow = LlamaConfig(vocab_size=99, hidden_size=32, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8)
    with pytest.raises(SettingsError, match="are 16 wide, and on a CPU vllm has 32, 64"):
        sampler_of(settings(), TextPolicy(LlamaForCausalLM(narrow), tokenizer))


@pytest.mark.parametrize("lora", [False, True])
def test_what_a_step_sends_is_what_the_plan_says(tmp_path: Path, lora: bool) -> None:
    policy = small_policy(tied=False)
    policy.save(tmp_path / "model")
    asked = settings(
        sampler={"engine": "vllm"},
        learner={"device": "cpu", "compute": "float32"},
        max_new_tokens=8,
        **({"lora": {"rank": 2}} if lora else {}),
    )
    if lora:
        add_adapter(policy.model, Lora(rank=2), seed=0)
        policy = TextPolicy(policy.model, policy.tokenizer)
    shape = shape_of(str(tmp_path / "model"))
    planned = engine_plan(
        asked, shape, trained=trained_parameters(asked, shape), items=2, new_tokens=2 * 4 * 8, prompt_tokens=5
    )
    assert planned is not None
    source = Source(policy)
    buckets = list(source.buckets(source.names(changing=True)))
    assert planned.delivered == sum(len(part) for bucket in buckets for part in bucket.parts)
    with closing(engine_sampler(interpreter(tmp_path), policy)) as sampler:
        prompts = [Prompt(f"q{n}", n, policy.encode(f"{n}+{n}=")) for n in range(2)]
        asks: dict[str, Any] = {"samples_per_prompt": 4, "max_new_tokens": 8, "temperature": 1.0}
        sampler.sample(prompts, stream=Stream(0, 1, "train"), **asks)
        assert sampler.engines.seats[0].process is not None
        before = sampler.engines.seats[0].process.sent
        moved(policy)
        sampler.deliver(policy.weights(), 1)
        sampler.sample(prompts, stream=Stream(0, 2, "train"), **asks)
        extra = sampler.engines.seats[0].process.sent - before - planned.delivered - planned.prompts
        assert 0 < extra < 12_000, "names, seeds, and the canary's 384 tokens"
    method = asked.resolved_method()
    memory = memory_of(asked, method, kind_for(asked, method), shape, episodes=8, prompt_tokens=5)
    assert memory.parts["kv cache"] == 0
