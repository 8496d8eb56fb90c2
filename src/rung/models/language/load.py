"""Loading a policy by name: a Hugging Face folder, a hub id, or a GGUF file.

Loading never runs code that came with a model, and weights are read from safetensors only: `folder.py` looks at every
file first.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from rung.errors import DataError, SettingsError
from rung.models.language.building import bounded, configuration
from rung.models.language.folder import QUANTISED, ModelFolder, foreign, is_gguf, opened
from rung.models.language.lora import Lora, add_adapter, quiet
from rung.models.language.policy import TextPolicy
from rung.models.language.text_reader import TextReader, context_length, listed_ends, told_by
from rung.models.state import require_finite

Compute = Literal["float32", "bfloat16"]
FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
"""What is taken from the hub: no Python, no pickle."""


def load_policy(
    spec: str,
    *,
    lora: Lora | None = None,
    device: str | None = None,
    compute: Compute | None = None,
    seed: int = 0,
) -> TextPolicy:
    """The policy named by `spec`.

    Args:
        spec: a folder as `save_pretrained` writes it, a `*.gguf` file (imported once into the cache), or a hub id.
        lora: train low-rank adapters only; their first values are drawn from `seed`.
        device: "cpu", "cuda", ...; None: a GPU when there is one.
        compute: type of the matrix products; None: bfloat16 where the machine is fast at it, else float32. Weights
            and log-probabilities are float32 always.

    Raises:
        DataError: there is no such model, a file of it is not what it is named, it asks for code of its own, it has
            no safetensors, or its weights do not fit its configuration or are not finite.

    Example: `load_policy("runs/first/final", device="cpu")`.
    """
    from transformers import AutoModelForCausalLM

    held = opened(_folder(spec))
    if held.is_reward_model:
        raise DataError([f"model: {spec} is a reward model, expected a language model; give it as a reward: --reward"])
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model, tokenizer = read_model(AutoModelForCausalLM, held)
    if lora is not None:
        add_adapter(model, lora, seed=seed)  # before the move, so that every device gets the same first values
    model.to(place)
    with foreign(f"model: {held.path} could not be made ready"):
        policy = TextPolicy(model, tokenizer, compute_dtype=compute_type(compute, place))
    if left := _left_out(model, held):
        policy.notes = (f"model: {type(model).__name__} has no place for {left} of {spec}, so they are not saved",)
    return policy


def as_policy(
    given: Any,
    *,
    lora: Lora | None = None,
    device: str | None = None,
    compute: Compute | None = None,
    seed: int = 0,
) -> TextPolicy:
    """A model that is in memory already, as a policy: `(model, tokenizer)`, or a policy as it is.

    The model itself is trained: its weights change. They are brought to float32.
    """
    if isinstance(given, TextPolicy):
        return given
    model, tokenizer = _both(given)
    if getattr(model, "is_quantized", False):
        raise SettingsError([f"model: {QUANTISED}; load it without quantisation, and give it with lora"])
    place = torch.device(device) if device is not None else next(model.parameters()).device
    model = model.float().eval()
    require_finite("model: the weights of what was given", dict(model.named_parameters()), DataError)
    if lora is not None:
        add_adapter(model, lora, seed=seed)
    model.to(place)
    return TextPolicy(model, tokenizer, compute_dtype=compute_type(compute, place))


def as_reader(given: Any) -> TextReader:
    """How a model that is in memory already reads text: as `as_policy`, which leaves it as it is."""
    if isinstance(given, TextPolicy):
        return given
    model, tokenizer = _both(given)
    return TextReader(tokenizer, **told_by(model))


def _both(given: Any) -> tuple[Any, Any]:
    if not isinstance(given, tuple) or len(given) != 2:
        raise SettingsError([f"model: got a {type(given).__name__} alone, expected (model, tokenizer)"])
    return given


def read_tokens(spec: str) -> TextReader:
    """How the model named by `spec` reads text; no weight is loaded. DataError where there is no such model."""
    from transformers import GenerationConfig

    folder = _folder(spec, [name for name in FILES if name != "*.safetensors"])
    config = configuration(folder, opened(folder, weights=False).config)
    try:
        ends = listed_ends(GenerationConfig.from_pretrained(folder, local_files_only=True))
    except (OSError, ValueError):  # most models have none; its own faults are for those who load it
        ends = listed_ends(config)
    return TextReader(
        read_tokenizer(folder),
        context_length=context_length(config),
        end_ids=ends,
        num_embeddings=getattr(config.get_text_config(), "vocab_size", None),
    )


def _folder(spec: str, files: Sequence[str] = FILES) -> Path:
    path = Path(spec).expanduser()
    if is_gguf(path):
        from rung.models.language.gguf import imported

        return imported(path)
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(spec, allow_patterns=list(files)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise nowhere(spec, error) from error


def nowhere(spec: str, error: Exception) -> DataError:
    """What to raise for a name that is no file here and could not be had from the hub."""
    return DataError(
        [
            f"model: '{spec}' is neither a folder nor a .gguf file here, nor could it be had from the hub "
            f"({type(error).__name__}: {str(error).splitlines()[0]})"
        ]
    )


def _left_out(model: Any, held: ModelFolder) -> str:
    """The weights that transformers passes over without a word, such as a vision tower beside the language model."""
    patterns = "|".join(model._keys_to_ignore_on_load_unexpected or ())
    lost = [name for name in held.shapes if patterns and name.endswith("weight") and re.search(patterns, name)]
    parts = Counter(re.split(r"\.\d+\.|\.[^.]*\.weight", name)[0] for name in lost)
    return ", ".join(f"{part} ({count} weights)" for part, count in sorted(parts.items())[:5])


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder that was looked at."""
    from transformers import AutoTokenizer

    with foreign(f"model: the tokenizer of {folder} could not be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        tokenizer.decode(tokenizer("a")["input_ids"])  # what cannot read one letter will not read a prompt
    return tokenizer


def read_model(auto: Any, held: ModelFolder) -> tuple[Any, Any]:
    """The model, by one of transformers' auto classes, and its tokenizer. Nothing lacks, every number is finite."""
    folder = held.path
    configuration(folder, held.config)
    tokenizer = read_tokenizer(folder)
    with foreign(f"model: {folder} could not be loaded"), quiet(), bounded(f"model: {folder}", held.numbers):
        model, info = auto.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are said below
            output_loading_info=True,
        )
    problems = [f"model: {folder}: the weights lack {name}" for name in sorted(info["missing_keys"])[:5]]
    problems += [
        f"model: {folder}: {name} has the shape {tuple(got)}, expected {tuple(expected)} by config.json"
        for name, got, expected in sorted(info["mismatched_keys"])[:5]
    ]
    if problems:
        raise DataError(problems)
    require_finite(f"model: {folder}: the weights", dict(model.named_parameters()), DataError)
    if info["unexpected_keys"]:
        some = ", ".join(sorted(info["unexpected_keys"])[:5])
        warnings.warn(f"{folder}: weights that the architecture has no place for were left out: {some}", stacklevel=3)
    return model, tokenizer


