"""Gradient steps: the optimizer of a method, its state by name, and updates that leave no number infinite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rung.errors import CheckpointError, NonFiniteError
from rung.faults import fault_point
from rung.methods.parts.protocols import fact


def gradient_step(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    *,
    loss: float | None,
    max_grad_norm: float,
    learning_rate: float,
    update: int,
) -> float:
    """Bounds the gradient's norm and steps; gives the norm it had. Raises NonFiniteError before anything is changed.

    `loss` is None where it is not known yet.
    """
    norm = bound_norm(parameters, max_grad_norm)
    require_finite_update(loss, norm, update=update)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer_step(optimizer)
    fault_point("update.step")
    return float(norm)


def optimizer_step(optimizer: torch.optim.Optimizer) -> None:
    """`optimizer.step()`. NonFiniteError as `require_possible`."""
    require_possible(max(float(group["lr"]) for group in optimizer.param_groups))
    optimizer.step()


def compiled_step(
    part: Any, optimizer: torch.optim.Optimizer, row: nn.Parameter, gradient: Tensor, rates_M: Sequence[float]
) -> Any:
    """What compiled passes move the row by, in as many updates as there are rates; the caller counts those that were
    made in the state's `step`. `part`: a method's optimizer that states its `rule`."""
    from rung.models.small.passes import Moved

    state, first_means = optimizer.state[row], fact(part, "means", {})
    for name, first in first_means.items():
        if name not in state:
            state[name] = torch.full_like(row.detach(), first)
    count = state.setdefault("step", torch.zeros(()))
    means = [state[name].numpy() for name in first_means]
    bound = part.max_grad_norm
    return Moved(
        weights_P=row.detach().numpy(),
        gradient_P=gradient.numpy(),
        mean_P=means[0] if len(means) > 1 else np.zeros(row.numel(), np.float32),
        square_P=means[-1],
        rule=part.rule,
        max_norm=math.inf if bound is None else float(bound),
        begun=int(count),
        rates_M=np.array(rates_M),
    )


def require_possible(rate: float) -> None:
    """NonFiniteError for a learning rate that float32, which weights are in, cannot hold."""
    if rate > torch.finfo(torch.float32).max:
        raise NonFiniteError(
            f"the learning rate is {rate:g}, expected a number that float32 holds: the weights were left as they are. "
            "Lower method.optimizer.learning_rate"
        )


def bound_norm(parameters: Sequence[torch.nn.Parameter], most: float) -> Tensor:
    """Scales the gradients down to a global norm of `most` where it is larger; gives the norm it had."""
    if len(parameters) > 1 or not parameters or parameters[0].grad is None:
        norm = torch.nn.utils.clip_grad_norm_(parameters, most)
        return norm if (whole := getattr(norm, "full_tensor", None)) is None else whole()  # of all processes' shares
    gradient = parameters[0].grad  # of one tensor: without what torch spends on sorting many
    norm = torch.linalg.vector_norm(gradient)
    if norm > most:
        gradient.mul_(most / (norm + 1e-6))
    return norm


def require_finite_update(loss: float | None, norm: Tensor, *, update: int) -> None:
    """Raises NonFiniteError when the loss or the gradient's norm is not finite; every process has the same."""
    if not (math.isfinite(loss or 0.0) and math.isfinite(norm)):
        known = "" if loss is None else f"the loss is {loss}, "
        raise NonFiniteError(
            f"{known}the gradient's norm is {float(norm)}, at update {update}: the weights were left as they are. "
            "Usual causes: a learning rate too high (method.optimizer.learning_rate), a reward "
            "of enormous size, or weights that were already damaged"
        )


FEW = 1 << 17
"""Up to so many numbers an update takes as long as its tensors are many, not as they are large."""
ROW = "weights"
"""The row's name in a checkpoint."""


