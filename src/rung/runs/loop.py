"""The one training loop: evaluate, step, record, save. It knows a trainer, and no method, task or model.

A signal stops it: the first one finishes the step, saves and leaves with exit code 75; the second leaves at once."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Protocol

from rung.errors import LeaveAtOnce
from rung.faults import fault_point
from rung.runs.statistics import mean_score
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


def run_steps(
    trainer: Trainer, settings: Settings, record: Record, stop: StopRequest, *, done: int, budget: Budget
) -> tuple[int, bool]:
    """Trains from step `done` + 1 to the settings' last step, or to the first with which the trainer says that its
    budget is spent or its task over.

    Stops early, after a whole step and with everything saved, when `stop` was asked for. Returns the last step, and
    whether the run is finished: `(40, False)` where it was asked to stop.
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
        record.stepped(number, metrics, clock.timings(metrics) | step.timings)
        fault_point("step.done")
        if last or due(number, settings.saving.every) or stop.asked:
            with clock.phase("save"):
                record.save(number)
        if trainer.why_over():
            record.said(trainer.why_over())
        if stop.asked:
            return number, last
    return number, True


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


STOPPED_BY_SIGNAL = 75
"""Exit code of a run that was stopped by a signal with its state saved (EX_TEMPFAIL: try again later)."""


class StopRequest:
    """While active, the first SIGTERM, SIGUSR1 or SIGINT sets `asked`; the second ends the process at once."""

    _signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self) -> None:
        self.asked: str | None = None

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._handle) for number in self._signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise LeaveAtOnce(128 + number)
        self.asked = signal.Signals(number).name
