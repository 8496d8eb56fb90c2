"""Low-rank adapters (LoRA) through peft: the base stays frozen, so the reference is the base with the adapter off."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rung.errors import MissingExtra, SettingsError

LLAMA_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a block of the Llama family."""


@dataclass(frozen=True)
class Lora:
    """W becomes W + (alpha / rank)·B·A with B [out, rank] zero at first, so the first policy is the base exactly.

    Example: `load_policy(spec, lora=Lora(rank=16, alpha=32))`.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] | None = None
    """The linear layers' own names; None: the architecture's usual ones."""

    def __post_init__(self) -> None:
        problems = []
        if self.rank < 1:
            problems.append(f"lora.rank: got {self.rank}, expected at least 1")
        if not self.alpha > 0:
            problems.append(f"lora.alpha: got {self.alpha}, expected a number above 0")
        if self.targets is not None and not self.targets:
            problems.append("lora.targets: got nothing, expected at least one layer's name")
        if problems:
            raise SettingsError(problems)


def linear_layers(model: nn.Module) -> dict[str, int]:
    """Each linear layer's own name, the head left out: inputs + outputs, summed over the layers of that name.

    Rank r on a layer trains r times this many weights.
    """
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    found: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            own = name.rsplit(".", 1)[-1]
            found[own] = found.get(own, 0) + sum(module.weight.shape)
    return found


def usual_targets(model: nn.Module) -> tuple[str, ...]:
    """The layers that get an adapter when none are named.

    All linear layers of a block for the Llama family; else what peft takes for the architecture; else every linear
    layer.
    """
    there = linear_layers(model)
    if all(name in there for name in LLAMA_LAYERS):
        return LLAMA_LAYERS
    known = _usual_in_peft().get(model.config.model_type)
    by_peft = [name for name in known or () if name in there] if isinstance(known, list) else []
    refused = {"out_proj"} if "mamba" in model.config.model_type else set[str]()  # by peft: its kernel bypasses it
    return tuple(by_peft or [name for name in LLAMA_LAYERS if name in there] or [n for n in there if n not in refused])


def _usual_in_peft() -> dict[str, Any]:
    """peft's own table; empty where it is not installed, and nothing but an estimate needs it."""
    try:
        from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as TABLE
    except ImportError:
        return {}
    return TABLE


def add_adapter(model: nn.Module, lora: Lora, *, seed: int = 0) -> None:
    """Wrap the target layers in place and freeze everything else. A is drawn from `seed`, B is zero.

    Raises:
        SettingsError: a target is no linear layer of this model (the valid names are listed), or is the head.
        MissingExtra: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtra("LoRA", "lora") from error
    from transformers.pytorch_utils import Conv1D

    valid = linear_layers(model)
    targets = usual_targets(model) if lora.targets is None else lora.targets
    unknown = [target for target in targets if target not in valid]
    if unknown:
        raise SettingsError(
            [
                f"lora.targets: got '{name}', expected linear layers of this model: {', '.join(sorted(valid))}"
                for name in unknown
            ]
        )
    transposed = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, Conv1D)}
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(targets),
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=not transposed.isdisjoint(targets),  # GPT-2's Conv1D keeps its weight as [in, out]
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft's own doing where experts are fused: it names parameters, and looks for some of them in vain
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys|target_parameters=")
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            raise SettingsError(
                [f"lora.targets: peft cannot adapt {', '.join(targets)} of this model: {error}"]
            ) from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    if not wrapped_layers(model):
        raise SettingsError([f"lora.targets: nothing of {type(model).__name__} was adapted; leave lora out"])
    model.eval()


def wrapped_layers(model: nn.Module) -> dict[str, Any]:
    """The adapted layers, by the name the layer had before it was wrapped; one that is used twice by both names."""
    return {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer")
    }


def has_adapter(model: nn.Module) -> bool:
    """True when `add_adapter` was called on this model."""
    return bool(wrapped_layers(model))


@contextmanager
def adapter_off(model: nn.Module, off: bool) -> Iterator[None]:
    """While inside, and when `off`, the model computes what its base computes."""
    layers = wrapped_layers(model).values() if off else ()
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def merged_state(model: nn.Module, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the ordinary model whose weights are W + delta, from the model's own; the model stays as it is.

    An adapter stands around a layer's `weight`, or, on fused experts, around any parameter of a module, perhaps one
    around another; without the wraps' own names the weights have those of the ordinary model.
    """
    state = {name.replace(".base_layer", ""): tensor for name, tensor in held.items() if "lora_" not in name}
    with torch.no_grad():
        for name, layer in wrapped_layers(model).items():
            weight = f"{name.replace('.base_layer', '')}.{getattr(layer, 'parameter_name', 'weight')}"
            for adapter in layer.active_adapters:
                state[weight] = state[weight] + layer.get_delta_weight(adapter)
    return state


@contextmanager
def quiet() -> Iterator[None]:
    """While inside, transformers shows no progress bar."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
