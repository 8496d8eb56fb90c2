"""One step of an optimiser on the gradients that are there, and nothing non-finite into the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop

from rung.errors import NonFiniteError
from rung.training.faults import reach
from rung.training.world import World


def gradient_step(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    *,
    loss: float | None,
    max_grad_norm: float,
    learning_rate: float,
    world: World,
    update: int,
) -> float:
    """Bounds the gradient's norm and steps; gives the norm it had. Raises NonFiniteError before anything is changed.

    `loss` is None where it is not known yet.
    """
    norm = bound_norm(parameters, max_grad_norm)
    require_finite_update(loss, norm, world=world, update=update)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer_step(optimizer)
    reach("update.step")
    return float(norm)


def optimizer_step(optimizer: torch.optim.Optimizer) -> None:
    """`optimizer.step()`.

    On one row of numbers, once they have begun, Adam and RMSprop go to torch's functions for them: the same numbers
    without the hooks around `step`, which take longer than the arithmetic on a small network's weights.
    """
    row, alone = optimizer.param_groups[0]["params"][0], sum(len(g["params"]) for g in optimizer.param_groups) == 1
    state = optimizer.state.get(row) if alone and row.grad is not None else None
    if not state or not isinstance(optimizer, (torch.optim.Adam, torch.optim.RMSprop)):
        optimizer.step()
        return
    group = optimizer.param_groups[0]
    assert not (group["maximize"] or group["capturable"])
    shared = {"lr": group["lr"], "eps": group["eps"], "weight_decay": group["weight_decay"], "maximize": False}
    with torch.no_grad():
        if isinstance(optimizer, torch.optim.RMSprop):
            assert not (group["centered"] or group["momentum"])
            before = ([state["square_avg"]], [], [], [state["step"]])
            rmsprop([row], [row.grad], *before, alpha=group["alpha"], momentum=0, centered=False, **shared)
            return
        assert group["fused"] and not group["amsgrad"]
        before = ([state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]])
        beta1, beta2 = group["betas"]
        more = {"fused": True, "amsgrad": False, "decoupled_weight_decay": group["decoupled_weight_decay"]}
        adam([row], [row.grad], *before, beta1=beta1, beta2=beta2, **more, **shared)


def bound_norm(parameters: Sequence[torch.nn.Parameter], most: float) -> Tensor:
    """Scales the gradients down to a global norm of `most` where it is larger; gives the norm it had."""
    if len(parameters) > 1 or not parameters or parameters[0].grad is None:
        return torch.nn.utils.clip_grad_norm_(parameters, most)
    gradient = parameters[0].grad  # of one tensor: without what torch spends on sorting many
    norm = torch.linalg.vector_norm(gradient)
    if norm > most:
        gradient.mul_(most / (norm + 1e-6))
    return norm


def require_finite_update(loss: float | None, norm: Tensor, *, world: World, update: int) -> None:
    """Raises NonFiniteError, in every process, when the loss or the gradient's norm is not finite in any."""
    if world.any(not (math.isfinite(loss or 0.0) and math.isfinite(norm))):
        known = "" if loss is None else f"the loss is {loss}, "
        raise NonFiniteError(
            f"{known}the gradient's norm is {float(norm)}, at update {update}: the weights were left as they are. "
            "Usual causes: a learning rate too high (method.step.learning_rate), a reward "
            "of enormous size, or weights that were already damaged"
        )
