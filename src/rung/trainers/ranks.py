"""Ranks: the processes that learn together. Each has the whole batch and a share of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from rung.settings import LearnerSettings

P = TypeVar("P")
W = TypeVar("W", bound=Callable[..., Any])


class Ranks:
    """One process by itself; `team.Team` is several. A learner asks for these wherever it passes through the model.

    Attributes:
        rank: which of the processes this is; rank 0 leads: task, rewards and record are its own.
        size: how many there are.
    """

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def dealt(self, passes: Sequence[P]) -> Iterator[tuple[P, bool]]:
        """This process's passes, and whether each counts. All processes make equally many: a call to the others that
        one of them does not make is a wait without end. Who has none left repeats another's, which does not count."""
        for first in range(0, len(passes), self.size):
            mine = first + self.rank
            yield (passes[mine], True) if mine < len(passes) else (passes[first], False)

    def total(self, values: Tensor) -> Tensor:
        """The sum of what each process has, in all of them."""
        return values

    def shared(self, work: W, what: str) -> W:
        """Work that all processes do together. Each registers the same works in the same order; the one that leads
        calls what this gives, and the others do the work with it, on the same arguments. `what` names it in errors."""
        return work

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """While inside, RankError names a process that was waited for in vain."""
        return nullcontext()

    def shard(self, model: Any) -> None:
        """Keep of a model's weights this process's share; it is tried first, while it is whole."""

    def whole(self, tensors: Mapping[str, Tensor], what: str = "saved") -> dict[str, Tensor]:
        """Tensors that may be sharded, whole, in the process that leads; none in the others. `what` they are for."""
        return dict(tensors)

    def spread(self, tensors: Mapping[str, Tensor], like: Callable[[str], Tensor | None]) -> dict[str, Tensor]:
        """What the process that leads has, in all of them, each sharded as `like` of its name is."""
        return dict(tensors)

    def close(self) -> None:
        """End the other processes."""


ONE = Ranks()
"""A process that learns alone."""


def summed(ranks: Ranks, number: float) -> float:
    """`Ranks.total` of a number."""
    return float(ranks.total(torch.tensor(number, dtype=torch.float64))) if ranks.size > 1 else number


def on_gpu(learner: LearnerSettings) -> bool:
    """Whether each process learns on a GPU of its own."""
    return torch.cuda.is_available() if learner.device is None else learner.device.startswith("cuda")
