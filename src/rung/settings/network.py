"""A model's size and shape, read from its config.json and the headers of its weight files; no weight is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from rung.errors import DataError, MissingExtra

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of the Llama family, by their own names; what LoRA changes when nothing else is asked for."""
LARGEST_HEADER = 100 * 2**20
"""Bytes; safetensors itself allows no more."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What memory depends on.

    Example: SmolLM2-135M has `parameters=134_515_008, layers=30, width=576, inner_width=1536, kv_width=192`.
    """

    parameters: int
    layers: int
    width: int
    inner_width: int
    """Of the feed-forward layers."""
    kv_width: int
    """Key heads times the width of one."""
    vocabulary: int
    context_length: int | None
    linear: Mapping[str, int]
    """Linear layer's name → ∑ over the layers of (inputs + outputs): a LoRA of rank r adds r times this."""
    counted: bool
    """The parameters were counted in the weight files; otherwise they follow from config.json."""

    def lora_parameters(self, rank: int, targets: Sequence[str] | None) -> int:
        """How many weights a LoRA of this rank trains."""
        return rank * sum(self.linear.get(name, 0) for name in targets or LINEAR_LAYERS)


TINY = Network(
    parameters=800_384,
    layers=4,
    width=128,
    inner_width=384,
    kv_width=64,
    vocabulary=100,
    context_length=512,
    linear={
        "q_proj": 1024,
        "k_proj": 768,
        "v_proj": 768,
        "o_proj": 1024,
        "gate_proj": 2048,
        "up_proj": 2048,
        "down_proj": 2048,
    },
    counted=True,
)
"""`--model tiny`, which is made when it is first used."""
TINY_SPECIAL = 4
"""Of its tokens: those that stand for no character."""


def tiny_network(characters: str | None) -> Network:
    """The tiny model of a task that is written with these characters alone; None: with any.

    >>> tiny_network("0123456789=").vocabulary
    15
    """
    if characters is None:
        return TINY
    vocabulary = len(characters) + TINY_SPECIAL
    return replace(
        TINY, vocabulary=vocabulary, parameters=TINY.parameters + TINY.width * (vocabulary - TINY.vocabulary)
    )


SMALL = "small"
"""As a model: a small network, for environments."""


def small_network(observations: int, outputs: int, hidden: Sequence[int]) -> Network:
    """The network of a small policy with these hidden layers, its critic left out."""
    return Network(
        parameters=sum((before + 1) * after for before, after in pairwise((observations, *hidden, outputs))),
        layers=len(hidden),
        width=max(hidden),
        inner_width=0,
        kv_width=0,
        vocabulary=outputs,
        context_length=None,
        linear={},
        counted=True,
    )


def table(numbers: int) -> Network:
    """A table with so many numbers, which is no network."""
    return Network(
        parameters=numbers,
        layers=0,
        width=0,
        inner_width=0,
        kv_width=0,
        vocabulary=2,
        context_length=None,
        linear={},
        counted=True,
    )


def network_of(model: str) -> Network:
    """The network of a folder, a `.gguf` file, a hub id or `tiny`. DataError when there is no such model."""
    if model == "tiny":
        return TINY
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        return _of_gguf(path)
    if path.is_dir():
        return _of_folder(path)
    return _of_folder(_hub_config(model).parent)


