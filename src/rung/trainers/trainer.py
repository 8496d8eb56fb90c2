"""A trainer: what trains a policy by one kind of method, a step at a time, and what one step brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from torch import Tensor

from rung.batch import Batch, Episode
from rung.methods import Method
from rung.trainers.held_out import Scores

if TYPE_CHECKING:
    from rung.trainers.budget import Budget
    from rung.trainers.work import Work

Metrics = dict[str, float | None]
Phase = Callable[[str], AbstractContextManager[None]]
"""`with phase("sample"):` counts the seconds inside."""
B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)


def untimed(name: str) -> AbstractContextManager[None]:
    """A phase that counts no seconds."""
    return nullcontext()


class Policy(Protocol):
    """What is trained, as far as every kind has it in common."""

    def state(self) -> dict[str, Tensor]: ...
    def load_state(self, tensors: Mapping[str, Tensor]) -> None: ...
    def save(self, folder: str | Path) -> None:
        """Writes it as people use it: a Hugging Face folder for a language model."""
        ...


class Learned(Protocol):
    """What was learnt in one step."""

    @property
    def batch(self) -> Batch | None:
        """The rows that were learnt from, with their advantages; None where rows are not kept."""
        ...

    def metrics(self) -> Metrics:
        """The numbers about it, by metric name; `loss` among them."""
        ...


@dataclass(frozen=True)
class Numbers:
    """What was learnt, in numbers alone; none where a step brought nothing to learn from."""

    numbers: Metrics = field(default_factory=dict[str, float | None])
    batch: Batch | None = None

    def metrics(self) -> Metrics:
        return self.numbers


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """One step of training.

    Example: after `step = trainer.step()`, `step.metrics["loss"]` is its loss, `step.batch.advantages_BT` its
    advantages, `step.episodes[0].text` its first completion.
    """

    number: int
    metrics: Metrics
    learned: Learned
    episodes: Sequence[Episode] = ()
    """Row by row of the batch; empty where rows are no episodes."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: what went on with less than was asked for."""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """By phase: of work that was done before, perhaps by another run, and that this step pays for."""
    timings: Metrics = field(default_factory=dict[str, float | None])
    """What else depends on the clock, by metric name."""
    evaluate: bool = False
    """Whether the score after this step is worth knowing, whatever the settings say."""

    @property
    def batch(self) -> Batch | None:
        """The rows that were learnt from, with their advantages; None where rows are not kept."""
        return self.learned.batch

    @property
    def loss(self) -> float | None:
        """The mean loss of the step's updates; None where nothing was learnt."""
        return self.metrics.get("loss")


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything of a trainer that must survive a kill."""

    numbers: Mapping[str, Any]
    """JSON-like."""
    tensors: Mapping[str, Mapping[str, Tensor]]
    """By group; each group is a file of a checkpoint."""
    pieces: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Large tensors by names that change with their content: an unchanged one is not written again."""


class Trainer:
    """Trains a policy by one kind of method. The loop calls it and knows nothing of the kind.

    Example: `rung.trainer(model="tiny", method="grpo", task="arithmetic")`, then `step()` as often as you like.
    """

    policy: Policy
    work: Work
    """Floating-point operations a token."""
    notes: tuple[str, ...] = ()
    """What the gate says of it, in sentences for the plan."""
    inputs: Mapping[str, str] = {}
    """Fingerprints of what decides the run beside its settings, by what they are of."""

    @property
    def method(self) -> Method:
        """With its coefficients as they are now: one that adapts is a new part."""
        raise NotImplementedError

    def step(self, *, progress: float | None = None, phase: Phase = untimed) -> TrainingStep:
        """Draws, judges and learns once. `progress`, 0 to 1: the share of the run that is behind it; None: by steps."""
        raise NotImplementedError

    def evaluate(self) -> Scores:
        """The held-out score of the policy as it is."""
        raise NotImplementedError

    def state(self) -> State:
        raise NotImplementedError

    def load_state(self, state: State) -> None:
        """Goes on from what `state` gave."""
        raise NotImplementedError

    def over(self, budget: Budget) -> bool:
        """Whether a run that has spent so much is over."""
        return bool(budget.empty)

    def why_over(self) -> str:
        """Why the task has nothing more to give, in words; empty while it has."""
        return ""

    def progress(self, budget: Budget) -> float:
        """The share of the run's learning, 0 to 1, that is over when so much is spent."""
        return budget.share()

    def judge_a_few(self) -> None:
        """Draws a few answers and has them judged, before the first step. RewardError when none can be."""

    def prompt_of(self, episode: Episode) -> str:
        """The prompt of an episode as text, for people."""
        return ""

    def film(self, folder: str | Path) -> None:
        """Leaves a film of the policy at work in the folder, where there is something to see."""

    def save(self, folder: str | Path) -> None:
        """Writes the policy as people use it."""
        self.policy.save(folder)

    def close(self) -> None:
        """Ends what it started: environments, reward processes."""


@dataclass(frozen=True, kw_only=True)
class Collected(Generic[B]):
    """One rollout: the batch to learn from, what it showed, and the episodes that people want to see."""

    batch: B
    metrics: Metrics
    episodes: Sequence[Episode] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    timings: Metrics = field(default_factory=dict[str, float | None])
    evaluate: bool = False


class Collector(Generic[B]):
    """Collects rollouts of the policy as it is, and scores it.

    Everything that must survive a kill is its `state`, its `tensors` and, for large tensors by names that change with
    their content, its `pieces`. What a kind has no use for stays as it is here.
    """

    def collect(self, step: int, phase: Phase) -> Collected[B]:
        raise NotImplementedError

    def told_apart(self, metrics: Metrics, learned: Batch | None) -> Metrics:
        """A step's metrics, where those of answers that this brought mean something else. `learned`: as learnt."""
        return metrics

    def deliver(self, version: int) -> None:
        """The weights have changed, or the run begins: who draws from a copy of them is given the new ones."""

    def evaluate(self) -> Scores:
        raise NotImplementedError

    def judge_a_few(self) -> None:
        """As the trainer's: nothing where nothing is judged."""

    def film(self, folder: Path) -> None: ...

    def prompt_of(self, episode: Episode) -> str:
        return ""

    def state(self) -> Mapping[str, Any]:
        return {}

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def pieces(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Takes over a checkpoint's state; `tensors` holds the pieces too."""

    def close(self) -> None: ...


class Learner(Protocol[B_contra]):
    """Owns what is trained. Everything that must survive a kill is in `method`, `updates` and `tensors`."""

    method: Any
    """The method, with its coefficients as they are now."""
    updates: int
    """Updates made so far; the version of the policy."""

    def update(self, batch: B_contra, step: int, progress: float = 0.0) -> Learned:
        """Learns from what the collector of this kind brings; so much of the run, 0 to 1, is behind it."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state, by name."""
        ...

    def load_tensors(self, tensors: dict[str, Tensor]) -> None: ...
