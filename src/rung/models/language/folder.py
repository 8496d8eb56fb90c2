"""A model's folder, as strangers give it: looked at before anything else reads it.

Every file that would be read is a plain file inside the folder and of a bounded size. Nothing is run and no pickle is
read, whichever file names it: transformers is given a folder only after this, and only weights in safetensors. Other
files in the folder are nobody's business.
"""

from __future__ import annotations

import fnmatch
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rung.errors import DataError, RungError

CONFIG, INDEX, WEIGHTS = "config.json", "model.safetensors.index.json", "model.safetensors"
ACTORS = ("small_policy", "q_network", "box_policy")
"""Names of the files of policies that act in environments."""
MIB = 2**20
MOST_BYTES: Mapping[str, int] = {
    CONFIG: 16 * MIB,
    "generation_config.json": MIB,
    "tokenizer_config.json": 64 * MIB,
    "special_tokens_map.json": 16 * MIB,
    "added_tokens.json": 64 * MIB,
    INDEX: 64 * MIB,
    "tokenizer*": 256 * MIB,
    "vocab*": 64 * MIB,
    "merges*": 64 * MIB,
    "tekken.json": 64 * MIB,
    "chat_template*": MIB,
    "*.model": 64 * MIB,
    "*.tiktoken": 64 * MIB,
}
"""The files beside the weights that may be read, and how long each may be: ten times what models have."""
OBJECTS = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
MOST_LAYERS, MOST_PARTS, MOST_NUMBERS = 1000, 100_000, 1 << 50
"""A configuration with more is not built: it would take minutes or all the memory, and no model has so many."""
PARTS = ("block", "depth", "expert", "head", "label", "stage")
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "n_embd",
    "n_layer",
    "n_head",
    "n_positions",
    "d_model",
    "num_layers",
    "num_heads",
)
"""What is a whole number above 0 wherever it stands."""
QUANTISED = "its weights are quantised, to which no update can be added"
EXPECTED = "expected a Hugging Face model folder, as save_pretrained writes it"


@dataclass(frozen=True)
class ModelFolder:
    """A folder that was looked at. Example: `opened(Path("SmolLM2")).config["model_type"]` is "llama"."""

    path: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...] = ()
    """The safetensors files that make the model, none of them but by name."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Every stored tensor's shape, from the files' headers."""

    @property
    def is_reward_model(self) -> bool:
        """Whether its configuration names a sequence classification."""
        names = self.config.get("architectures")
        return isinstance(names, list) and any(str(name).endswith("ForSequenceClassification") for name in names)

    @property
    def numbers(self) -> int:
        """How many numbers the weight files hold; quantised ones hold several in one, of a byte or four."""
        packed = 32 if "quantization_config" in self.config else 1
        return packed * sum(math.prod(shape) for shape in self.shapes.values())


def opened(folder: Path, *, weights: bool = True) -> ModelFolder:
    """The folder with its configuration and what its weight files hold, where they are asked for.

    Raises DataError, naming the file, for a folder that holds something else, or a file that cannot be what it is
    named. No weight is read.
    """
    config = described(folder)
    for file in sorted(folder.iterdir()):
        limit = next((most for name, most in MOST_BYTES.items() if fnmatch.fnmatchcase(file.name, name)), None)
        if limit is not None:
            plain_file(file, folder, limit)
    for file in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        plain_file(file, folder, MIB)
    held = {name: json_object(folder / name, MOST_BYTES[name]) for name in OBJECTS if _there(folder / name)}
    for name, content in ((CONFIG, config), *held.items()):
        _require_ids(folder / name, content)
    files = _weights(folder) if weights else ()
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        shapes |= stored_shapes(file)
    return ModelFolder(folder, config, files, shapes)


def described(folder: Path) -> dict[str, Any]:
    """A model folder's configuration. DataError where there is none, or it must not be built."""
    _require_model(folder)
    config = json_object(plain_file(folder / CONFIG, folder), MOST_BYTES[CONFIG])
    require_sizes(folder / CONFIG, config)
    _refuse_quantised(folder / CONFIG, config)
    return config


def _refuse_quantised(file: Path, config: Mapping[str, Any]) -> None:
    """Weights of bitsandbytes, AWQ, GPTQ, compressed-tensors and their like. DataError says what to give."""
    for part in (config, *(one for one in config.values() if isinstance(one, dict))):
        how = part.get("quantization_config") or part.get("compression_config")
        if isinstance(how, dict):
            raise DataError(
                [
                    f"model: {file}: {QUANTISED} (quant_method {how.get('quant_method')!r}); give the model that it "
                    "was made from, in float32, float16 or bfloat16 (with lora where memory is short), or a "
                    ".gguf file, which is imported as float32"
                ]
            )


