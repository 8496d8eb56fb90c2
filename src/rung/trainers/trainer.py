"""What the loop knows of a kind of method: who collects, who learns, and what both bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from rung.batch import Batch, Episode
from rung.methods import Method
from rung.trainers.held_out import Scores

Phase = Callable[[str], AbstractContextManager[None]]
"""`with phase("sample"):` counts the seconds inside."""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """One rollout: the batch to learn from, what it showed, and the episodes that people want to see."""

    batch: Any
    """What the learner of this kind of method takes: a `Batch` for policy gradients."""
    metrics: Metrics
    episodes: Sequence[Episode] = ()
    """Row by row of the batch; empty where rows are no episodes."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: what went on with less than was asked for."""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """By phase: of work that was done before, perhaps by another run, and that this one pays for."""
    evaluate: bool = False
    """Whether the score after this step is worth knowing, whatever the settings say."""


class Collector(Protocol):
    """Collects rollouts of the policy as it is, and scores it. Everything that must survive a kill is its state."""

    def collect(self, step: int, policy_version: int, phase: Phase) -> Collected: ...
    def evaluate(self) -> Scores: ...
    def film(self, folder: Path) -> None:
        """Leaves a film of the policy at work in the run's folder, where there is something to see."""
        ...

    def prompt_of(self, episode: Episode) -> str: ...
    def state(self) -> Mapping[str, Any]:
        """JSON-like numbers."""
        ...

    def tensors(self) -> dict[str, Tensor]: ...
    def pieces(self) -> dict[str, Tensor]:
        """Large tensors in pieces, by names that change with their content: unchanged ones are not written again."""
        ...

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Takes over a checkpoint's state; `tensors` holds the pieces too."""
        ...

    def close(self) -> None: ...


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
