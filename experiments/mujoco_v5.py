"""TRPO and PPO on MuJoCo: table 1 of the PPO paper, beside Stable-Baselines3. It goes on where it stopped.

    python experiments/mujoco_v5.py --python P     the four cheapest tasks, 300,000 steps, 3 seeds, two runs at a time
    python experiments/mujoco_v5.py --python P --all-tasks --steps 1000000 --at-once 16      the paper's size
    python experiments/mujoco_v5.py --python P --trial [--rows ...] [--tasks ...]   a short look at seed 100, not kept
    python docs/generate.py                        prints the result into docs/experiments.md

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
from functools import partial
from pathlib import Path
from typing import Any

import mujoco_scores as scoring
import numpy as np
from mujoco_runs import COMMON, PEERS, ROWS, Key, keep, name_of, random_mean, require_peers
from mujoco_scores import TABLE
from running import PICTURES, RESULTS, ROOT, finish_all, plots, provenance, record, recorded, save_picture

RUNS = ROOT / "runs" / "mujoco_v5"
CHEAP = ("InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Reacher-v5", "Swimmer-v5")
TASKS = (*CHEAP, "Hopper-v5", "HalfCheetah-v5", "Walker2d-v5")
SEEDS, STEPS = (0, 1, 2), 300_000
TRIAL_SEED, TRIAL_STEPS = 100, 20_480


def summary(found: dict[Key, dict[str, Any]], random: dict[str, float], steps: int) -> dict[str, Any]:
    """The whole result: normalised rows, lines, and each run."""
    rows = [row for row in (*ROWS, *PEERS) if any(key[0] == row for key in found)]
    by_row = {row: {task: of_task(found, row, task) for task in random} for row in rows}
    scores = {row: {task: [run["score"] for run in one.values()] for task, one in by_row[row].items()} for row in rows}
    shares = scoring.normalised(scores, random)
    largest = max(run.get("largest_kl", 0.0) for run in found.values())
    lines = scoring.lines_held(shares, largest)
    return {
        "seeds": sorted({key[2] for key in found}),
        "steps": steps,
        "pass_line": "; ".join(line for line, held in lines.items() if "passed" in held),
        "passed": all(held.get("passed", True) for held in lines.values()),
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


def picture(result: dict[str, Any], path: Path) -> None:
    """The score along the run, a panel a task: the mean and the range over seeds; the peers dashed."""
    tasks = list(result["random"])
    across = 2 if len(tasks) <= 4 else 4
    down = -(-len(tasks) // across)
    figure, axes = plots().subplots(down, across, figsize=(5.5 * across, 3.6 * down), squeeze=False)
    for panel, task in zip(axes.flat, tasks, strict=False):
        for row, one in result["rows"].items():
            curves: list[dict[float, float]] = [dict(run["curve"]) for run in one["tasks"][task].values()]
            at = [step for step in curves[0] if all(step in curve for curve in curves)]
            each = np.array([[curve[step] for step in at] for curve in curves])
            thousands = np.array(at) / 1000
            (line,) = panel.plot(thousands, each.mean(0), "--" if row in PEERS else "-", linewidth=1.6, label=row)
            panel.fill_between(thousands, each.min(0), each.max(0), alpha=0.1, linewidth=0, color=line.get_color())
        panel.axhline(result["random"][task], color="grey", linestyle=":", linewidth=0.8)
        panel.set_title(task, fontsize=10)
        panel.set_xlabel("environment steps, thousands")
    for panel in list(axes.flat)[len(tasks) :]:
        panel.set_axis_off()
    axes[0][0].set_ylabel("mean return, last 100 episodes")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, ncol=4, loc="lower center")
    save_picture(figure, path, below=0.08)


def cell(runs: dict[str, dict[str, Any]]) -> str:
    """Mean score ± standard error, and the held-out mean in brackets."""
    scores = [run["score"] for run in runs.values()]
    held = [run["held_out"] for run in runs.values() if run["held_out"] is not None]
    stopped = sum(run.get("stopped", False) for run in runs.values())
    error = float(np.std(scores, ddof=1)) / len(scores) ** 0.5
    inside = f"{np.mean(held):.1f}" if held else "none"
    return f"{np.mean(scores):.1f} ± {error:.1f} ({inside}{f'; {stopped} stopped' if stopped else ''})"


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("mujoco_v5")
    if run is None:
        return "Not recorded yet."
    tasks = list(run["random"])
    lines = [
        "![Mean return of the last 100 episodes against environment steps, a panel a task](pictures/mujoco_v5.png)",
        "",
        provenance(run),
        "",
        f"After {run['steps']:,} steps. Normalised: a random policy is 0 and the best run of the first {len(TABLE)} "
        "rows is 1 on each task, ± a standard error from the spread of seeds. A task: mean return of the last 100 "
        "training episodes ± standard error (20 greedy episodes after the last step).",
        "",
        f"| row | normalised | {' | '.join(tasks)} |",
        f"| --- | --- |{' --- |' * len(tasks)}",
    ]
    for row, one in run["rows"].items():
        mean, error = one["normalised"]
        lines.append(f"| {row} | {mean:.2f} ± {error:.2f} | {' | '.join(cell(one['tasks'][task]) for task in tasks)} |")
    for name in ("random", "best"):
        cells = " | ".join(f"{run[name][task]:.1f}" for task in tasks)
        lines.append(f"| {'random policy' if name == 'random' else 'best run'} | {int(name == 'best')} | {cells} |")
    lines += ["", "| line | measured | passed |", "| --- | --- | --- |"]
    for line, held in run["lines"].items():
        passed = {True: "yes", False: "**no**", None: "-"}[held.get("passed")]
        lines.append(f"| {line} | {held['measured']} | {passed} |")
    return "\n".join(lines)


def command_of(given: argparse.Namespace) -> str:
    """The command as another person types it."""
    steps = f" --steps {given.steps}" if given.steps != STEPS else ""
    several = f" --at-once {given.at_once}" if given.at_once != 2 else ""
    return f"python experiments/mujoco_v5.py --python P{' --all-tasks' if given.all_tasks else ''}{steps}{several}"


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peers")
    parser.add_argument("--all-tasks", action="store_true", help="Hopper, HalfCheetah and Walker2d as well")
    parser.add_argument("--steps", type=int, help=f"environment steps of a run; {STEPS:,}, of a trial {TRIAL_STEPS:,}")
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time")
    parser.add_argument("--trial", action="store_true", help=f"seed {TRIAL_SEED} alone; nothing is recorded")
    parser.add_argument(
        "--rows", nargs="+", metavar="ROW", choices=(*ROWS, *PEERS), help=f"of a trial: {'; '.join((*ROWS, *PEERS))}"
    )
    parser.add_argument("--tasks", nargs="+", metavar="TASK", choices=TASKS, help="of a trial")
    given = parser.parse_args()
    if not given.trial and (given.rows or given.tasks):
        parser.error("--rows and --tasks: the recorded result has all of them; add --trial")
    if given.steps is None:
        given.steps = TRIAL_STEPS if given.trial else STEPS
    if given.steps < 1 or given.at_once < 1:
        parser.error(f"--steps and --at-once: got {given.steps} and {given.at_once}, expected at least 1")
    return given


def main() -> None:
    given = asked()
    rows = given.rows or (*ROWS, *PEERS)
    tasks = given.tasks or (TASKS if given.all_tasks else CHEAP)
    seeds = (TRIAL_SEED,) if given.trial else SEEDS
    versions = require_peers(given.python) if any(row in PEERS for row in rows) else {}
    out = RUNS / str(given.steps)
    kept = out / "kept" if given.trial else RESULTS / "mujoco_v5" / str(given.steps)
    for folder in (out, kept):
        folder.mkdir(parents=True, exist_ok=True)
    keys = [(row, task, seed) for seed in seeds for task in tasks for row in rows]
    finish_all([partial(keep, key, given.steps, out, given.python, kept) for key in keys], given.at_once)
    found = {key: json.loads((kept / f"{name_of(key)}.json").read_text()) for key in keys}
    random = {task: random_mean(task, out) for task in tasks}
    if given.trial:
        for key, run in found.items():
            shown = {name: value for name, value in run.items() if name != "curve"}
            print(name_of(key), f"random {random[key[1]]:.1f}", shown)
        return
    result = {**summary(found, random, given.steps), "versions": versions}
    record("mujoco_v5", result, command=command_of(given))
    picture(result, PICTURES / "mujoco_v5.png")


if __name__ == "__main__":
    main()
