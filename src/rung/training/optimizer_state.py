"""An optimiser's state as named tensors, for safetensors, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from rung.errors import CheckpointError
from rung.training.learner import Learner


def optimizer_state(learner: Learner) -> dict[str, Tensor]:
    """`NAME/exp_avg`, `NAME/exp_avg_sq`, `NAME/step`, ...: one entry a tensor of each parameter's state."""
    if learner.optimizer is None:
        return {}
    names = {id(parameter): name for name, parameter in learner.policy.trainable().items()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in learner.optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(learner: Learner, tensors: dict[str, Tensor]) -> None:
    """Puts back what `optimizer_state` took. CheckpointError when a tensor's parameter is not in this policy."""
    if learner.optimizer is None:
        return
    parameters = learner.policy.trainable()
    learner.optimizer.state.clear()
    for full_name, value in tensors.items():
        name, key = full_name.rsplit("/", 1)
        if name not in parameters:
            raise CheckpointError(f"the optimiser's state is of '{name}', which the policy does not have")
        parameter = parameters[name]
        beside = key != "step" or learner.optimizer.defaults.get("fused")
        place = parameter.device if beside else torch.device("cpu")
        learner.optimizer.state[parameter][key] = value.to(place)
