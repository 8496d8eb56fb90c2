"""A kind of method: what it fits, needs and costs, which recipe it brings, and how its trainer is built.

Each kind stands in a folder of its own beside its trainer. `choose.py` finds the kind of a method; nothing else asks.
A kind of your own is a class with these functions, handed in by its method: `method.kind()` gives it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.methods import Method
from rung.models.language.size import ModelShape
from rung.settings import Settings
from rung.tasks.load import load_task
from rung.trainers.fits import general_doubts
from rung.trainers.handed import Handed
from rung.trainers.ranks import ONE, Ranks
from rung.trainers.trainer import Trainer
from rung.trainers.units import Units
from rung.trainers.work import Work

if TYPE_CHECKING:
    from rung.trainers.policy_gradient.adapted import Adapted


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a trainer is built from."""

    settings: Settings
    method: Any
    """The method, of the class that the kind is for."""
    task: Any
    """The task, loaded: of the class that the kind is for."""
    handed: Handed
    folder: Path | None = None
    """The run's folder; None for a trainer without one."""
    shared: Path | None = None
    """Where runs share what they draw alike; None: each draws its own."""
    ranks: Ranks = ONE
    """The processes that learn together."""
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    """Fingerprints of what is loaded (`inputs.py`), added by whoever loads it."""


class Kind:
    """What a kind of method answers for itself. The answers here suit a method that needs nothing special."""

    environment: bool = False
    """Steps and episodes of an environment stand in place of tokens and prompts."""
    stored_pairs: bool = False
    """The task is a file of pairs, and nothing is drawn."""
    draws_pairs: bool = False
    """Drawing and learning come one after the other and share the budget."""
    trains_policy: bool = True
    """What is trained answers or acts; a reward model does neither and has no score to compare."""
    reads_text: bool = False
    """Its model reads the task's rows as tokens; they are looked at before the run."""
    engine_draws: bool = False
    """An engine may draw for it: answers of the policy, each from the softmax."""
    values: bool = False
    """What is trained gives values of actions, which are no distribution to draw from."""

    def recipe(self, method: Method, *, model: str, task: str) -> str | None:
        """The recipe that this kind brings by itself."""
        return None

    def adapted(self, settings: Settings, method: Any, written: Container[str]) -> Iterator[Adapted]:
        """Numbers of the definition that cannot work at these sizes, with what takes their place; none is `written`."""
        yield from ()

    def problems(self, settings: Settings, method: Any) -> Iterator[str]:
        """Settings that cannot go together; each sentence begins with the setting to change."""
        yield from ()

    def alone(self, settings: Settings, method: Any) -> Iterator[str]:
        """Why a run with these settings cannot learn on several processes. Nothing where it can."""
        yield f"{method.name} learns in one process"

    def misfits(self, method: Any, task: Any) -> Iterator[str]:
        """Why this method cannot learn this task."""
        yield from ()

    def doubts(self, settings: Settings, method: Any) -> Iterator[str]:
        """What runs, but is probably not meant."""
        yield from general_doubts(settings)

    def load_task(self, settings: Settings) -> Any:
        """The task that the settings name."""
        return load_task(settings.task.name, seed=settings.seed, **settings.task.options())

    def task_problems(self, settings: Settings, method: Any, task: Any) -> Iterator[str]:
        """What a loaded task lacks that these settings need of it."""
        yield from self.misfits(method, task)

    def size(self, settings: Settings, method: Any, task: Any) -> ModelShape | None:
        """The size of what is trained, where it follows from method and task; None: of the model that is named."""
        return None

    def units(self, settings: Settings, method: Any) -> Units:
        """One step, counted and in words."""
        raise NotImplementedError

    def needs_start(self, settings: Settings, method: Any) -> bool:
        """Whether anything is compared with the policy as it was at the start."""
        return method.needs_start() or settings.reporting.kl_rows > 0

    def frozen_copies(self, settings: Settings, method: Any) -> int:
        """Frozen copies of the policy in memory beside its start."""
        return 0

    def memory(self, settings: Settings, method: Any, size: ModelShape, prompt_tokens: int) -> Mapping[str, int]:
        """Bytes of what this kind alone keeps, by what it is."""
        return {}

    def work(self, method: Any, policy: Any) -> Work:
        """Floating-point operations a token, for a policy as it is."""
        raise NotImplementedError

    def build(self, setup: Setup) -> Trainer:
        """The trainer. Nothing is trained and nothing written yet."""
        raise NotImplementedError
