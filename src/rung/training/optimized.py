"""What an optimiser is given of a policy: its weights as they are, or, where they are few, as one row of numbers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rung.errors import CheckpointError
from rung.training.optimizer_state import optimizer_state, restore_optimizer

FEW = 1 << 17
"""Up to so many numbers an update takes as long as its tensors are many, not as they are large."""
ROW = "weights"
"""The row's name in a checkpoint."""


class Optimized:
    """The trained parameters of one optimiser.

    A few small ones become views of one row of numbers, `parameters[0]`; whoever holds them notices nothing, except
    that a small network's update takes half as long. Their gradients are views of the row's too, from `clear` on, so
    that a backward pass, by autograd or by hand, fills the row's.

    Example:
        optimized = Optimized(policy.trainable())
        optimizer = step.optimizer(optimized.parameters)
        optimized.clear(); loss.backward(); optimizer.step()
    """

    def __init__(self, named: Mapping[str, nn.Parameter], *, apart: bool = False) -> None:
        """`apart`: some of them may go without a gradient, and are then left as they are; a row would move them all."""
        self._named = dict(named)
        self._own = list(named.values())
        self._row = None if apart else _as_one_row(self._own)
        self.parameters = self._own if self._row is None else [self._row]
        self._row_gradient = torch.zeros(0) if self._row is None else torch.zeros_like(self._row.data)
        self._gradients = [] if self._row is None else _parts(self._row_gradient, self._own)

    def clear(self) -> None:
        """No parameter has a gradient; those in a row have zeros."""
        if self._row is None:
            for parameter in self._own:
                parameter.grad = None
            return
        self._row.grad = self._row_gradient.zero_()
        for parameter, gradient in zip(self._own, self._gradients, strict=True):
            parameter.grad = gradient

    def state(self, optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
        """The optimiser's state as named tensors."""
        return optimizer_state(optimizer, self._named if self._row is None else {ROW: self._row})

    def restore(self, optimizer: torch.optim.Optimizer | None, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `state` gave. CheckpointError when it is of other parameters."""
        if self._row is not None:
            wrong = {n: tuple(t.shape) for n, t in tensors.items() if t.dim() and t.shape != self._row.shape}
            if wrong:
                raise CheckpointError(f"the optimiser's state has {wrong}, expected {tuple(self._row.shape)} each")
        restore_optimizer(optimizer, self._named if self._row is None else {ROW: self._row}, tensors)


def _as_one_row(parameters: list[nn.Parameter]) -> nn.Parameter | None:
    """One parameter that holds the numbers of all, which are views of it from now on; None where that is no gain."""
    alike = len({(p.device, p.dtype) for p in parameters}) == 1 and all(p.is_contiguous() for p in parameters)
    if len(parameters) < 2 or not alike or sum(p.numel() for p in parameters) > FEW:
        return None
    row = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    for parameter, part in zip(parameters, _parts(row.data, parameters), strict=True):
        parameter.data = part
    return row


def _parts(row: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """The row in pieces of the parameters' shapes: views."""
    pieces = row.split([p.numel() for p in parameters])
    return [piece.view(p.shape) for piece, p in zip(pieces, parameters, strict=True)]
