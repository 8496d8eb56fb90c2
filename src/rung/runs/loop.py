"""The one training loop: evaluate, step, record, save. It knows a trainer, and no method, task or model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rung.faults import fault_point
from rung.runs.statistics import mean_score
from rung.runs.stopping import StopRequest
from rung.settings import Settings
from rung.trainers.budget import PHASES, Budget
from rung.trainers.clock import Clock
from rung.trainers.held_out import Scores
from rung.trainers.trainer import Metrics, Trainer, TrainingStep


class Record(Protocol):
    """Where a run's results go."""

    def evaluated(self, step: int, scores: Scores) -> None: ...
    def stepped(self, step: int, metrics: Metrics, timings: Metrics) -> None: ...
    def sampled(self, step: TrainingStep) -> None: ...
    def said(self, sentence: str) -> None: ...
    def save(self, step: int) -> None: ...


@dataclass(frozen=True)
class Ended:
    """Where the loop stopped. Example: `Ended(step=40, finished=False)`: it was asked to."""

    step: int
    finished: bool


def run_steps(
    trainer: Trainer, settings: Settings, record: Record, stop: StopRequest, *, done: int, budget: Budget
) -> Ended:
    """Trains from step `done` + 1 to the settings' last step, or to the first with which the trainer says that its
    budget is spent or its task over.

    Stops early, after a whole step and with everything saved, when `stop` was asked for.
    """
    clock = Clock()
    if done == 0:
        metrics = evaluation(trainer, record, 0, clock)
        record.stepped(0, metrics, clock.timings(metrics))
    number = done
    while number < settings.steps and not (trainer.over(budget) or trainer.why_over()):
        number += 1
        step = trainer.step(progress=max((number - 1) / settings.steps, trainer.progress(budget)), phase=clock.phase)
        clock.add(step.seconds)
        for note in step.notes:
            record.said(note)
        record.sampled(step)
        metrics = {"step": number, **step.metrics}
        budget.pay(metrics, sum(clock.seconds.get(phase, 0.0) for phase in PHASES))
        metrics["flops"] = budget.spent.flops
        last = number == settings.steps or trainer.over(budget) or bool(trainer.why_over())
        if last or step.evaluate or due(number, settings.evaluation.every):
            metrics |= evaluation(trainer, record, number, clock)
        record.stepped(number, metrics, clock.timings(metrics))
        fault_point("step.done")
        if last or due(number, settings.saving.every) or stop.asked:
            with clock.phase("save"):
                record.save(number)
        if trainer.why_over():
            record.said(trainer.why_over())
        if stop.asked:
            return Ended(number, last)
    return Ended(number, True)


def evaluation(trainer: Trainer, record: Record, step: int, clock: Clock) -> Metrics:
    """The held-out score of the policy as it is now."""
    with clock.phase("evaluate"):
        scores = trainer.evaluate()
    fault_point("evaluate.done")
    record.evaluated(step, scores)
    mean = mean_score(scores.scores_NK)
    interval = {"held_out/score": mean.value, "held_out/low": mean.low, "held_out/high": mean.high}
    return {"step": step, **interval, **scores.beside}


def due(step: int, every: int) -> bool:
    """Whether something done every so many steps is to be done now; 0: never."""
    return every > 0 and step % every == 0
