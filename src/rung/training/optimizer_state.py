"""An optimiser's state as named tensors, for safetensors, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rung.errors import CheckpointError


def optimizer_state(
    optimizer: torch.optim.Optimizer | None, parameters: Mapping[str, torch.nn.Parameter]
) -> dict[str, Tensor]:
    """`NAME/exp_avg`, `NAME/exp_avg_sq`, `NAME/step`, ...: one entry a tensor of each parameter's state."""
    if optimizer is None:
        return {}
    names = {id(parameter): name for name, parameter in parameters.items()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer | None,
    parameters: Mapping[str, torch.nn.Parameter],
    tensors: Mapping[str, Tensor],
) -> None:
    """Puts back what `optimizer_state` took. CheckpointError when a tensor's parameter is not in this policy."""
    if optimizer is None:
        return
    optimizer.state.clear()
    for full_name, value in tensors.items():
        name, key = full_name.rsplit("/", 1)
        if name not in parameters:
            raise CheckpointError(f"the optimiser's state is of '{name}', which the policy does not have")
        parameter = parameters[name]
        beside = key != "step" or optimizer.defaults.get("fused")
        place = parameter.device if beside else torch.device("cpu")
        optimizer.state[parameter][key] = value.to(place)
