"""A trainer whose step is a rollout and what is learnt from it; every kind of method here is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol

import torch
from torch import Tensor

from rung.batch import Batch, Episode
from rung.methods import Method
from rung.models.language.distributions import Distribution
from rung.models.state import require_finite
from rung.settings import Settings
from rung.trainers.held_out import Scores
from rung.trainers.trainer import B, Collector, Learner, Phase, State, Trainer, TrainingStep, untimed
from rung.trainers.work import Work

if TYPE_CHECKING:
    from collections.abc import Mapping


LOWER = "; nothing of it is saved, and the last checkpoint is as it was. Lower method.optimizer.learning_rate"


class Compared(Protocol):
    """A policy whose distributions can be compared with another's."""

    def distribution(self, batch: Batch, *, temperature: float = 1.0) -> Distribution: ...


class RolloutTrainer(Trainer, Generic[B]):
    """Collects, learns, and remembers both.

    Attributes:
        collector: brings rollouts and scores the policy.
        learner: owns the optimizer and the method with its coefficients as they are now.
        start: the policy as it began, frozen: the reference, and what `kl/start` is measured against. None where
            nothing is compared with it.
        steps: steps made so far.
    """

    def __init__(
        self,
        settings: Settings,
        policy: Any,
        *,
        collector: Collector[B],
        learner: Learner[B],
        work: Work,
        start: Compared | None = None,
    ) -> None:
        self.policy: Any = policy
        self.settings, self.start, self.work = settings, start, work
        self.collector, self.learner = collector, learner
        self.steps = 0
        self.collector.deliver(0)

    @property
    def method(self) -> Method:
        return self.learner.method

    def step(self, *, progress: float | None = None, phase: Phase = untimed) -> TrainingStep:
        self.steps += 1
        share = (self.steps - 1) / max(self.settings.steps, 1) if progress is None else progress
        collected = self.collector.collect(self.steps, phase)
        with phase("learn"):
            learned = self.learner.update(collected.batch, self.steps, share)
            require_finite(f"step {self.steps}: after its update the weights", self.policy.state(), what=LOWER)
            self.collector.deliver(self.learner.updates)
            metrics = collected.metrics | learned.metrics() | {"kl/start": self._kl_to_start(learned.batch)}
        return TrainingStep(
            number=self.steps,
            metrics=self.collector.told_apart(metrics),
            learned=learned,
            episodes=collected.episodes,
            notes=collected.notes,
            seconds=collected.seconds,
            timings=collected.timings,
            evaluate=collected.evaluate,
        )

    def _kl_to_start(self, batch: Batch | None) -> float | None:
        """KL(policy ‖ start) a token, exact over the vocabulary, at the tokens of the first `kl_rows` rows."""
        if self.start is None or batch is None:
            return None
        rows_B = torch.nonzero(batch.counted_B())[: self.settings.reporting.kl_rows, 0]
        if not len(rows_B):
            return None
        total, tokens, temperature = 0.0, 0, self.settings.temperature
        with torch.no_grad():
            for row_B in rows_B.split(1):
                row = batch.rows(row_B)
                here, start = (one.distribution(row, temperature=temperature) for one in (self.policy, self.start))
                kl_N = here.kl(start)
                total, tokens = total + float(kl_N.sum()), tokens + len(kl_N)
        return total / tokens

    def evaluate(self) -> Scores:
        return self.collector.evaluate()

    def state(self) -> State:
        from rung.methods.data import as_data

        numbers = {
            "steps": self.steps,
            "updates": self.learner.updates,
            "method": as_data(self.learner.method),
            "collector": self.collector.state(),
        }
        tensors = {
            "policy": self.policy.state(),
            "optimizer": self.learner.tensors(),
            "collector": self.collector.tensors(),
        }
        return State(numbers=numbers, tensors=tensors, pieces=self.collector.pieces())

    def load_state(self, state: State) -> None:
        from rung.methods.data import with_settings

        numbers, tensors = state.numbers, state.tensors
        self.steps = int(numbers["steps"])
        self.policy.load_state(tensors["policy"])
        self.learner.load_tensors(dict(tensors["optimizer"]))
        self.learner.updates = int(numbers["updates"])
        self.collector.deliver(self.learner.updates)
        of_collector: Mapping[str, Tensor] = {**tensors["collector"], **state.pieces}
        self.collector.load_state(numbers["collector"], of_collector)
        self.learner.method = with_settings(self.learner.method, numbers["method"])  # its coefficients may have moved

    def judge_a_few(self) -> None:
        self.collector.judge_a_few()

    def prompt_of(self, episode: Episode) -> str:
        return self.collector.prompt_of(episode)

    def film(self, folder: str | Path) -> None:
        self.collector.film(Path(folder))

    def close(self) -> None:
        self.collector.close()
