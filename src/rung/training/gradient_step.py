"""One step of an optimiser on the gradients that are there, and nothing non-finite into the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rung.errors import NonFiniteError
from rung.training.faults import reach
from rung.training.world import World


def gradient_step(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    *,
    loss: float,
    max_grad_norm: float,
    learning_rate: float,
    world: World,
    update: int,
) -> float:
    """Bounds the gradient's norm and steps; gives the norm it had. Raises NonFiniteError before anything is changed."""
    norm = bound_norm(parameters, max_grad_norm)
    require_finite_update(loss, norm, world=world, update=update)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    reach("update.step")
    return float(norm)


def bound_norm(parameters: Sequence[torch.nn.Parameter], most: float) -> Tensor:
    """Scales the gradients down to a global norm of `most` where it is larger; gives the norm it had."""
    if len(parameters) > 1 or not parameters or parameters[0].grad is None:
        return torch.nn.utils.clip_grad_norm_(parameters, most)
    gradient = parameters[0].grad  # of one tensor: without what torch spends on sorting many
    norm = gradient.norm()
    if norm > most:
        gradient.mul_(most / (norm + 1e-6))
    return norm


def require_finite_update(loss: float, norm: Tensor, *, world: World, update: int) -> None:
    """Raises NonFiniteError, in every process, when the loss or the gradient's norm is not finite in any."""
    if world.any(not (math.isfinite(loss) and bool(torch.isfinite(norm)))):
        raise NonFiniteError(
            f"the loss is {loss}, the gradient's norm {float(norm)}, at update {update}: the weights "
            "were left as they are. Usual causes: a learning rate too high (method.step.learning_rate), a reward "
            "of enormous size, or weights that were already damaged"
        )
