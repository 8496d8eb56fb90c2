"""The end product is tried before training: found.md 1, 2, 3, 9, 10, 11, 12."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from small_models import small_model

from rung.errors import DataError, SettingsError
from rung.models.language import export, whole_model
from rung.models.language import policy as policies
from rung.models.language.agreement import disagreement
from rung.models.language.load import as_policy, load_policy
from rung.models.language.lora import Lora, add_adapter, merged_state, usual_targets, wrapped_layers
from rung.models.language.policy import TextPolicy
from rung.models.language.reward_model import RewardModel
from rung.models.language.tiny import tiny_tokenizer
from rung.models.language.whole_model import WholeDecoding, WholeModel

IDS = torch.tensor([[7, 20, 33, 9, 41, 60, 12]])


def policy_of(kind: str, **changed: Any) -> TextPolicy:
    return TextPolicy(small_model(kind, **changed), tiny_tokenizer())


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def folder_of(kind: str, folder: Path, **changed: Any) -> Path:
    policy_of(kind, **changed).save(folder)
    return folder


def rewritten(folder: Path, name: str, **changes: Any) -> None:
    file = folder / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        ("deepseek_v3", ("gate_proj", "up_proj", "down_proj", "o_proj")),
        ("qwen3_next", None),
        ("mixtral", ("q_proj", "v_proj")),
    ],
)
def test_a_lora_on_fused_experts_is_saved_whole(kind: str, targets: Any, tmp_path: Path) -> None:
    model = small_model(kind)
    names = {name: tensor.shape for name, tensor in model.state_dict().items()}
    add_adapter(model, Lora(rank=2, targets=targets))
    if targets and "gate_proj" in targets:
        assert any(hasattr(layer, "parameter_name") for layer in wrapped_layers(model).values())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    assert {name: tensor.shape for name, tensor in merged_state(model, model.state_dict()).items()} == names
    policy = TextPolicy(model, tiny_tokenizer())
    policy.save(tmp_path)
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(again), logits(model), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits(model), logits(small_model(kind)), atol=1e-2)


def test_a_save_that_would_lose_weights_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of("mixtral")
    assert list(policy.tried()) == []
    whole = policies.merged_state
    monkeypatch.setattr(
        policies, "merged_state", lambda *of: {k: v for k, v in whole(*of).items() if "experts" not in k}
    )
    with pytest.raises(DataError, match=r"cannot be written whole: model\.layers\.0\.mlp\.experts\..* is missing"):
        list(policy.tried())
    monkeypatch.setattr(policies, "merged_state", lambda *of: {k: v[:1] for k, v in whole(*of).items()})
    with pytest.raises(DataError, match="in place of"):
        list(policy.tried())


def test_a_try_of_half_a_billion_weights_writes_no_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = hf.LlamaConfig(vocab_size=99, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24)
    with torch.device("meta"):
        model = hf.LlamaForCausalLM(config)
    monkeypatch.setattr(export, "TemporaryDirectory", lambda: _Kept(tmp_path))
    export.try_writing(
        lambda folder: (export.save_model(model, model.state_dict(), folder), tiny_tokenizer().save_pretrained(folder))
    )
    file = tmp_path / "model.safetensors"
    assert file.stat().st_size > 1.5e9 and file.stat().st_blocks * 512 < 1e6
    with pytest.raises(Exception, match=r"meta|data"):  # outside the try, numbers are written
        export.save_model(model, model.state_dict(), tmp_path / "really")


class _Kept:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> str:
        return str(self.folder)

    def __exit__(self, *_: object) -> None: ...


def test_a_generation_config_that_transformers_does_not_write_stays_as_it_was(tmp_path: Path) -> None:
    folder = folder_of("qwen2", tmp_path / "model")
    strange = {"do_sample": False, "temperature": 0.6, "top_p": 0.9, "eos_token_id": 5}
    rewritten(folder, "generation_config.json", **strange)
    policy = load_policy(str(folder))
    assert list(policy.tried()) == [] and 5 in policy.end_ids
    policy.save(tmp_path / "final")
    saved = json.loads((tmp_path / "final" / "generation_config.json").read_text())
    assert {key: saved[key] for key in strange if key != "do_sample"} == {k: strange[k] for k in strange if k[0] != "d"}
    add_adapter(policy.model, Lora(rank=2))
    assert list(TextPolicy(policy.model, policy.tokenizer).tried()) == []


def test_a_vision_tower_that_is_not_kept_is_said(tmp_path: Path) -> None:
    whole = small_model("qwen3_5", maker=hf.AutoModelForImageTextToText)
    whole.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    (note,) = load_policy(str(tmp_path)).tried()
    assert note.startswith("model: Qwen3_5ForCausalLM has no place for model.visual")
    assert list(load_policy(str(folder_of("qwen2", tmp_path / "text"))).tried()) == []


@pytest.mark.parametrize("kind", ["bamba", "minimax"])
def test_hybrids_are_sampled_from_their_own_distribution(kind: str) -> None:
    whole = WholeModel(small_model(kind))
    gap = disagreement(whole, lambda prompts: WholeDecoding(whole, prompts))
    assert gap is not None and float(gap.split()[3]) > 0.01  # without places they count from a layer without keys
    assert whole.way[1] == ()
    assert disagreement(whole, whole.way[0]) is None


def test_a_cache_that_is_off_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of("gpt2")
    whole = policy.engine
    assert isinstance(whole, WholeModel) and whole.way[1] == ()
    forward = WholeDecoding._forward
    monkeypatch.setattr(WholeDecoding, "_forward", lambda self, group, ids: forward(self, group, ids) * 1.01)
    other = policy_of("gpt2")
    (note,) = other.tried()
    assert note.startswith(
        "model: sampling reads the whole text again for each token, which is exact and slow, because"
    )
    started: Any = other.engine.way[0]([IDS[0, :3].numpy(), IDS[0].numpy()])
    assert isinstance(started, whole_model.Rereading)
    torch.testing.assert_close(started.logits_RV[1], logits(other.model)[0, -1])
    started.keep(torch.tensor([0]))
    started.feed(IDS[0, 3:4])
    torch.testing.assert_close(started.logits_RV[0], logits(other.model)[0, 3])


def test_a_model_that_sees_what_comes_is_refused() -> None:
    with pytest.raises(DataError, match="is_decoder = true"):
        list(policy_of("bert", is_decoder=False).tried())
    assert list(policy_of("bert", is_decoder=True).tried()) == []


def test_a_soft_cap_is_read_from_the_configuration() -> None:
    """Small logits are hardly capped, so a probe of the first weights cannot see it."""
    capped = small_model("gemma2")
    with torch.no_grad():
        for weight in capped.parameters():
            weight.mul_(0.1)
    policy = TextPolicy(capped, tiny_tokenizer())
    assert not policy.engine.plain_head
    with torch.no_grad():
        capped.get_output_embeddings().weight.mul_(3000)  # the weights move
    ids = [row.numpy() for row in IDS]
    with torch.no_grad():
        first = policy.start(ids, slots=len(ids), room=1).fill(np.arange(len(ids)), np.arange(len(ids)))
        torch.testing.assert_close(first, logits(capped)[:, -1])
    assert WholeModel(small_model("gemma2", final_logit_softcapping=None)).plain_head


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("gpt2", {"c_attn"}),
        ("bloom", {"query_key_value"}),
        ("falcon", {"query_key_value"}),
        ("gpt_neox", {"query_key_value"}),
        ("opt", {"q_proj", "v_proj"}),
        ("phi", {"q_proj", "v_proj", "fc1", "fc2"}),
        ("mixtral", {"q_proj", "v_proj"}),
        ("qwen3_moe", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
    ],
)
def test_default_layers_are_the_architectures_own(kind: str, layers: set[str]) -> None:
    model = small_model(kind)
    assert set(usual_targets(model)) == layers
    add_adapter(model, Lora(rank=2))
    assert {name.rsplit(".", 1)[-1] for name in wrapped_layers(model)} == layers


@pytest.mark.parametrize("method", ["bitsandbytes", "awq", "gptq", "compressed-tensors"])
def test_quantised_folders_are_refused_in_words(method: str, tmp_path: Path) -> None:
    from rung.models.language.size import shape_of

    folder = folder_of("qwen2", tmp_path)
    rewritten(folder, "config.json", quantization_config={"quant_method": method, "bits": 4, "load_in_4bit": True})
    for refused in (load_policy, shape_of):
        with pytest.raises(DataError, match=f"{method}.*give the model that it was made from"):
            refused(str(folder))


def test_what_transformers_cannot_run_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("gpt2")
    monkeypatch.setattr(model, "forward", lambda **_: (_ for _ in ()).throw(ValueError("no kernel\nhere")))
    with pytest.raises(DataError, match=r"GPT2LMHeadModel cannot be run here .*ValueError: no kernel\)"):
        TextPolicy(model, tiny_tokenizer())
    with pytest.raises(SettingsError, match="quantised"):
        model.is_quantized = True
        as_policy((model, tiny_tokenizer()))


def test_a_reward_model_is_tried_too() -> None:
    assert list(RewardModel(policy_of("qwen2")).tried()) == []
    with pytest.raises(SettingsError, match="transformers has no classifier for BambaForCausalLM"):
        list(RewardModel(policy_of("bamba")).tried())