def is_reward_model(folder: Path) -> bool:
    """Whether a folder's configuration names a sequence classification; False where it cannot be read."""
    try:
        return ModelFolder(folder, described(folder)).is_reward_model
    except DataError:
        return False


def plain_file(file: Path, inside: Path | None, most_bytes: float = math.inf) -> Path:
    """The file, when it is one: no FIFO, device or folder, which may block whoever opens it, no link out of its folder,
    and not longer than it may be. A hub cache's own links into its `blobs` are its folder's. DataError otherwise."""
    try:
        real = file.resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError) as error:
        raise DataError([f"model: {file} cannot be read ({words(error)}), expected a file; {_AGAIN}"]) from error
    if inside is not None:
        home = inside.resolve()
        blobs = [home.parents[1] / "blobs"] if home.parent.name == "snapshots" else []
        if not any(real.is_relative_to(place) for place in (home, *blobs)):
            raise DataError([f"model: {file} leads out of its folder, to {real}; expected a file of its own: copy it"])
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no plain file but a pipe, a socket or a device"
        raise DataError([f"model: {file} is {kind}, expected a file; remove it, or {_AGAIN}"])
    if status.st_size > most_bytes:
        raise DataError([f"model: {file} has {status.st_size:,} bytes, expected at most {most_bytes:,.0f}; {_AGAIN}"])
    return file


_AGAIN = "get or export the model again"


