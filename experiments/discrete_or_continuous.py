"""Is DQN weak where actions are continuous? Finer and finer grids in one and two dimensions, beside PPO without one.

    python experiments/discrete_or_continuous.py   runs what is missing, two at a time, then writes the results
    python docs/generate.py                        prints them into docs/experiments.md

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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from running import (
    PICTURES,
    ROOT,
    Run,
    evaluations,
    plots,
    provenance,
    record,
    recorded,
    run_all,
    save_picture,
    seconds,
)

from rung.lab.compare.seed_statistics import reach
from rung.tasks.environment import environment_task

RUNS = ROOT / "runs" / "discrete_or_continuous"
SEEDS = range(3)
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


def arms() -> list[str]:
    return [*(f"dqn, {bins} values" for bins in BINS), CONTINUOUS]


def run_of(task: str, arm: str, seed: int) -> Run:
    method, _, bins = arm.partition(", ")
    settings = (*COMMON, *SETTINGS[method], *((f"task.action_bins={bins.split()[0]}",) if bins else ()))
    name = f"{task}-{arm.replace(', ', '-').replace(' ', '_')}-{seed}"
    return Run(name, "train", method, "--task", task, "--seed", str(seed), settings=settings)


def actions_of(task: str, arm: str) -> int | None:
    """Actions to choose among; None: they are real numbers."""
    bins = arm.partition(", ")[2].split()
    return environment_task(task, action_bins=int(bins[0]) if bins else None).choices


def mean_and_half(values: Sequence[float]) -> tuple[float, float]:
    """The mean over seeds and the half-width of its 95 % interval by Student's t."""
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return float(np.mean(values)), reach(0.95, len(values) - 1) * spread


def summary(task: str, arm: str) -> dict[str, Any]:
    runs: dict[int, Any] = {}
    for seed in SEEDS:
        folder = RUNS / run_of(task, arm, seed).name
        curve = [[row.get("environment/steps") or 0.0, row["held_out/score"]] for row in evaluations(folder)]
        last = float(np.mean([score for _, score in curve[-LAST:]]))
        runs[seed] = {"score": last, "curve": curve, "seconds": seconds(folder)}
    mean, half = mean_and_half([one["score"] for one in runs.values()])
    return {"actions": actions_of(task, arm), "mean": mean, "half": half, "runs": runs}


def lines_held(found: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Each pass line, and whether it holds."""
    one, two = (found[task] for task in TASKS)
    grids = [f"dqn, {bins} values" for bins in BINS]
    best, finest = max((two[arm] for arm in grids), key=lambda arm: arm["mean"]), two[grids[-1]]
    return {
        "one dimension": max(one[arm]["mean"] for arm in grids) >= BALANCED and one["dqn, 9 values"]["mean"] >= NINE,
        "two dimensions": best["mean"] - finest["mean"] > best["half"] + finest["half"],
    }


def picture(found: dict[str, dict[str, Any]], path: Path) -> None:
    """The score against the number of actions, a panel a task; PPO as a band."""
    figure, axes = plots().subplots(1, len(TASKS), figsize=(11, 4.2))
    for panel, (task, by_arm) in zip(axes, found.items(), strict=True):
        grids = [one for arm, one in by_arm.items() if arm != CONTINUOUS]
        actions, means, halves = ([one[name] for one in grids] for name in ("actions", "mean", "half"))
        panel.errorbar(actions, means, yerr=halves, marker="o", capsize=3, label="dqn on a grid")
        for one in grids:
            panel.plot(
                [one["actions"]] * len(SEEDS), [run["score"] for run in one["runs"].values()], "k.", markersize=3
            )
        ppo = by_arm[CONTINUOUS]
        panel.axhline(ppo["mean"], color="tab:red", label="ppo, continuous")
        panel.axhspan(ppo["mean"] - ppo["half"], ppo["mean"] + ppo["half"], color="tab:red", alpha=0.12, linewidth=0)
        panel.set_xscale("log")
        panel.set_xlabel("actions to choose among")
        panel.set_title(task, fontsize=10)
    axes[0].set_ylabel(f"mean return after {STEPS:,} steps")
    axes[0].legend(fontsize=8)
    save_picture(figure, path)


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("discrete_or_continuous")
    if run is None:
        return "Not recorded yet."
    lines = [
        "![The score against the number of actions, DQN on grids beside PPO](pictures/discrete_or_continuous.png)",
        "",
        provenance(run),
        "",
        f"Mean return after {run['steps']:,} steps, the mean of the seeds ± half a 95 % interval.",
        "",
        "| task | method | actions | score |",
        "| --- | --- | --- | --- |",
    ]
    for task, by_arm in run["tasks"].items():
        for arm, one in by_arm.items():
            actions = "continuous" if one["actions"] is None else f"{one['actions']:,}"
            lines.append(f"| {task} | {arm} | {actions} | {one['mean']:.1f} ± {one['half']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    runs = [run_of(task, arm, seed) for seed in SEEDS for task in TASKS for arm in arms()]
    folders = run_all(runs, RUNS)
    found = {task: {arm: summary(task, arm) for arm in arms()} for task in TASKS}
    held = lines_held(found)
    result = {
        "seeds": list(SEEDS),
        "steps": STEPS,
        "pass_line": (
            "Pendulum: -400 or more by the best grid, -500 by that of 9 values; Reacher: the finest grid below the "
            "best, beyond both intervals"
        ),
        "lines": held,
        "passed": all(held.values()),
        "settings": {method: [*COMMON, *settings] for method, settings in SETTINGS.items()},
        "tasks": found,
    }
    record("discrete_or_continuous", result, runs_in=folders)
    picture(found, PICTURES / "discrete_or_continuous.png")


if __name__ == "__main__":
    main()