def from_config(config: Mapping[str, Any], where: str) -> Network:
    """The network that a config.json describes, its parameters as those of the Llama family.

    DataError when the sizes are not in it.
    """
    text = config.get("text_config")
    config = text if isinstance(text, Mapping) else config
    width = _size(config, where, "hidden_size", "n_embd", "d_model")
    layers = _size(config, where, "num_hidden_layers", "n_layer", "num_layers")
    heads = _size(config, where, "num_attention_heads", "n_head", "num_heads")
    inner = _size(config, where, "intermediate_size", "n_inner", "ffn_dim", otherwise=4 * width)
    head_width = _size(config, where, "head_dim", otherwise=width // heads)
    kv_width = head_width * _size(config, where, "num_key_value_heads", otherwise=heads)
    vocabulary = _size(config, where, "vocab_size")
    outputs = dict.fromkeys(("q_proj", "o_proj"), heads * head_width) | dict.fromkeys(("k_proj", "v_proj"), kv_width)
    linear = {name: width + outputs.get(name, inner) for name in LINEAR_LAYERS}
    weights = sum(width * (both - width) for both in linear.values()) + 2 * width
    tables = 1 if config.get("tie_word_embeddings") else 2
    context = config.get("max_position_embeddings", config.get("n_positions"))
    return Network(
        parameters=tables * vocabulary * width + layers * weights + width,
        layers=layers,
        width=width,
        inner_width=inner,
        kv_width=kv_width,
        vocabulary=vocabulary,
        context_length=context if isinstance(context, int) else None,
        linear={name: layers * both for name, both in linear.items()},
        counted=False,
    )


def _size(config: Mapping[str, Any], where: str, *names: str, otherwise: int | None = None) -> int:
    found = next((config[name] for name in names if config.get(name) is not None), otherwise)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise DataError([f"model: {where} says {names[0]} = {found!r}, expected a whole number above 0"])
    return found


def _of_folder(folder: Path) -> Network:
    file = folder / "config.json"
    if not file.is_file():
        final = folder / "final"
        hint = f"; did you mean '{final}'?" if (final / "config.json").is_file() else ""
        raise DataError([f"model: {folder} has no config.json, expected a Hugging Face model folder{hint}"])
    network = from_config(_json(file.read_bytes(), file), str(file))
    shapes = dict(_weight_shapes(folder))
    return _counted(network, shapes) if shapes else network


def _counted(network: Network, shapes: Mapping[str, Sequence[int]]) -> Network:
    linear: dict[str, int] = {}
    for name, shape in shapes.items():
        parts = name.split(".")
        if len(shape) == 2 and len(parts) > 2 and parts[-1] == "weight" and any(part.isdigit() for part in parts):
            linear[parts[-2]] = linear.get(parts[-2], 0) + sum(shape)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    return Network(**{**vars(network), "parameters": parameters, "linear": linear, "counted": True})


def _weight_shapes(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Every tensor's name and shape, from the files' headers alone."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_json(index.read_bytes(), index).get("weight_map", {}).values()))
        files = [folder / Path(str(name)).name for name in names]
    else:
        files = [folder / "model.safetensors"]
    if not all(file.is_file() for file in files):
        return
    for file in files:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > min(LARGEST_HEADER, file.stat().st_size):
                raise DataError([f"model: {file} is no safetensors file (its header would be {length:,} bytes)"])
            header = _json(opened.read(length), file)
        for name, entry in header.items():
            if name != "__metadata__" and isinstance(entry, Mapping) and isinstance(entry.get("shape"), list):
                yield name, [int(size) for size in entry["shape"]]


def _json(data: bytes, file: Path) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError([f"model: {file} cannot be read as JSON: {error}"]) from error
    if not isinstance(content, dict):
        raise DataError([f"model: {file} holds {type(content).__name__}, expected an object"])
    return content


def _of_gguf(path: Path) -> Network:
    if not path.is_file():
        raise DataError([f"model: there is no file {path}"])
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise MissingExtra("A GGUF model", "gguf") from error
    try:
        reader = GGUFReader(path)
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise DataError([f"model: {path} is no GGUF file: {error}"]) from error

    def value(key: str) -> Any:
        found = reader.get_field(key)
        return None if found is None else found.contents()

    kind = value("general.architecture")
    vocabulary = reader.get_field("tokenizer.ggml.tokens")
    config = {
        "hidden_size": value(f"{kind}.embedding_length"),
        "num_hidden_layers": value(f"{kind}.block_count"),
        "num_attention_heads": value(f"{kind}.attention.head_count"),
        "num_key_value_heads": value(f"{kind}.attention.head_count_kv"),
        "intermediate_size": value(f"{kind}.feed_forward_length"),
        "max_position_embeddings": value(f"{kind}.context_length"),
        "vocab_size": None if vocabulary is None else len(vocabulary.data),
    }
    network = from_config(config, str(path))
    parameters = sum(math.prod(int(size) for size in tensor.shape) for tensor in reader.tensors)
    return Network(**{**vars(network), "parameters": parameters, "counted": True})


def _hub_config(model: str) -> Path:
    """A hub model's config.json: from the cache, or this one small file from the hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(model, "config.json"))
    except (HFValidationError, HfHubHTTPError, OSError, ValueError) as error:
        raise DataError(
            [
                f"model: '{model}' is neither a folder nor a .gguf file here, nor could it be had from the hub "
                f"({type(error).__name__}: {str(error).splitlines()[0]})"
            ]
        ) from error
