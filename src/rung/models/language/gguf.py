"""GGUF import: a file becomes an ordinary Hugging Face folder, once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rung.errors import DataError, MissingExtra, SettingsError
from rung.models.language.building import bounded
from rung.models.language.folder import foreign
from rung.models.language.gguf_header import stored_numbers
from rung.models.language.lora import quiet
from rung.models.state import require_finite
from rung.whole_files import cache_folder, folder_written_aside, made_once


@contextmanager
def made_in_cache(folder: Path) -> Iterator[bool]:
    """Whether this folder of the cache is still to be made, by this process alone. SettingsError where the cache takes
    none, before anything is made."""
    if folder.is_dir():
        yield False
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent):
            pass
    except OSError as error:
        raise SettingsError(
            f"the cache {folder.parent} cannot be written ({error.strerror}), expected a folder that takes files: "
            "set RUNG_CACHE to one"
        ) from error
    with made_once(folder) as to_make:
        yield to_make


def imported(file: Path) -> Path:
    """The folder with the dequantised float32 weights and the tokenizer of `file`.

    It is made on the first call (20 s and 538 MB for 135 million parameters) and found again by the file's content.
    A folder that is there is complete.

    Raises:
        MissingExtra: the gguf package is not installed.
        DataError: the file is no GGUF, or of an architecture that transformers cannot read from one.
        SettingsError: the cache cannot be written.
    """
    numbers = stored_numbers(file)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    folder = cache_folder() / "gguf" / f"{file.stem}-{digest[:16]}"
    with made_in_cache(folder) as to_make:
        if to_make:
            model, tokenizer = _read(file, numbers)
            with folder_written_aside(folder) as aside, quiet():
                model.save_pretrained(aside)
                tokenizer.save_pretrained(aside)
    return folder


@contextmanager
def alone(file: Path) -> Iterator[dict[str, Any]]:
    """What transformers is told to read a GGUF file by: in a folder of its own, for it would read other files beside
    it too, adapters among them. DataError for whatever it raises inside."""
    try:
        import gguf  # noqa: F401  (transformers reads GGUF through it)
    except ImportError as error:
        raise MissingExtra("Reading a GGUF file", "gguf") from error
    with tempfile.TemporaryDirectory(prefix="rung-") as folder, foreign(f"model: {file} could not be read as GGUF"):
        (Path(folder) / "model.gguf").symlink_to(file.resolve())
        yield {"pretrained_model_name_or_path": folder, "gguf_file": "model.gguf", "local_files_only": True}


def _read(file: Path, numbers: int) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with alone(file) as how, bounded(f"model: {file}", numbers):
        tokenizer = AutoTokenizer.from_pretrained(**how)
        model = AutoModelForCausalLM.from_pretrained(**how, dtype=torch.float32)
    require_finite(f"model: {file}: the weights", dict(model.named_parameters()), DataError)
    # It is an ordinary float32 model now; what is left of the quantisation would be written into its configuration.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model, tokenizer
