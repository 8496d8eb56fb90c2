"""What one rollout brought, and who brings it: the same for text and for environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from rung.batch import Episode
from rung.training.held_out import Scores
from rung.training.learned import Metrics

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
