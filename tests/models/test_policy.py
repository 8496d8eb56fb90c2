from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rung.batch import Batch
from rung.errors import CheckpointError, DataError
from rung.models.language.load import load_policy
from rung.models.language.policy import TextPolicy
from rung.models.language.text_reader import NO_LIMIT, context_length
from rung.models.language.tiny import tiny_model, tiny_tokenizer

Make = Callable[..., Any]
MESSAGES = ({"role": "user", "content": "hi"},)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_a_text_gets_the_beginning_token_once() -> None:
    policy = tiny_model(0)
    bos = policy.tokenizer.bos_token_id
    for prompt in ("2+3=", "<bos>2+3="):
        ids = policy.encode(prompt)
        assert ids.dtype == np.int64 and ids.ndim == 1
        assert (ids == bos).sum() == 1 and ids[0] == bos
        assert policy.decode(ids) == "2+3="
    assert policy.tokenizer.eos_token_id not in policy.encode("2+3=")


def test_a_tokenizer_without_beginning_token_adds_none() -> None:
    policy = tiny_model(0)
    policy.tokenizer._tokenizer.post_processor = None
    assert policy.encode("ab").tolist() == policy.tokenizer.convert_tokens_to_ids(["a", "b"])
    assert policy.encode("<bos>ab")[0] == policy.tokenizer.bos_token_id  # the text's own stays as it stands
    with pytest.raises(DataError, match="no tokens"):
        policy.encode("")


def test_an_end_token_that_the_tokenizer_adds_is_taken_off() -> None:
    from tokenizers import processors

    policy = tiny_model(0)
    ends = policy.tokenizer.eos_token_id
    policy.tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", policy.tokenizer.bos_token_id), ("<eos>", ends)]
    )
    assert ends not in policy.encode("ab")
    assert policy.encode("ab<eos>").tolist().count(ends) == 1


def test_messages_go_through_the_chat_template() -> None:
    policy = tiny_model(0)
    policy.tokenizer.chat_template = TEMPLATE
    ids = policy.encode(MESSAGES)
    assert (ids == policy.tokenizer.bos_token_id).sum() == 1
    assert policy.decode(ids) == "[user]hi[assistant]"


def test_messages_without_a_chat_template_are_refused() -> None:
    with pytest.raises(DataError, match="no chat template: give the prompt as a str"):
        tiny_model(0).encode(MESSAGES)


def test_messages_that_the_template_refuses(make_policy: Make) -> None:
    policy = tiny_model(0)
    policy.tokenizer.chat_template = "{{ raise_exception('only users may speak') }}"
    with pytest.raises(DataError, match="only users may speak"):
        policy.encode(MESSAGES)


def test_a_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(DataError, match="no valid Unicode"):
        tiny_model(0).encode("1\ud800")


def test_end_ids_are_those_of_tokenizer_and_generation_config() -> None:
    model = tiny_model(0).model
    tokenizer = tiny_tokenizer()
    model.generation_config.eos_token_id = [9, 2, 7, 100_000]  # the last has no embedding
    assert TextPolicy(model, tokenizer).end_ids == (2, 9, 7)
    model.generation_config.eos_token_id = 8
    assert TextPolicy(model, tokenizer).end_ids == (2, 8)
    model.generation_config.eos_token_id = None
    tokenizer.eos_token = None
    assert TextPolicy(model, tokenizer).end_ids == ()


def test_context_length_comes_from_the_configuration(make_policy: Make) -> None:
    assert make_policy("llama").context_length == 64
    assert make_policy("gpt2").context_length == 64
    for numbers, length in (({"n_positions": None, "seq_length": 7}, 7), ({}, NO_LIMIT)):
        assert context_length(SimpleNamespace(get_text_config=lambda n=numbers: SimpleNamespace(**n))) == length


def test_dropout_is_off(make_policy: Make, ragged: Batch) -> None:
    policy = make_policy("gpt2")  # its configuration has dropout 0.1
    policy.model.train()
    again = TextPolicy(policy.model, policy.tokenizer)
    assert not again.model.training
    assert torch.equal(again(ragged).log_probs_BT, again(ragged).log_probs_BT)


def test_the_reference_is_a_frozen_copy(make_policy: Make, ragged: Batch) -> None:
    policy = make_policy("qwen2")
    reference = policy.reference()
    before = policy(ragged).log_probs_BT.detach()
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.05)
    assert torch.equal(reference(ragged).log_probs_BT, before)
    assert (policy(ragged).log_probs_BT - before).abs().max() > 1e-3
    assert not reference.trainable() and not reference(ragged).log_probs_BT.requires_grad


def test_state_goes_into_an_equal_policy() -> None:
    policy, other = tiny_model(0), tiny_model(1)
    assert "lm_head.weight" not in policy.trainable()  # tied: once, under the embedding's name
    state = {name: t.clone() for name, t in policy.state().items()}
    other.load_state(state)
    for name, tensor in other.model.state_dict().items():
        assert torch.equal(tensor, policy.model.state_dict()[name])


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    policy, other = tiny_model(0), tiny_model(1)
    before = {name: t.clone() for name, t in other.state().items()}
    good = policy.state()
    name = next(iter(good))
    bad: list[tuple[dict[str, torch.Tensor], str]] = [
        ({k: v for k, v in good.items() if k != name}, f"{name} is missing"),
        ({**good, "extra": torch.zeros(1)}, "extra is no part of the trained weights of this model"),
        ({**good, name: good[name][:1]}, rf"{name}: got \(1, 128\)"),
        ({**good, name: good[name].half()}, "torch.float16"),
        ({}, r"\(and \d+ more\)"),
    ]
    for state, message in bad:
        with pytest.raises(CheckpointError, match=message):
            other.load_state(state)
    assert all(torch.equal(t, before[k]) for k, t in other.state().items())


def test_a_saved_policy_is_an_ordinary_folder(tmp_path: Path, ragged: Batch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    policy = tiny_model(3)
    policy.save(tmp_path / "final")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "final").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "final")
    ids = torch.from_numpy(policy.encode("12+30="))[None]
    assert tokenizer("12+30=")["input_ids"] == ids[0].tolist()
    assert torch.equal(model(input_ids=ids).logits, policy.model(input_ids=ids).logits)
    again = load_policy(str(tmp_path / "final"), device="cpu", compute="float32")
    assert again.end_ids == policy.end_ids and again.context_length == policy.context_length
    assert torch.equal(again(ragged).log_probs_BT, policy(ragged).log_probs_BT)
    suffixes = {file.suffix for file in (tmp_path / "final").iterdir()}
    assert suffixes <= {".json", ".safetensors", ".jinja"}


def test_decoding_bytes_that_are_no_text_does_not_fail() -> None:
    policy = tiny_model(0)
    assert policy.decode([policy.tokenizer.unk_token_id, policy.tokenizer.eos_token_id]) == "<unk>"
    assert policy.decode([]) == ""
    assert len(policy.token_texts()) == policy.model.config.vocab_size
