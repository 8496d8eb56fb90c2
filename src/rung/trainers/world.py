"""World: the processes that train together; one process is a world of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from rung.batch import Processes
from rung.errors import SettingsError


@dataclass(frozen=True)
class World(Processes):
    """Who else trains: `rank` of `size`. Each process holds some rows of the batch; counts and gradients are summed.

    Because weights are taken with counts summed over the world, summing gradients gives exactly the one-process
    gradient, whatever groups each process holds. A group's rows stay in one process.
    """

    rank: int = 0
    size: int = 1

    @staticmethod
    def current() -> World:
        """The world torch.distributed was started with, or this process alone."""
        if dist.is_available() and dist.is_initialized():
            return World(dist.get_rank(), dist.get_world_size())
        return World()

    @staticmethod
    def require_one(what: str) -> None:
        """Raises SettingsError where several processes train and each would learn by itself."""
        if (size := World.current().size) > 1:
            raise SettingsError(
                [f"torch.distributed: got {size} processes, but {what} learns in one process; start one"]
            )

    def total(self, count: Tensor) -> Tensor:
        if self.size == 1:
            return count
        summed = count.clone()
        dist.all_reduce(summed)
        return summed

    def gather(self, values_N: Tensor) -> tuple[Tensor, slice]:
        if self.size == 1:
            return super().gather(values_N)
        sizes = torch.zeros(self.size, dtype=torch.int64, device=values_N.device)
        sizes[self.rank] = len(values_N)
        ends = self.total(sizes).cumsum(0)
        own = slice(int(ends[self.rank]) - len(values_N), int(ends[self.rank]))
        whole_N = torch.zeros(int(ends[-1]), dtype=values_N.dtype, device=values_N.device)
        whole_N[own] = values_N
        return self.total(whole_N), own

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
