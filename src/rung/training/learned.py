"""What a learner is to the loop, and what it says of one step: the same for every kind of method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from rung.batch import Batch
from rung.methods import Method

Metrics = dict[str, float | None]


class Learned(Protocol):
    """What was learnt of one rollout."""

    @property
    def batch(self) -> Batch | None:
        """The rows that were learnt from, for comparing the policy with its start; None where there are none."""
        ...

    def metrics(self) -> Metrics:
        """The numbers about it, by metric name."""
        ...


@dataclass(frozen=True)
class NothingLearned:
    """A step that brought nothing to learn from."""

    batch: None = None

    def metrics(self) -> Metrics:
        return {}


class Learns(Protocol):
    """Owns what is trained. Everything that must survive a kill is in `method`, `updates` and `tensors`."""

    method: Method
    """With its coefficients as they are now: a coefficient that adapts is a new part."""
    updates: int
    """Updates made so far; the version of the policy."""

    def update(self, batch: Any, step: int, progress: float = 0.0) -> Learned:
        """Learns from what the collector of this kind of method brings; so much of the run, 0 to 1, is behind it."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's state, by name."""
        ...

    def load_tensors(self, tensors: dict[str, Tensor]) -> None: ...
