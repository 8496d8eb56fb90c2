from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rung.errors import DataError
from rung.models.language import load
from rung.models.language.load import load_policy
from rung.models.language.lora import Lora
from rung.models.language.tiny import tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model(0).save(tmp_path / "model")
    return tmp_path / "model"


def _edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


CODE = "from pathlib import Path\nPath(__file__).with_name('it_ran').touch()\nclass Model: pass\n"
REQUEST = {"auto_map": dict.fromkeys(("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"), "evil.Model")}


def test_a_model_that_asks_for_code_is_refused(folder: Path) -> None:
    (folder / "evil.py").write_text(CODE)
    _edit(folder / "config.json", model_type="evil", **REQUEST)
    with pytest.raises(DataError, match=r"does not know the architecture 'evil', and asks for code of its own"):
        load_policy(str(folder))
    assert not (folder / "it_ran").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_code_beside_an_architecture_that_transformers_has_is_not_run(folder: Path, name: str) -> None:
    (folder / "evil.py").write_text(CODE)
    _edit(folder / name, **REQUEST)
    assert load_policy(str(folder)).decode([15, 16]) == tiny_model(0).decode([15, 16])
    assert not (folder / "it_ran").exists()


def test_pickled_weights_are_not_read(folder: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"pytorch_model\.bin is a pickle, which can hold code and is never read"):
        load_policy(str(folder))


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.layers.2.mlp.up_proj.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"the weights lack model\.layers\.2\.mlp\.up_proj\.weight"):
        load_policy(str(folder))


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    _edit(folder / "config.json", intermediate_size=200)
    with pytest.raises(DataError):
        load_policy(str(folder))


def test_weights_without_a_place_are_said(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {**load_file(folder / "model.safetensors"), "value_head.weight": torch.zeros(1)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.warns(UserWarning, match=r"value_head\.weight"):
        load_policy(str(folder))


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"no config\.json"):
        load_policy(str(tmp_path))
    with pytest.raises(DataError, match=r"model\.gguf cannot be read"):
        load_policy(str(tmp_path / "model.gguf"))
    with pytest.raises(DataError, match=r"neither a folder nor a \.gguf file"):
        load_policy("no-such/model")
    with pytest.raises(DataError, match=r"neither a folder nor a \.gguf file"):
        load_policy("../not/a/hub/id")


def test_an_adapter_without_its_base_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="holds a LoRA adapter, expected a whole model"):
        load_policy(str(folder))


def test_weights_are_float32_whatever_the_file_has(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {k: t.bfloat16() for k, t in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _edit(folder / "config.json", dtype="bfloat16")
    policy = load_policy(str(folder))
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}


def test_bfloat16_compute_only_where_the_machine_has_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for flags, expected in (("avx2", "float32"), ("avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16")):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_text", lambda _self, *_a, f=flags, **_k: f"flags : fpu {f} sse")
            assert load._fast_type(cpu) == expected
    assert load_policy(str(folder), compute="bfloat16").compute_dtype == torch.bfloat16
    assert load_policy(str(folder), compute="float32").compute_dtype == torch.float32


def test_lora_is_drawn_from_the_seed(folder: Path) -> None:
    lora = Lora(rank=2, alpha=4)
    first, again, other = (load_policy(str(folder), lora=lora, seed=s) for s in (1, 1, 2))
    assert all(torch.equal(t, again.state()[name]) for name, t in first.state().items())
    assert any(not torch.equal(t, other.state()[name]) for name, t in first.state().items())