def json_object(file: Path, most_bytes: int) -> dict[str, Any]:
    """What a plain file of JSON says. DataError, with the place, where it is no object."""
    try:
        content = json.loads(plain_file(file, None, most_bytes).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError([f"model: {file} cannot be read as JSON: {words(error)}; {_AGAIN}"]) from error
    if not isinstance(content, dict):
        raise DataError([f"model: {file} holds {_kind(content)}, expected an object {{...}}; {_AGAIN}"])
    return content


def require_sizes(file: Path, config: Mapping[str, Any]) -> None:
    """Raises DataError where a configuration cannot be a model's, or must not be built, before it is built.

    It asks for no architecture's rules, which transformers knows; only for what would take all the time or memory.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise DataError([f"model: {file} says model_type = {kind!r}, expected an architecture's name such as llama"])
    if "transformers_weights" in config:
        raise DataError(
            [f"model: {file} names another file of weights (transformers_weights), expected {WEIGHTS}; rename it"]
        )
    for key, value in _entries(config):
        where = f"model: {file}: {key} = {_short(value)}"
        if key.endswith("_implementation") and isinstance(value, str) and ("/" in value or ":" in value):
            raise DataError([f"{where} asks for code from the hub, which rung does not run; take it out of the file"])
        if isinstance(value, bool) or value is None:
            continue
        if key in SIZES and not isinstance(value, list) and not (isinstance(value, int) and 0 < value < MOST_NUMBERS):
            raise DataError([f"{where}, expected a whole number above 0; {_AGAIN}"])
        if isinstance(value, int) and value > _most(key):
            raise DataError([f"{where}, expected at most {_most(key):,}; {_AGAIN}"])


def _most(key: str) -> int:
    """The largest number that a configuration may have under this key."""
    if key.endswith(("layer", "layers")):
        return MOST_LAYERS
    counts = key.startswith(("n_", "num_")) and any(part in key for part in PARTS)
    return MOST_PARTS if counts else MOST_NUMBERS


def stored_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a safetensors file, from its header, which the library holds against the file's own
    length. DataError when it is none, is cut short, or its tensors overlap."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as held:
            return {name: tuple(held.get_slice(name).get_shape()) for name in held.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        short = f"model: {file} is no safetensors file, or not all of it: {words(error)}; {_AGAIN}"
        raise DataError([short]) from error


def is_gguf(path: Path) -> bool:
    """Whether a name is a GGUF file's, in whatever letters."""
    return path.suffix.lower() == ".gguf"


@contextmanager
def foreign(doing: str) -> Iterator[None]:
    """Whatever other libraries raise inside, said as DataError: what was being done, and their first line."""
    try:
        yield
    except (RungError, Warning):
        raise
    except Exception as error:
        raise DataError([f"{doing}: {words(error)}; {_AGAIN}"]) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of a library in Rust; it is no Exception
            raise
        raise DataError([f"{doing}: {words(error)}; {_AGAIN}"]) from error


def words(error: BaseException) -> str:
    """The first line of a foreign error, or two where it is but a heading, at most 300 characters of it, with its kind
    where it alone says little."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    said = " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:300]
    return said if " " in said else f"{type(error).__name__} {said}".strip()


def _require_model(folder: Path) -> None:
    """Raises DataError where the folder is something else than a model, with what to give in its place."""
    given = f"model: {folder}"
    has_config = _there(folder / CONFIG)
    if _there(folder / "adapter_config.json") or (not has_config and any(folder.glob("adapter_model.*"))):
        raise DataError(
            [f"{given} holds a LoRA adapter, expected a whole model: merge it into its base (peft: merge_and_unload)"]
        )
    if has_config:
        return
    if any((one / f"{name}.json").is_file() for one in (folder, folder / "final") for name in ACTORS):
        use = "rung.open(RUN).policy().act(observation), or score it by rung eval RUN"
        raise DataError([f"{given} holds what a run in an environment learnt, which acts and does not write: {use}"])
    run = next((one for one in (folder, *folder.absolute().parents[:2]) if (one / "settings.yaml").exists()), None)
    final = (run or folder) / "final"
    if (folder / "manifest.json").exists() and (folder / "policy.safetensors").exists():
        whose = f"of {run}: give the run's folder to rung eval, with --step" if run else "of a run"
        use = f"; to train on, give '{final}'" if final.is_dir() else ""
        raise DataError([f"{given} is a checkpoint {whose}; a checkpoint is no model folder{use}"])
    hint = f"; did you mean '{final}'?" if _there(final / CONFIG) else ""
    if run and not hint:
        hint = f"; it is a run that has no final model yet (rung resume {run})"
    raise DataError([f"{given} has no config.json, {EXPECTED}{hint}"])


def _weights(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that make the model: the one, or those that the index names. Never another kind."""
    if _there(folder / WEIGHTS):
        return (plain_file(folder / WEIGHTS, folder),)
    index = folder / INDEX
    if not _there(index):
        pickled = sorted(file.name for kind in PICKLES for file in folder.glob(kind))
        why = f"; its {pickled[0]} is a pickle, which can hold code and is never read" if pickled else ""
        raise DataError([f"model: {folder} has no {WEIGHTS}{why}; save the model as safetensors (save_pretrained)"])
    names = json_object(index, MOST_BYTES[INDEX])
    listed = names.get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(name, str) for name in listed.values()):
        raise DataError([f"model: {index}: weight_map is {_kind(listed)}, expected the file of each tensor; {_AGAIN}"])
    if not isinstance(names.setdefault("metadata", None), dict):
        raise DataError([f"model: {index}: metadata is {_kind(names['metadata'])}, expected an object; {_AGAIN}"])
    for name in sorted(set(listed.values())):
        if not name.endswith(".safetensors") or Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError([f"model: {index} names {name!r}, expected a .safetensors file in the folder; {_AGAIN}"])
    return tuple(plain_file(folder / name, folder) for name in sorted(set(listed.values())))


def _require_ids(file: Path, held: Mapping[str, Any]) -> None:
    """Token ids that say where an answer ends are whole numbers."""
    found = held.get("eos_token_id")
    for one in found if isinstance(found, list) else [found]:
        if one is not None and (isinstance(one, bool) or not isinstance(one, int)):
            raise DataError(
                [f"model: {file}: eos_token_id = {_short(found)}, expected a token's number, or a list of them"]
            )


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value at any depth; each number of a list under the list's key."""
    stack: list[tuple[str, Any]] = [("", content)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            stack += [(str(name), one) for name, one in value.items()]
        elif isinstance(value, list) and value and not isinstance(value[0], str):
            stack += [(key, one) for one in value]
        yield key, value


def _there(file: Path) -> bool:
    """Whether the name is taken, by whatever: a link to nothing too."""
    return os.path.lexists(file)


def _kind(content: Any) -> str:
    kinds = {list: "a list", str: "a text", type(None): "null", bool: "true or false", int: "a number"}
    return kinds.get(type(content), f"a {type(content).__name__}")


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) else f"{value:,}" if abs(value) < MOST_NUMBERS else "a huge number"
    return text if len(text) <= 60 else f"{text[:60]}..."
