"""One process: rung learns one case. Arguments: the case's number, steps, seed."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import Any

import numpy as np
from environment_cases import CASES, score
from workload import answer

from rung.library import trainer
from rung.trainers.q_learning.environment import ReplayCollector
from rung.trainers.reading import read_run

FIRST = 2_100
"""Steps before the clock runs: what is compiled, or read from the cache, is not learning. Their seconds are told."""
case, wanted, seed = CASES[int(sys.argv[1])], int(sys.argv[2]), sys.argv[3]
sets = [*case.sets, "learner.threads=1", "reporting.page=false"]
if case.engine != "gymnasium":
    sets.append(f"task.engine={case.engine}")
reading = read_run(flags={"method": case.rung, "task": case.task, "seed": seed}, recipe=case.recipe, sets=sets)


def learnt(wanted: int) -> Any:
    """A trainer that has taken so many steps, whole rollouts, in which it learnt."""
    parts = trainer(reading.required())
    collector, learner, step = parts.collector, parts.learner, 0
    if isinstance(collector, ReplayCollector):
        collector.held_out_states()  # what is only watched is not learning
    clocks.append((time.perf_counter(), time.process_time()))
    while collector.steps < wanted:
        step, progress = step + 1, collector.steps / wanted
        collected = collector.collect(step, lambda _: nullcontext())
        learner.update(collected.batch, step, progress).metrics()
    clocks.append((time.perf_counter(), time.process_time()))
    return parts


clocks: list[tuple[float, float]] = []
learnt(FIRST)
parts = learnt(wanted)
collector, learner = parts.collector, parts.learner
(_, _), (_, _), (began, before), (ended, after) = clocks


def act(seen: np.ndarray) -> object:
    raw = np.ravel(seen).astype(np.float32)[None]
    return collector.task.to_environment(parts.policy.mode(parts.policy.scaled(raw)))[0]


answer(
    {
        "seconds": ended - began,
        "processor": after - before,
        "first_steps": FIRST,
        "first": clocks[1][0] - clocks[0][0],
        "steps": collector.steps,
        "updates": learner.updates,
        "score": score(case.task, act) if case.scored else None,
    }
)