def compute_type(compute: Compute | None, place: torch.device) -> torch.dtype:
    """Of the matrix products: what was asked for, else what RUNG_COMPUTE says, else bfloat16 where the machine is fast
    at it."""
    usual = os.environ.get("RUNG_COMPUTE") or _fast_type(place)
    if usual not in get_args(Compute):
        raise SettingsError([f"RUNG_COMPUTE: got {usual!r}, expected float32 or bfloat16; unset it or correct it"])
    return torch.bfloat16 if (compute or usual) == "bfloat16" else torch.float32


def _fast_type(device: torch.device) -> Compute:
    """bfloat16 on a GPU that has it, and on a CPU only with instructions for it: emulated it is ten times slower."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    flags = Path("/proc/cpuinfo")
    words = set(flags.read_text().split()) if flags.is_file() else set()
    return "bfloat16" if words & {"avx512_bf16", "amx_bf16"} else "float32"


def differing_tokens(policy: TextPolicy, other: TextPolicy) -> str | None:
    """Why `other` cannot read `policy`'s tokens, in words; None when every token has one number in both.

    A model may have more rows than its tokenizer has tokens; what counts is that `other` has one for each token.
    """
    mine: dict[str, int] = policy.tokenizer.get_vocab()
    theirs: dict[str, int] = other.tokenizer.get_vocab()
    rows = int(other.model.get_output_embeddings().weight.shape[0])
    if len(mine) != len(theirs):
        return f"has a tokenizer of {len(theirs)} tokens, the model's has {len(mine)}"
    for token, number in sorted(mine.items(), key=lambda item: item[1]):
        if theirs.get(token) != number:
            return f"numbers the token {token!r} {theirs.get(token, 'not at all')}, the model numbers it {number}"
    if max(mine.values()) >= rows:
        return f"has {rows} output rows, too few for the token number {max(mine.values())}"
    return None


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over every weight's name, shape, type and bytes; a LoRA adapter's own weights are not part of it, so it
    is the base's. Of a tensor above 16 MiB only 256 blocks are read, evenly spread: a change between them is not seen.

    >>> fingerprint(nn.Linear(2, 2)) == fingerprint(nn.Linear(2, 2))
    False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" in name:
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        held = tensor.detach().contiguous().view(-1)
        for block in sampled(held.view(torch.uint8) if held.numel() else held):
            digest.update(block.cpu().numpy().tobytes())
    return digest.hexdigest()


def sampled(bytes_N: Any) -> list[Any]:
    """All of a tensor's or an array's bytes, or of more than 16 MiB 256 blocks of 64 KiB from the first to the last."""
    block, blocks, total = 2**16, 256, len(bytes_N)
    if total <= block * blocks:
        return [bytes_N]
    starts = (number * (total - block) // (blocks - 1) for number in range(blocks))
    return [bytes_N[start : start + block] for start in starts]