class Optimized:
    """The trained parameters of one optimizer.

    A few small ones become views of one row of numbers, `parameters[0]`; whoever holds them notices nothing, except
    that a small network's update takes half as long. Their gradients are views of the row's too, from `clear` on, so
    that a backward pass, by autograd or by hand, fills the row's.

    Example:
        optimized = Optimized(policy.trainable())
        optimizer = step.build(optimized.parameters)
        optimized.clear(); loss.backward(); optimizer.step()
    """

    def __init__(self, named: Mapping[str, nn.Parameter], *, apart: bool = False) -> None:
        """`apart`: some of them may go without a gradient, and are then left as they are; a row would move them all."""
        self._named = dict(named)
        self._own = list(named.values())
        sharded, in_row = any(hasattr(one, "full_tensor") for one in self._own), not apart and _go_together(self._own)
        self.row = _as_one_row(self._own) if in_row and not sharded else None
        self._missing_is_0 = in_row and sharded
        self.parameters = self._own if self.row is None else [self.row]
        self.row_gradient = torch.zeros(0) if self.row is None else torch.zeros_like(self.row.data)
        self._gradients = [] if self.row is None else _parts(self.row_gradient, self._own)

    def clear(self) -> None:
        """No parameter has a gradient; those in a row have zeros."""
        if self.row is None:
            for parameter in self._own:
                parameter.grad = None
            return
        self.row.grad = self.row_gradient.zero_()
        for parameter, gradient in zip(self._own, self._gradients, strict=True):
            parameter.grad = gradient

    def fill(self) -> None:
        """Gives sharded parameters that got no gradient one of 0, where one process would keep them in a row."""
        for parameter in self._own if self._missing_is_0 else ():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def state(self, optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
        """The optimizer's state as named tensors."""
        return optimizer_state(optimizer, self._named if self.row is None else {ROW: self.row})

    def restore(self, optimizer: torch.optim.Optimizer | None, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `state` gave, here or in a process that keeps them in a row where this one does not.
        CheckpointError when it is of other parameters."""
        tensors = self._as_kept(tensors)
        if self.row is not None:
            wrong = {n: tuple(t.shape) for n, t in tensors.items() if t.dim() and t.shape != self.row.shape}
            if wrong:
                raise CheckpointError(f"the optimizer's state has {wrong}, expected {tuple(self.row.shape)} each")
        restore_optimizer(optimizer, self._named if self.row is None else {ROW: self.row}, tensors)

    def _as_kept(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The state as one row where this process has one, else by name: sharded weights stand in no row."""
        in_row = all(name.startswith(f"{ROW}/") for name in tensors)
        if not tensors or in_row == (self.row is not None):
            return tensors
        if self.row is None:
            parts = {
                name: _parts(row, self._own) if row.dim() else [row] * len(self._own) for name, row in tensors.items()
            }
            return {
                f"{own}/{name.removeprefix(f'{ROW}/')}": part
                for name, each in parts.items()
                for own, part in zip(self._named, each, strict=True)
            }
        first = next(iter(self._named))
        keys = [name.removeprefix(f"{first}/") for name in tensors if name.startswith(f"{first}/")]
        every = {key: [tensors[f"{own}/{key}"] for own in self._named] for key in keys}
        return {
            f"{ROW}/{key}": torch.cat([one.reshape(-1) for one in each]) if each[0].dim() else each[0]
            for key, each in every.items()
        }


def _go_together(parameters: list[nn.Parameter]) -> bool:
    """Whether one row for all is a gain."""
    alike = len({(p.device, p.dtype) for p in parameters}) == 1 and all(p.is_contiguous() for p in parameters)
    return len(parameters) > 1 and alike and sum(p.numel() for p in parameters) <= FEW


def _as_one_row(parameters: list[nn.Parameter]) -> nn.Parameter:
    """One parameter that holds the numbers of all, which are views of it from now on."""
    row = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    for parameter, part in zip(parameters, _parts(row.data, parameters), strict=True):
        parameter.data = part
    return row


def _parts(row: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """The row in pieces of the parameters' shapes: views."""
    pieces = row.split([p.numel() for p in parameters])
    return [piece.view(p.shape) for piece, p in zip(pieces, parameters, strict=True)]


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
            raise CheckpointError(f"the optimizer's state is of '{name}', which the policy does not have")
        parameter = parameters[name]
        beside = key != "step" or optimizer.defaults.get("fused")
        place = parameter.device if beside else torch.device("cpu")
        placed = value.to(place)
        if hasattr(parameter, "full_tensor") and placed.shape == parameter.shape:
            from rung.models.language.sharded import share_of

            placed = share_of(placed, parameter)
        optimizer.state[parameter][key] = placed
