"""Writing a model: an ordinary Hugging Face folder that is complete, tried once before training with empty weights.

What is written is compared with the state of the model that it is for, and loaded again without its numbers.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from rung.errors import DataError, RungError
from rung.models.language.lora import quiet

TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.bool: "BOOL"}
TYPES |= {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8"}
"""The names of types in a safetensors header."""


def save_model(model: Any, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write configuration and this state, in float32 safetensors, as an ordinary Hugging Face folder."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        ordinary = type(model)(copy.deepcopy(model.config))  # a save writes into the configuration
    if hasattr(model, "_weight_conversions"):  # the names that the weights were loaded by
        ordinary._weight_conversions = model._weight_conversions
    write(ordinary, state, folder, reader=AutoModelForCausalLM)
    if (folder / "generation_config.json").is_file():  # as it is: transformers would refuse some that it reads
        model.generation_config.to_json_file(folder / "generation_config.json")


def write(network: Any, state: Mapping[str, Tensor], folder: Path, *, reader: Any) -> None:
    """Write these weights as those of `network`, which may be on the meta device, and have `reader`, the class of
    transformers that people load it with, read the headers again.

    DataError when a weight is missing, of another shape, or not found again.
    """
    wanted = network.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in state]
    wrong += [f"{name} has no place" for name in state if name not in wanted]
    wrong += [
        f"{name} is {tuple(state[name].shape)} in place of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if not wrong:
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            network.save_pretrained(folder, state_dict=dict(state))
            _, found = reader.from_pretrained(folder, device_map="meta", output_loading_info=True)
        wrong = [f"{name} is not found again" for name in sorted(found["missing_keys"])]
        wrong += [f"{name} is written and not read" for name in sorted(found["unexpected_keys"])]
        wrong += [f"{one} is read otherwise" for one in found["mismatched_keys"]]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise DataError([f"model: a {type(network).__name__} cannot be written whole: {'; '.join(wrong[:3])}{more}"])


def try_writing(save: Callable[[Path], None]) -> None:
    """Save to a folder that is thrown away, with weights that take no space, and read everything again.

    DataError says what cannot be written or read.
    """
    from transformers import AutoConfig, AutoTokenizer

    with TemporaryDirectory() as name, _empty_weights():
        try:
            save(Path(name))
            AutoConfig.from_pretrained(name)
            AutoTokenizer.from_pretrained(name)
        except RungError:
            raise
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0][:300]
            raise DataError(
                [f"model: what is trained could not be saved, tried before training: {type(error).__name__}: {first}"]
            ) from error


@contextmanager
def _empty_weights() -> Iterator[None]:
    """While inside, transformers writes weight files with a true header and a hole in place of the numbers."""
    from transformers import modeling_utils

    real = modeling_utils.safe_save_file
    modeling_utils.safe_save_file = _write_header
    try:
        yield
    finally:
        modeling_utils.safe_save_file = real


def _write_header(tensors: Mapping[str, Tensor], filename: str, metadata: Mapping[str, str] | None = None) -> None:
    header: dict[str, Any] = {"__metadata__": dict(metadata or {})}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with Path(filename).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
