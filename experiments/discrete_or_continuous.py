"""Is DQN weak where actions are continuous? Finer and finer grids in one and two dimensions, beside PPO without one.

DQN takes the action with the highest of all values, so a continuous action must first be put on a grid
(`task.action_bins`): B values in each of d dimensions are B^d actions, each an output of the network. Pendulum-v1 has
one dimension, Reacher-v5 two, HalfCheetah-v5 six, where 9 values each are 531,441 actions, which rung refuses. PPO acts
with real numbers. All have 20,000 steps of the environment; the score is the mean return of 20 greedy episodes, and a
run's score is the mean of its last three evaluations.

Settings are the recipes', apart from SETTINGS; DQN has a target network every 100 updates, and clipped errors, because
returns of Pendulum reach -1,600. Looked at on seed 100, which is not used here: Pendulum with 9 values (-200) and PPO
(-1,149).

Pass lines, fixed before the run:
1. In one dimension a grid is enough: the best grid's mean score on Pendulum is at least -400 (an untrained network has
   -1,200 to -1,600, a balanced pole -150), and no grid of 129 values is needed for it: that of 9 has at least -500.
2. In two dimensions fineness costs: on Reacher the finest grid (16,641 actions) has a lower mean score than the best
   grid, by more than the half-widths of both 95 % intervals.
How PPO stands beside the grids is no line: it is what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Experiment, Result, Run, Work, scores, seconds
from intervals import mean
from pictures import INK, panels, say
from words import table

from rung.tasks.environment import environment_task

TASKS = ("Pendulum-v1", "Reacher-v5")
BINS = (3, 9, 33, 129)
STEPS, LAST = 20_000, 3
BALANCED, NINE = -400.0, -500.0
CONTINUOUS = "ppo"
COMMON = (f"budget.steps={STEPS}", "steps=1000", "evaluation.num_items=20")
SETTINGS: dict[str, tuple[str, ...]] = {
    "dqn": (
        *("evaluation.every=2", "method.target_network=Every", "method.target_network.updates=100"),
        *("method.error=ClippedError", "method.optimizer.max_grad_norm=10"),
    ),
    "ppo": ("evaluation.every=1", "task.normalize_observations=true", "task.normalize_rewards=true"),
}
"""Of each method; a step of DQN is 1,000 steps of the environment, one of PPO 2,048."""


ARMS = {**{f"dqn, {bins} values": bins for bins in BINS}, CONTINUOUS: None}
"""Values a dimension."""


def run_of(task: str, arm: str, seed: int) -> Run:
    method, bins = arm.partition(", ")[0], ARMS[arm]
    return Run(method, task, seed, (*COMMON, *SETTINGS[method], *([f"task.action_bins={bins}"] if bins else [])))


def summary(task: str, arm: str, folders: Mapping[int, Path]) -> dict[str, Any]:
    runs: dict[int, Any] = {}
    for seed, folder in folders.items():
        curve = scores(folder)
        last = float(np.mean([score for _, score in curve[-LAST:]]))
        runs[seed] = {"score": last, "curve": curve, "seconds": seconds(folder)}
    over = mean([one["score"] for one in runs.values()])
    actions = environment_task(task, action_bins=ARMS[arm]).choices
    return {"actions": actions, "mean": over.value, "half": over.half, "runs": runs}


def lines_held(found: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Each pass line, and whether it holds."""
    one, two = ([found[task][arm] for arm in ARMS if arm != CONTINUOUS] for task in TASKS)
    best, finest = max(two, key=lambda arm: arm["mean"]), two[-1]
    nine = one[BINS.index(9)]["mean"]
    return {
        "one dimension": max(arm["mean"] for arm in one) >= BALANCED and nine >= NINE,
        "two dimensions": best["mean"] - finest["mean"] > best["half"] + finest["half"],
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    found = {
        task: {arm: summary(task, arm, {seed: folders[task, arm, seed] for seed in work.seeds}) for arm in ARMS}
        for task in TASKS
    }
    settings = {method: [*COMMON, *settings] for method, settings in SETTINGS.items()}
    return {"steps": STEPS, "lines": lines_held(found), "settings": settings, "tasks": found}


def title(run: Result) -> str:
    said: list[str] = []
    for task, by_arm in run["tasks"].items():
        coarse, *_, fine = [one for arm, one in by_arm.items() if arm != CONTINUOUS]
        said.append(f"{task} {coarse['mean']:.0f} to {fine['mean']:.0f}, PPO {by_arm[CONTINUOUS]['mean']:.0f}")
    return f"DQN's return from the coarsest grid of actions to the finest: {'; '.join(said)}"


def picture(run: Result) -> Any:
    """The score against the number of actions, a panel a task; PPO as a band."""
    figure, axes = panels(1, len(TASKS), size=(11, 4.2))
    for panel, (task, by_arm) in zip(axes, run["tasks"].items(), strict=True):
        grids = [one for arm, one in by_arm.items() if arm != CONTINUOUS]
        actions, means, halves = ([one[name] for one in grids] for name in ("actions", "mean", "half"))
        panel.errorbar(actions, means, yerr=halves, marker="o", capsize=3, label="dqn on a grid, 95 % interval")
        for one in grids:
            each = [found["score"] for found in one["runs"].values()]
            panel.plot([one["actions"]] * len(each), each, ".", color=INK[0], markersize=3)
        ppo = by_arm[CONTINUOUS]
        panel.axhline(ppo["mean"], color="tab:red", label="ppo, actions as they are")
        panel.axhspan(ppo["mean"] - ppo["half"], ppo["mean"] + ppo["half"], color="tab:red", alpha=0.12, linewidth=0)
        say(panel, "actions to choose among", title=task, xscale="log")
    say(axes[0], y=f"mean return after {run['steps']:,} steps", legend=True)
    return figure


def lines(run: Result) -> Iterator[str]:
    said = f"Mean return after {run['steps']:,} steps, the mean of the seeds ± half a 95 % interval."
    yield from ("", said, "")
    rows = [
        (task, arm, f"{one['actions']:,}" if one["actions"] else "continuous", f"{one['mean']:.1f} ± {one['half']:.1f}")
        for task, by_arm in run["tasks"].items()
        for arm, one in by_arm.items()
    ]
    yield from table("task | method | actions | score", rows)


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(3),
    pass_line="Pendulum: -400 or more by the best grid, -500 by that of 9 values; Reacher: the finest grid below the "
    "best, beyond both intervals",
    runs=lambda work: {(t, a, s): run_of(t, a, s) for s in work.seeds for t in TASKS for a in ARMS},
    shows="The score against the number of actions, DQN on grids beside PPO",
)

if __name__ == "__main__":
    EXPERIMENT.main()
