"""GGUF import: a file becomes an ordinary Hugging Face folder, once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch

from rung.errors import DataError, MissingExtra
from rung.models.language.lora import quiet
from rung.whole_files import folder_written_aside


def cache_folder() -> Path:
    """Where rung keeps what it can make again: $RUNG_CACHE, or ~/.cache/rung."""
    return Path(os.environ.get("RUNG_CACHE") or Path.home() / ".cache" / "rung")


def imported(file: Path) -> Path:
    """The folder with the dequantised float32 weights and the tokenizer of `file`.

    It is made on the first call (20 s and 538 MB for 135 million parameters) and found again by the file's content.
    A folder that is there is complete.

    Raises:
        MissingExtra: the gguf package is not installed.
        DataError: the file is no GGUF, or of an architecture that transformers cannot read from one.
    """
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    folder = cache_folder() / "gguf" / f"{file.stem}-{digest[:16]}"
    if folder.is_dir():
        return folder
    with folder_written_aside(folder, first_wins=True) as aside, quiet():
        model, tokenizer = _read(file)
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
    return folder


def _read(file: Path) -> tuple[Any, Any]:
    try:
        import gguf  # noqa: F401  (transformers reads GGUF through it)
    except ImportError as error:
        raise MissingExtra("Reading a GGUF file", "gguf") from error
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise DataError([f"{file}: could not be read as GGUF: {error}"]) from error
    # It is an ordinary float32 model now; what is left of the quantisation would be written into its configuration.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model, tokenizer
