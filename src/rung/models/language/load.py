"""Loading a policy by name: a Hugging Face folder, a hub id, or a GGUF file.

Loading never runs code that came with a model: configurations that ask for it are refused, weights are read from
safetensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from rung.errors import DataError, SettingsError
from rung.models.language.lora import Lora, add_adapter, quiet
from rung.models.language.policy import TextPolicy

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
        DataError: there is no such model, it asks for code of its own, it has no safetensors, or its weights do not
            fit its configuration.

    Example: `load_policy("runs/first/final", device="cpu")`.
    """
    folder = _folder(spec)
    refuse_code(folder)
    if is_reward_model(folder):
        raise DataError([f"model: {spec} is a reward model, expected a language model; give it as a reward: --reward"])
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model, tokenizer = _read(folder)
    if lora is not None:
        add_adapter(model, lora, seed=seed)  # before the move, so that every device gets the same first values
    model.to(place)
    return TextPolicy(model, tokenizer, compute_dtype=compute_type(compute, place))


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
    if not isinstance(given, tuple) or len(given) != 2:
        raise SettingsError([f"model: got a {type(given).__name__} alone, expected (model, tokenizer)"])
    model, tokenizer = given
    place = torch.device(device) if device is not None else next(model.parameters()).device
    model = model.float().eval()
    if lora is not None:
        add_adapter(model, lora, seed=seed)
    model.to(place)
    return TextPolicy(model, tokenizer, compute_dtype=compute_type(compute, place))


def _folder(spec: str) -> Path:
    path = Path(spec).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise DataError([f"model: there is no file {spec}"])
        from rung.models.language.gguf import imported

        return imported(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise DataError([f"model: {spec} has no config.json, expected a Hugging Face model folder"])
        if (path / "adapter_config.json").is_file():
            raise DataError([f"model: {spec} holds a LoRA adapter, expected a whole model: merge it into its base"])
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(spec, allow_patterns=list(FILES)))
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


def is_reward_model(folder: Path) -> bool:
    """Whether a folder's configuration names a sequence classification."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    names = config.get("architectures") if isinstance(config, dict) else None
    return isinstance(names, list) and any(str(name).endswith("ForSequenceClassification") for name in names)


def refuse_code(folder: Path) -> None:
    """A configuration with `auto_map`, at any depth, names Python code that came with the model."""
    for file in sorted(folder.glob("*.json")):
        if file.name in ("tokenizer.json", "vocab.json") or file.name.endswith(".index.json"):
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError([f"{file}: not readable as JSON ({error})"]) from error
        if _mentions(content, "auto_map"):
            raise DataError(
                [
                    f"{file}: asks for code of its own (auto_map), which rung does not run: "
                    "use a model whose architecture is part of transformers"
                ]
            )


def _mentions(content: Any, key: str) -> bool:
    if isinstance(content, dict):
        return key in content or any(_mentions(value, key) for value in content.values())
    return isinstance(content, list) and any(_mentions(value, key) for value in content)


def _read(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        with quiet():
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DataError([f"model: {folder} could not be loaded: {error}"]) from error
    problems = [f"{folder}: the weights lack {name}" for name in sorted(info["missing_keys"])[:5]]
    problems += [f"{folder}: {wrong}" for wrong in [str(w) for w in info.get("mismatched_keys", ())][:5]]
    if problems:
        raise DataError(problems)
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
    is the base's.

    >>> fingerprint(nn.Linear(2, 2)) == fingerprint(nn.Linear(2, 2))
    False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" in name:
            continue
        held = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(held.shape)} {held.dtype}".encode())
        digest.update(held.view(-1).view(torch.uint8).numpy().tobytes() if held.numel() else b"")
    return digest.hexdigest()
