"""A model's size and shape, from its configuration built on torch's meta device; no weight is loaded.

An estimate never stops a run: where a size cannot be known, the shape says why. What is no model at all is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from rung.models.language.building import UnknownArchitecture, bounded, configuration
from rung.models.language.engine import HEADS, LAYERS, blocks_of, number
from rung.models.language.folder import ModelFolder, described, is_gguf, opened, words
from rung.models.language.gguf import alone
from rung.models.language.gguf_header import stored_numbers
from rung.models.language.load import nowhere
from rung.models.language.lora import linear_layers, quiet, usual_targets
from rung.models.language.text_reader import CONTEXT
from rung.models.language.tiny import CHARACTERS, tiny_config


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What memory depends on.

    Example: SmolLM2-135M has `parameters=134_515_008, layers=30, width=576, inner_width=1536, kv_width=192`.
    """

    parameters: int
    in_layers: int = 0
    """Of them, those that stand in a layer; the others are embeddings, head and last norm."""
    layers: int = 0
    width: int = 0
    inner_width: int = 0
    """Of the feed-forward layers."""
    kv_width: int = 0
    """Key heads times the width of one."""
    vocabulary: int = 0
    context_length: int | None = None
    linear: Mapping[str, int] = field(default_factory=dict[str, int])
    """Linear layer's name → ∑ over the layers of (inputs + outputs): a LoRA of rank r adds r times this."""
    usual_targets: tuple[str, ...] = ()
    """The linear layers that a LoRA changes when none are named."""
    unknown: str | None = None
    """Why the size is not known. The numbers are then 0, but for parameters that were counted in weight files."""

    @property
    def counted(self) -> bool:
        """Whether all of it is known."""
        return self.unknown is None

    def lora_parameters(self, rank: int, targets: Sequence[str] | None) -> int:
        """How many weights a LoRA of this rank trains."""
        return rank * sum(self.linear.get(name, 0) for name in targets or self.usual_targets)


def shape_of(model: str) -> ModelShape:
    """The shape of a folder, a `.gguf` file, a hub id or `tiny`. DataError when there is no such model."""
    if model == "tiny":
        return tiny_shape(None)
    path = Path(model).expanduser()
    if is_gguf(path):
        return _of_gguf(path)
    return _of_folder(path, weights=True) if path.is_dir() else _of_folder(_hub_config(model).parent, weights=False)


@lru_cache(maxsize=8)
def tiny_shape(characters: str | None) -> ModelShape:
    """The tiny model of a task that is written with these characters alone; None: with any.

    >>> tiny_shape("0123456789=").vocabulary
    15
    """
    return shape_of_config(tiny_config(CHARACTERS if characters is None else characters))


def shape_of_config(config: Any) -> ModelShape:
    """The shape of the model that a transformers configuration describes, whatever its architecture."""
    from transformers import AutoModelForCausalLM

    try:
        numbers = config.get_text_config().to_dict()
        with torch.device("meta"), quiet(), bounded():
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        tokens, width = model.get_input_embeddings().weight.shape
        linear, usual = linear_layers(model), usual_targets(model)
    except Exception as error:  # noqa: BLE001  (any architecture may fail in its own way, and this is an estimate)
        return ModelShape(parameters=0, unknown=words(error))
    heads = number(numbers, *HEADS) or 1
    head_width = number(numbers, "head_dim") or width // heads
    return ModelShape(
        parameters=sum(one.numel() for one in model.parameters()),
        in_layers=sum(one.numel() for block in blocks_of(model) for one in block.parameters()),
        layers=number(numbers, *LAYERS),
        width=width,
        inner_width=number(numbers, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size") or 4 * width,
        kv_width=head_width * (number(numbers, "num_key_value_heads") or heads),
        vocabulary=tokens,
        context_length=number(numbers, *CONTEXT) or None,
        linear=linear,
        usual_targets=usual,
    )


def _of_folder(folder: Path, *, weights: bool) -> ModelShape:
    """Of a model's folder, or of a configuration alone, where the weights are still on the hub."""
    held = opened(folder) if weights else ModelFolder(folder, described(folder))
    try:
        shape = shape_of_config(configuration(folder, held.config))
    except UnknownArchitecture as error:
        shape = ModelShape(parameters=0, unknown=str(error))
    return shape if shape.counted else ModelShape(parameters=held.numbers, unknown=shape.unknown)


def _of_gguf(path: Path) -> ModelShape:
    stored_numbers(path)
    from transformers import AutoConfig

    with alone(path) as how:
        return shape_of_config(AutoConfig.from_pretrained(**how))


def _hub_config(model: str) -> Path:
    """A hub model's config.json: from the cache, or this one small file from the hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(model, "config.json"))
    except (HFValidationError, HfHubHTTPError, OSError, ValueError) as error:
        raise nowhere(model, error) from error
