from __future__ import annotations

from pathlib import Path

import torch

from rung.models.language.load import load_policy
from rung.models.language.tiny import CHARACTERS, tiny_model


def test_equal_seeds_give_equal_weights_and_no_global_number_is_used() -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, again, other = tiny_model(1), tiny_model(1), tiny_model(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, again.state()[name]) for name, t in first.state().items())
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(first.state()[name], other.state()[name])


def test_its_size_is_stated() -> None:
    policy = tiny_model(0)
    assert 500_000 < sum(p.numel() for p in policy.model.parameters()) < 1_000_000
    assert policy.engine_reason is None and policy.context_length == 512


def test_every_character_goes_there_and_back() -> None:
    policy = tiny_model(0)
    ids = policy.encode(CHARACTERS)
    assert len(ids) == len(CHARACTERS) + 1 and policy.decode(ids) == CHARACTERS
    assert policy.tokenizer.unk_token_id not in ids
    assert policy.encode("é")[1] == policy.tokenizer.unk_token_id
    for text in ("a b", " a", "a  b ", "\n\n1 \n"):
        assert policy.decode(policy.encode(text)) == text


def test_the_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    policy = tiny_model(0)
    policy.save(tmp_path)
    again = load_policy(str(tmp_path))
    for text in (CHARACTERS, "12 + 3 = ", "é<eos>"):
        assert again.encode(text).tolist() == policy.encode(text).tolist()
    assert again.tokenizer.pad_token == "<pad>"
