"""TRPO and PPO on MuJoCo: table 1 of the PPO paper, beside Stable-Baselines3. It goes on where it stopped.

    python experiments/mujoco_v5.py --python P     the four cheapest tasks, 300,000 steps, 3 seeds, two runs at a time
    python experiments/mujoco_v5.py --python P --all-tasks --steps 1000000 --at-once 16      the paper's size
    python experiments/mujoco_v5.py --python P --seeds 100 --steps 20480 [--rows ...] [--tasks ...]   printed, not kept

P is the interpreter of an environment with stable-baselines3 and sb3-contrib (and the same gymnasium and mujoco); by
default the one that runs this. (The file is not called mujoco.py because Gymnasium would import it for MuJoCo.)

Score (Schulman et al. 2017, section 6.1): the mean raw return of a run's last 100 training episodes, noise of
exploration included; normalised so that on each task a random policy (uniform actions, 100 episodes) is 0 and the best
run of the table is 1; the mean over tasks and seeds. rung writes down a rollout's mean return and its number of
episodes, so of the oldest rollout that is needed a part of the episodes counts with that mean. The held-out return (20
greedy episodes after the last step) stands beside it. A run that rung stops because a gradient is no number keeps the
score that it had, and is counted.

Rows: `ppo` and its `objective` alone: none (Surrogate), clip 0.2, adaptive KL 0.01 (β begins at 1), fixed KL (β = 1);
and `trpo`. `ppo` is the paper's table 3: 2048 steps of one environment, Adam 3e-4, 10 epochs, minibatches of 64,
γ 0.99, λ 0.95. `ppo@baselines` is not taken, because it also clips the value, and the row without a clip would have
one. All rows have the running normalisers of observations and rewards that OpenAI Baselines' PPO has.
Beside the table, not part of its scale: rl-baselines3-zoo's tuned settings (mujoco_tuned.py) with Stable-Baselines3's
PPO and sb3-contrib's TRPO, and with rung's `trpo@sb3-contrib`, whose bound on the KL and damping are times the
dimensions of an action: sb3-contrib bounds the mean over dimensions, which is that much looser than the KL itself.

A finished run is kept in experiments/results/mujoco_v5/STEPS, with its commit and machine, and is not run again:
another session or machine goes on with what is left. Delete a file there to run it anew.

Pass lines, fixed before the run (methods.md 3.2), on means over tasks and seeds:
1. clip 0.2 comes to 0.70 or more (the paper: 0.82).
2. No clip or penalty is the lowest row of PPO, and below 0 or 0.3 below clip 0.2 (-0.39).
3. Clip 0.2 is at most 0.05 below each row with a KL penalty (0.74, 0.71).
4. `trpo` with the zoo's settings is not below sb3-contrib's TRPO with the same by more than 2 standard errors, on the
   mean over tasks, from the spread of seeds within tasks. Equal settings, because the zoo's discount on Swimmer is
   0.9999, which decides that task; how `trpo`'s and `ppo`'s own settings stand beside the tuned ones is reported.
5. No accepted step of TRPO has a KL above 1.5 times δ (the code asserts it); the largest is said.

What four tasks and 300,000 steps cannot show: the paper's numbers are of seven tasks and a million steps. HalfCheetah,
which alone brings its first row below 0, is not among the four, so line 2 rests on the distance of 0.3 and may fail
here without saying that the paper's finding is wrong. Where an episode lasts 1,000 steps (Swimmer; a balanced pole),
100 episodes are the last third of the run, so its score is lower than what the last policy earns. Raw returns are not
compared with the paper's: the -v5 tasks differ from -v1.

Cost, of the recorded runs, 300,000 steps each on two cores: 120 to 250 seconds for a row of rung's that nothing held
up, 215 to 330 processor seconds for sb3-contrib's TRPO, 160 to 490 for Stable-Baselines3's PPO.
The default is then 5 to 6 core-hours.
`--steps 150000` halves it, at the price that 100 episodes of 1,000 steps are two thirds of such a run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import mujoco_scores as scoring
import numpy as np
from experiment import RESULTS, Experiment, Result, Work
from mujoco_runs import COMMON, PEERS, ROWS, Key, keep, name_of, random_mean, require_peers
from mujoco_scores import TABLE
from pictures import curve, panels, say
from words import YES_NO, table

CHEAP = ("InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Reacher-v5", "Swimmer-v5")
TASKS = (*CHEAP, "Hopper-v5", "HalfCheetah-v5", "Walker2d-v5")
SEEDS, STEPS = (0, 1, 2), 300_000


def summary(found: dict[Key, dict[str, Any]], random: dict[str, float], steps: int) -> dict[str, Any]:
    """The whole result: normalised rows, lines, and each run."""
    rows = [row for row in (*ROWS, *PEERS) if any(key[0] == row for key in found)]
    by_row = {row: {task: of_task(found, row, task) for task in random} for row in rows}
    scores = {row: {task: [run["score"] for run in one.values()] for task, one in by_row[row].items()} for row in rows}
    shares = scoring.normalised(scores, random)
    largest = max(run.get("largest_kl", 0.0) for run in found.values())
    lines = scoring.lines_held(shares, largest)
    return {
        "steps": steps,
        "pass_line": "; ".join(line for line, held in lines.items() if "passed" in held),
        "lines": lines,
        "random": random,
        "best": {task: scoring.best_of(scores, task) for task in random},
        "hours": sum(run["seconds"] for run in found.values()) / 3600,
        "rows": {row: {"normalised": scoring.mean_and_error(shares[row]), "tasks": by_row[row]} for row in rows},
        "settings": {"common": COMMON, "rows": {name: [row.method, *row.settings] for name, row in ROWS.items()}},
        **{name: ", ".join(sorted({run[name] for run in found.values()})) for name in ("commit", "machine")},
    }


def of_task(found: dict[Key, dict[str, Any]], row: str, task: str) -> dict[str, dict[str, Any]]:
    """The runs of a row on a task by seed."""
    return {str(key[2]): run for key, run in found.items() if key[:2] == (row, task)}


def measure(work: Work, folders: object) -> dict[str, Any]:
    given = work.asked
    steps = 4096 if work.small else given.steps
    rows = given.rows or [row for row in (*ROWS, *PEERS) if not (work.small and row in PEERS)]
    tasks = given.tasks or (TASKS if given.all_tasks else CHEAP)
    versions = require_peers(given.python) if any(row in PEERS for row in rows) else {}
    whole = work.seeds == SEEDS and not (given.rows or given.tasks or work.small)
    out = work.folder / str(steps)
    kept = RESULTS / "mujoco_v5" / str(steps) if whole else out / "kept"
    for folder in (out, kept):
        folder.mkdir(parents=True, exist_ok=True)
    keys = [(row, task, seed) for seed in work.seeds for task in tasks for row in rows]
    work.beside([partial(keep, work, key, steps, out, given.python, kept) for key in keys], given.at_once)
    found = {key: json.loads((kept / f"{name_of(key)}.json").read_text()) for key in keys}
    command = f"{EXPERIMENT.command} --python P{' --all-tasks' if given.all_tasks else ''}"
    command += f" --steps {steps}" if steps != STEPS else ""
    command += f" --at-once {given.at_once}" if given.at_once != 2 else ""
    random = {task: random_mean(task, out) for task in tasks}
    if work.small:  # after so few steps no run need be better than random, and then there is no scale
        random = {task: min(run["score"] for key, run in found.items() if key[1] == task) - 1 for task in tasks}
    return {"command": command, **summary(found, random, steps), "versions": versions}


def title(run: Result) -> str:
    shares = "; ".join(f"{row} {one['normalised'][0]:.2f}" for row, one in run["rows"].items())
    return f"Return after {run['steps']:,} steps, a random policy 0 and the best run 1: {shares}"


def picture(run: Result) -> Any:
    """The score along the run, a panel a task: the mean and the range over seeds; the peers dashed."""
    tasks = list(run["random"])
    across = 2 if len(tasks) <= 4 else 4
    down = -(-len(tasks) // across)
    figure, axes = panels(down, across, size=(5.5 * across, 3.6 * down), squeeze=False)
    for panel, task in zip(axes.flat, tasks, strict=False):
        for row, one in run["rows"].items():
            curves: list[dict[float, float]] = [dict(each["curve"]) for each in one["tasks"][task].values()]
            at = [step for step in curves[0] if all(step in curve for curve in curves)]
            style = {"linestyle": "--" if row in PEERS else "-", "linewidth": 1.6, "label": row}
            if at:
                curve(
                    panel,
                    np.array(at) / 1000,
                    [[one[step] for step in at] for one in curves],
                    band="range",
                    fill=0.1,
                    **style,
                )
        panel.axhline(run["random"][task], color="grey", linestyle=":", linewidth=0.8)
        say(panel, "environment steps, thousands", title=task)
    for panel in list(axes.flat)[len(tasks) :]:
        panel.set_axis_off()
    say(axes[0][0], y="mean return, last 100 episodes")
    figure.legend(*axes[0][0].get_legend_handles_labels(), fontsize=8, ncol=4, loc="lower center")
    return figure


def cell(runs: dict[str, dict[str, Any]]) -> str:
    """Mean score ± standard error, and the held-out mean in brackets."""
    scores = [run["score"] for run in runs.values()]
    held = [run["held_out"] for run in runs.values() if run["held_out"] is not None]
    stopped = sum(run.get("stopped", False) for run in runs.values())
    error = float(np.std(scores, ddof=1)) / len(scores) ** 0.5
    inside = f"{np.mean(held):.1f}" if held else "none"
    return f"{np.mean(scores):.1f} ± {error:.1f} ({inside}{f'; {stopped} stopped' if stopped else ''})"


def lines(run: Result) -> Iterator[str]:
    tasks = list(run["random"])
    yield from (
        "",
        f"After {run['steps']:,} steps. Normalised: a random policy is 0 and the best run of the first {len(TABLE)} "
        "rows is 1 on each task, ± a standard error from the spread of seeds. A task: mean return of the last 100 "
        "training episodes ± standard error (20 greedy episodes after the last step).",
        "",
    )
    rows = [
        (row, "{:.2f} ± {:.2f}".format(*one["normalised"]), *(cell(one["tasks"][task]) for task in tasks))
        for row, one in run["rows"].items()
    ]
    for name, said, share in (("random", "random policy", "0"), ("best", "best run", "1")):
        rows.append((said, share, *(f"{run[name][task]:.1f}" for task in tasks)))
    yield from (*table(f"row | normalised | {' | '.join(tasks)}", rows), "")
    held = [(line, one["measured"], YES_NO[one.get("passed")]) for line, one in run["lines"].items()]
    yield from table("line | measured | passed", held)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peers")
    parser.add_argument("--all-tasks", action="store_true", help="Hopper, HalfCheetah and Walker2d as well")
    parser.add_argument("--steps", type=positive, default=STEPS, help=f"environment steps of a run; {STEPS:,}")
    parser.add_argument("--at-once", type=positive, default=2, help="runs at a time")
    rows = (*ROWS, *PEERS)
    parser.add_argument("--rows", nargs="+", metavar="ROW", choices=rows, help=f"with --seeds: {'; '.join(rows)}")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", choices=TASKS, help="with --seeds")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a whole number of at least 1")
    return int(text)


EXPERIMENT = Experiment.here(
    globals(),
    seeds=SEEDS,
    shows="Mean return of the last 100 episodes against environment steps, a panel a task",
)

if __name__ == "__main__":
    EXPERIMENT.main()
