"""The one training loop: collect, judge, learn, report, save. It is blind to the method, the task and the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from rung.batch import Batch, Episode
from rung.faults import fault_point
from rung.runs.statistics import mean_score
from rung.runs.stopping import StopRequest
from rung.trainers.budget import PHASES, Budget
from rung.trainers.clock import Clock
from rung.trainers.held_out import Scores
from rung.trainers.parts import Parts
from rung.trainers.trainer import Collected, Learned, Metrics


class Record(Protocol):
    """Where a run's results go."""

    def evaluated(self, step: int, scores: Scores) -> None: ...
    def stepped(self, step: int, metrics: Metrics, timings: Metrics) -> None: ...
    def sampled(self, step: int, episodes: Sequence[Episode], learned: Learned) -> None: ...
    def said(self, sentence: str) -> None: ...
    def save(self, step: int) -> None: ...


@dataclass(frozen=True)
class Ended:
    """Where the loop stopped. Example: `Ended(step=40, finished=False)`: it was asked to."""

    step: int
    finished: bool


def run_steps(parts: Parts, record: Record, stop: StopRequest, *, done: int, budget: Budget) -> Ended:
    """Trains from step `done` + 1 to the settings' last step, or to the first with which the budget is empty
    (or, where drawing and learning come one after the other, with which the parts say that it ends), or with which the
    task is over.

    Stops early, after a whole step and with everything saved, when `stop` was asked for.
    """
    settings = parts.settings
    clock = Clock()
    if done == 0:
        metrics = evaluation(parts, record, 0, clock)
        record.stepped(0, metrics, clock.timings(metrics))
    step = done
    while step < settings.steps and not (parts.ends(budget) or parts.over()):
        step += 1
        collected, shown = one_step(parts, record, step, clock, budget)
        metrics = {"step": step, **shown}
        budget.pay(metrics, sum(clock.seconds.get(phase, 0.0) for phase in PHASES))
        metrics["flops"] = budget.spent.flops
        last = step == settings.steps or parts.ends(budget) or bool(parts.over())
        if last or collected.evaluate or due(step, settings.evaluation.every):
            metrics |= evaluation(parts, record, step, clock)
        record.stepped(step, metrics, clock.timings(metrics))
        fault_point("step.done")
        if last or due(step, settings.saving.every) or stop.asked:
            with clock.phase("save"):
                record.save(step)
        if parts.over():
            record.said(parts.over())
        if stop.asked:
            return Ended(step, last)
    return Ended(step, True)


def one_step(parts: Parts, record: Record, step: int, clock: Clock, budget: Budget) -> tuple[Collected, Metrics]:
    """One step: a rollout, and what was learnt of it."""
    progress = max((step - 1) / parts.settings.steps, parts.progress(budget))
    collected = parts.collector.collect(step, parts.learner.updates, clock.phase)
    clock.add(collected.seconds)
    for note in collected.notes:
        record.said(note)
    with clock.phase("learn"):
        learned = parts.learner.update(collected.batch, step, progress)
        metrics = collected.metrics | learned.metrics() | {"kl/start": kl_to_start(parts, learned.batch)}
    record.sampled(step, collected.episodes, learned)
    return collected, metrics


def evaluation(parts: Parts, record: Record, step: int, clock: Clock) -> Metrics:
    """The held-out score of the policy as it is now."""
    with clock.phase("evaluate"):
        scores = parts.collector.evaluate()
    record.evaluated(step, scores)
    mean = mean_score(scores.scores_NK)
    interval = {"held_out/score": mean.value, "held_out/low": mean.low, "held_out/high": mean.high}
    return {"step": step, **interval, **scores.beside}


def kl_to_start(parts: Parts, batch: Batch | None) -> float | None:
    """KL(policy ‖ start) a token, exact over the vocabulary, at the tokens of the first `kl_rows` rows."""
    if parts.start is None or batch is None:
        return None
    rows_B = torch.nonzero(batch.counted_B())[: parts.settings.reporting.kl_rows, 0]
    if not len(rows_B):
        return None
    total, tokens = 0.0, 0
    with torch.no_grad():
        for row_B in rows_B.split(1):
            row = batch.rows(row_B)
            here, start = (
                p.distribution(row, temperature=parts.settings.temperature) for p in (parts.policy, parts.start)
            )
            kl_N = here.kl(start)
            total, tokens = total + float(kl_N.sum()), tokens + len(kl_N)
    return total / tokens


def due(step: int, every: int) -> bool:
    """Whether something done every so many steps is to be done now; 0: never."""
    return every > 0 and step % every == 0
