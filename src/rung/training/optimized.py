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
    that a small network's update takes half as long. Backward passes fill the parameters' own gradients, from which
    `gather` makes the row's.

    Example:
        optimized = Optimized(policy.trainable())
        optimizer = step.optimizer(optimized.parameters)
        optimized.clear(); loss.backward(); optimized.gather(); optimizer.step()
    """

    def __init__(self, named: Mapping[str, nn.Parameter], *, apart: bool = False) -> None:
        """`apart`: some of them may go without a gradient, and are then left as they are; a row would move them all."""
        self._named = dict(named)
        self._own = list(named.values())
        self._row = None if apart else _as_one_row(self._own)
        self.parameters = self._own if self._row is None else [self._row]

    def clear(self) -> None:
        """No parameter has a gradient."""
        for parameter in self._own:
            parameter.grad = None

    def gather(self) -> None:
        """The row takes over the parameters' gradients; a missing one is 0."""
        if self._row is not None:
            gradients = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in self._own]
            self._row.grad = torch.cat(gradients)

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
    for parameter, part in zip(parameters, row.data.split([p.numel() for p in parameters]), strict=True):
        parameter.data = part.view(parameter.shape)
    return row
