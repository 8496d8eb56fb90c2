"""World: the processes that train together; one process is a world of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """Who else trains: `rank` of `size`. Each process holds some rows of the batch; counts and gradients are summed.

    Because weights are taken with counts summed over the world, summing gradients gives exactly the one-process
    gradient, whatever rows each process holds.
    """

    rank: int = 0
    size: int = 1

    @staticmethod
    def current() -> World:
        """The world torch.distributed was started with, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return World(dist.get_rank(), dist.get_world_size())
        return World()

    def total(self, count: Tensor) -> Tensor:
        """The sum of a count over all processes."""
        if self.size == 1:
            return count
        summed = count.clone()
        dist.all_reduce(summed)
        return summed

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sums every parameter's gradient over all processes, in place; a missing one counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all get the same answer."""
        return flag if self.size == 1 else bool(self.total(torch.tensor(int(flag))).item())
