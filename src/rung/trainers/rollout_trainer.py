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
from rung.trainers.ranks import ONE, Ranks, summed
from rung.trainers.trainer import B, Collector, Learned, Learner, Phase, State, Trainer, TrainingStep, untimed
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
        ranks: Ranks = ONE,
    ) -> None:
        self.policy: Any = policy
        self.settings, self.start, self.work = settings, start, work
        self.collector, self.learner, self.ranks = collector, learner, ranks
        self.steps = 0
        self._held: dict[str, Mapping[str, Tensor]] = {}
        self._learn = ranks.shared(self._learn_here, "to learn")
        self._tensors = ranks.shared(self._tensors_here, "to gather the weights")
        self._load = ranks.shared(self._load_here, "to load a checkpoint")
        self._save = ranks.shared(self._save_here, "to save the model")
        self.collector.deliver(0)

    @property
    def method(self) -> Method:
        return self.learner.method

    def step(self, *, progress: float | None = None, phase: Phase = untimed) -> TrainingStep:
        self.steps += 1
        share = (self.steps - 1) / max(self.settings.steps, 1) if progress is None else progress
        collected = self.collector.collect(self.steps, phase)
        with phase("learn"):
            learned, kl = self._learn(collected.batch, self.steps, share)
            metrics = collected.metrics | learned.metrics() | {"kl/start": kl}
        return TrainingStep(
            number=self.steps,
            metrics=self.collector.told_apart(metrics, learned.batch),
            learned=learned,
            episodes=collected.episodes,
            notes=collected.notes,
            seconds=collected.seconds,
            timings=collected.timings,
            evaluate=collected.evaluate,
        )

    def _learn_here(self, batch: B, step: int, share: float) -> tuple[Learned, float | None]:
        learned = self.learner.update(batch, step, share)
        require_finite(f"step {step}: after its update the weights", self.policy.state(), what=LOWER)
        self.collector.deliver(self.learner.updates)
        return learned, self._kl_to_start(learned.batch)

    def _kl_to_start(self, batch: Batch | None) -> float | None:
        """KL(policy ‖ start) a token, exact over the vocabulary, at the tokens of the first `kl_rows` rows."""
        if self.start is None or batch is None:
            return None
        rows_B = torch.nonzero(batch.counted_B())[: self.settings.reporting.kl_rows, 0]
        if not len(rows_B):
            return None
        total, tokens, temperature = 0.0, 0, self.settings.temperature
        with torch.no_grad():
            for row_B, counts in self.ranks.dealt(rows_B.split(1)):
                row = batch.rows(row_B)
                here, start = (one.distribution(row, temperature=temperature) for one in (self.policy, self.start))
                kl_N = here.kl(start)
                if counts:
                    total, tokens = total + float(kl_N.sum()), tokens + len(kl_N)
        return summed(self.ranks, total) / summed(self.ranks, tokens)

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
        tensors = {**self._tensors(), "collector": self.collector.tensors()}
        return State(numbers=numbers, tensors=tensors, pieces=self.collector.pieces())

    def _tensors_here(self) -> dict[str, dict[str, Tensor]]:
        """What all processes hold together, in the one that leads."""
        held = {"policy": self.policy.state(), "optimizer": self.learner.tensors()}
        return {group: self.ranks.whole(tensors) for group, tensors in held.items()}

    def load_state(self, state: State) -> None:
        numbers, tensors = state.numbers, state.tensors
        self._held = {group: tensors[group] for group in ("policy", "optimizer")}
        self._load(numbers["steps"], numbers["updates"], numbers["method"])
        of_collector: Mapping[str, Tensor] = {**tensors["collector"], **state.pieces}
        self.collector.load_state(numbers["collector"], of_collector)

    def _load_here(self, steps: int, updates: int, method: Mapping[str, Any]) -> None:
        from rung.methods.data import with_settings

        held, self._held = self._held, {}
        self.steps = int(steps)
        weights = {**getattr(self.policy, "weights", dict)(), **self.policy.state()}

        def like(name: str) -> Tensor | None:
            """The weight that `NAME`, `NAME/exp_avg` or `reference:NAME` is of."""
            return weights.get(name.rpartition(":")[2].partition("/")[0])

        self.policy.load_state(self.ranks.spread(held.get("policy", {}), like))
        self.learner.load_tensors(self.ranks.spread(held.get("optimizer", {}), like))
        self.learner.updates = int(updates)
        self.collector.deliver(self.learner.updates)
        self.learner.method = with_settings(self.learner.method, method)  # its coefficients may have moved

    def save(self, folder: str | Path) -> None:
        self._save(str(folder))

    def _save_here(self, folder: str) -> None:
        if self.ranks.size == 1:
            self.policy.save(folder)
        else:
            self.policy.save(folder, self.ranks.whole)

    def judge_a_few(self) -> None:
        self.collector.judge_a_few()

    def prompt_of(self, episode: Episode) -> str:
        return self.collector.prompt_of(episode)

    def film(self, folder: str | Path) -> None:
        self.collector.film(Path(folder))

    def close(self) -> None:
        self.collector.close()
        self.ranks.close()
