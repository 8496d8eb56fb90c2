from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rung.batch import Batch
from rung.errors import SettingsError
from rung.models.language.load import load_policy
from rung.models.language.lora import Lora, add_adapter, has_adapter
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.random import Stream
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt

Make = Callable[..., Any]
LORA = Lora(rank=2, alpha=8)


def _with_adapter(policy: TextPolicy) -> TextPolicy:
    add_adapter(policy.model, LORA, seed=3)
    return TextPolicy(policy.model, policy.tokenizer)


def _train(policy: TextPolicy) -> None:
    with torch.no_grad():
        for number, parameter in enumerate(policy.trainable().values()):
            parameter.add_(torch.sin(torch.arange(parameter.numel()).view_as(parameter) + number) * 0.1)


def test_before_training_it_is_the_base_exactly(make_policy: Make, ragged: Batch) -> None:
    base = make_policy("qwen3")(ragged).log_probs_BT
    policy = _with_adapter(make_policy("qwen3"))
    assert has_adapter(policy.model)
    assert torch.equal(policy(ragged).log_probs_BT, base)


def test_only_the_adapter_is_trained(make_policy: Make, ragged: Batch) -> None:
    policy = _with_adapter(make_policy("llama"))
    names = set(policy.trainable())
    assert names and all("lora_" in name for name in names) and set(policy.state()) == names
    assert len(names) == 2 * 7 * 3  # A and B of seven layers in each of three
    policy(ragged).log_probs_BT.sum().backward()
    assert {name for name, p in policy.model.named_parameters() if p.grad is not None} == names


def test_the_reference_is_the_base_with_the_adapter_off(make_policy: Make, ragged: Batch) -> None:
    base = make_policy("qwen2")(ragged).log_probs_BT
    policy = _with_adapter(make_policy("qwen2"))
    reference = policy.reference()
    _train(policy)
    assert reference.model is policy.model
    assert torch.equal(reference(ragged).log_probs_BT, base)
    # The reference's pass leaves the adapter on for the policy.
    assert (policy(ragged).log_probs_BT - base).abs().max() > 1e-2


def test_the_reference_is_off_also_when_its_pass_fails(make_policy: Make, make_batch: Make, ragged: Batch) -> None:
    policy = _with_adapter(make_policy("llama"))
    _train(policy)
    before = policy(ragged).log_probs_BT
    with pytest.raises(ValueError, match="temperature"):
        policy.reference()(ragged, temperature=0.0)
    assert torch.equal(policy(ragged).log_probs_BT, before)


def test_sampler_and_learner_agree_on_a_trained_adapter() -> None:
    policy = _with_adapter(tiny_model(0))
    _train(policy)
    asked = {"samples_per_prompt": 2, "max_new_tokens": 5, "temperature": 1.0, "stream": Stream(0, 0, "t")}
    prompts = [Prompt("a", 0, policy.encode("1+1="))]
    for who in (policy, policy.reference()):
        for episode in InProcessSampler(who).sample(prompts, **asked):
            batch = _one(episode)
            learner = who(batch).log_probs_BT[0].detach().numpy()
            assert abs(learner - episode.log_probs).max() < 1e-5
    a, b = (InProcessSampler(who).sample(prompts, **asked)[0] for who in (policy, policy.reference()))
    assert a.log_probs[0] != b.log_probs[0]


def _one(episode: Any) -> Batch:
    steps = len(episode.actions)
    zero = torch.zeros(1, steps)
    return Batch(
        contexts=(torch.from_numpy(episode.context),),
        actions_BT=torch.from_numpy(episode.actions)[None],
        action_mask_BT=torch.ones(1, steps, dtype=torch.bool),
        sampler_log_probs_BT=zero,
        rewards_BT=zero,
        discounts_BT=zero,
        cut_BT=zero.bool(),
        bootstrap_BT=zero,
        group_ids_B=torch.zeros(1, dtype=torch.int64),
        scores_B=torch.zeros(1),
        truncated_B=torch.zeros(1, dtype=torch.bool),
    )


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_saving_merges_and_leaves_the_policy_as_it_is(
    kind: str, make_policy: Make, tmp_path: Path, ragged: Batch
) -> None:
    policy = _with_adapter(make_policy(kind))
    _train(policy)
    before = {name: t.clone() for name, t in policy.model.state_dict().items()}
    expected = policy(ragged).log_probs_BT
    policy.save(tmp_path / "final")
    assert all(torch.equal(t, before[name]) for name, t in policy.model.state_dict().items())
    merged = load_policy(str(tmp_path / "final"), device="cpu", compute="float32")
    assert not has_adapter(merged.model)
    torch.testing.assert_close(merged(ragged).log_probs_BT, expected, rtol=0, atol=1e-5)
    assert not list((tmp_path / "final").glob("adapter*"))


def test_wrong_settings_name_what_is_valid(make_policy: Make) -> None:
    with pytest.raises(SettingsError) as raised:
        Lora(rank=0, alpha=0.0, targets=())
    assert len(raised.value.problems) == 3
    with pytest.raises(SettingsError, match=r"got 'q_prj', expected linear layers of this model: .*q_proj"):
        add_adapter(make_policy("llama").model, Lora(targets=("q_prj",)))
    with pytest.raises(SettingsError, match="got 'lm_head'"):
        add_adapter(make_policy("llama").model, Lora(targets=("q_proj", "lm_head")))
