"""RLHF from human preferences (Christiano et al. 2017), with synthetic labels, on two control tasks.

It goes on where it stopped.

    python experiments/rlhf_2017.py            runs what is missing, two at a time, then writes the results
    python experiments/rlhf_2017.py --seeds 1 --steps 40 --out DIR     a small trial, which writes no results
    python docs/generate.py                    prints them into docs/experiments.md

Of each run R is the mean return of 20 greedy episodes after the last step; its share of the way that the same learner
comes with the task's own reward is (R - R_start) / (R_true - R_start), where R_true is that learner's mean over seeds
and R_start the mean score of the untrained policies.

Pass lines, fixed before the run (methods.md 3.2), over two tasks and three seeds each:
  - 350 labels reach a mean share of 0.6, 700 reach 0.8, 1400 reach 0.9;
  - with 700 labels, segments of length 1 and offline queries each come lower by two standard errors or more.
Queries at random are reported without a pass line.

Scaled down: 200,000 time steps a run where the paper has up to 50 million; the label rate is proportional to
h / (T + h) with h = 80,000 in place of 2 million, so that it falls over the run as it does in the paper.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mujoco_scores import mean_and_error
from running import PICTURES, ROOT, Run, evaluations, plots, provenance, record, recorded, run_all, save_picture

RUNS = ROOT / "runs" / "rlhf_2017"
SEEDS, STEPS = 3, 100
TASKS: dict[str, tuple[str, ...]] = {
    "Pendulum-v1": ("method.advantage.discount=0.9", "method.advantage.lam=0.95", "method.step.max_kl=0.05"),
    "Swimmer-v5": ("method.entropy_bonus=0.001", "method.step.max_kl=0.02", "task.normalize_observations=true"),
}
"""Every arm of a task has these; both tasks have episodes of a fixed length of their own."""
DISCOUNTS = {"Pendulum-v1": 0.9, "Swimmer-v5": 0.995}
"""The methods': the true reward is scaled by the deviation of its discounted return, as a learned one is normalised; a
critic that is given rewards of -8 a step learns Pendulum much more slowly, and the comparison would flatter."""
COMMON = ("environments=2", "evaluation.every=10")
LEARNED = ("method.learned_reward.rate_halves_at=80000",)
ARMS: dict[str, tuple[str, ...]] = {
    "true": ("method.learned_reward=null", "task.normalize_rewards=true"),
    "350": (*LEARNED, "preferences.labels=350"),
    "700": (*LEARNED, "preferences.labels=700"),
    "1400": (*LEARNED, "preferences.labels=1400"),
    "length_1": (*LEARNED, "preferences.labels=700", "method.learned_reward.segment=1"),
    "offline": (*LEARNED, "preferences.labels=700", "method.learned_reward.first_share=1.0"),
    "random": (*LEARNED, "preferences.labels=700", "method.learned_reward.queries=AtRandom"),
}
LINES = {"350": 0.6, "700": 0.8, "1400": 0.9}
WORSE = ("length_1", "offline")
APART = 2.0
"""Standard errors."""
Key = tuple[str, str, int]


def run_of(key: Key, steps: int) -> Run:
    task, arm, seed = key
    discount = (f"task.discount={DISCOUNTS[task]}",) if arm == "true" else ()
    settings = (f"steps={steps}", *COMMON, *TASKS[task], *ARMS[arm], *discount)
    command = ("train", "rlhf@2017", "--task", task, "--seed", str(seed))
    return Run("-".join(map(str, key)), *command, settings=settings)


def curve(folder: Path) -> list[dict[str, Any]]:
    """Each evaluation, with what came before it."""
    kept = ("environment/steps", "held_out/score", "preferences/labels", "preferences/accuracy")
    more = ("preferences/true_correlation", "preferences/train_loss", "preferences/validation_loss")
    return [{name: row.get(name) for name in (*kept, *more)} for row in evaluations(folder)]


def shares_of(curves: dict[Key, list[dict[str, Any]]], seeds: Sequence[int]) -> dict[str, dict[str, list[float]]]:
    """By arm and task: each seed's share of the true reward's way."""
    found: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
    for task in TASKS:
        ends = {arm: [curves[task, arm, seed][-1]["held_out/score"] for seed in seeds] for arm in ARMS}
        start = float(np.mean([curves[task, arm, seed][0]["held_out/score"] for arm in ARMS for seed in seeds]))
        best = float(np.mean(ends["true"]))
        for arm, scores in ends.items():
            found[arm][task] = [(score - start) / (best - start) for score in scores]
    return found


def verdicts(shares: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Each pass line with what was measured, and whether it was reached."""
    found: dict[str, Any] = {}
    for arm, line in LINES.items():
        mean, error = mean_and_error(shares[arm])
        found[f"{arm} labels"] = {"share": mean, "error": error, "line": line, "passed": mean >= line}
    full, full_error = mean_and_error(shares["700"])
    for arm in WORSE:
        mean, error = mean_and_error(shares[arm])
        apart = (full - mean) / float(np.hypot(error, full_error))
        found[arm] = {"share": mean, "error": error, "lower_by_errors": apart, "passed": bool(apart >= APART)}
    mean, error = mean_and_error(shares["random"])
    found["random queries (no line)"] = {"share": mean, "error": error}
    return found


def picture(curves: dict[Key, list[dict[str, Any]]], seeds: Sequence[int], path: Path) -> None:
    """True return against environment steps: mean over seeds, a panel a task."""
    figure, axes = plots().subplots(1, len(TASKS), figsize=(6 * len(TASKS), 4.5))
    for panel, task in zip(axes, TASKS, strict=True):
        for arm in ARMS:
            each = [curves[task, arm, seed] for seed in seeds]
            steps = np.mean([[row["environment/steps"] or 0.0 for row in one] for one in each], axis=0) / 1000
            scores = np.mean([[row["held_out/score"] for row in one] for one in each], axis=0)
            panel.plot(steps, scores, label=arm, linewidth=2.5 if arm == "true" else 1.5)
        panel.set_title(task, fontsize=10)
        panel.set_xlabel("environment steps, thousands")
    axes[0].set_ylabel("held-out mean true return")
    axes[-1].legend(fontsize=8)
    save_picture(figure, path)


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("rlhf_2017")
    if run is None:
        return "Not recorded yet."
    lines = [
        "![True return against environment steps, a panel a task](pictures/rlhf_2017.png)",
        "",
        provenance(run),
        "",
        f"| arm | {' | '.join(TASKS)} | share of the true reward's way | standard error | line | passed |",
        f"| --- |{' --- |' * len(TASKS)} --- | --- | --- | --- |",
    ]
    for arm, found in run["verdicts"].items():
        by_task = run["shares"][arm.split()[0]]
        each = " | ".join(f"{np.mean(by_task[task]):.2f}" for task in TASKS)
        line = f"{found['line']:g}" if "line" in found else "none"
        if "lower_by_errors" in found:
            line = f"2 standard errors below 700 labels: {found['lower_by_errors']:.1f}"
        passed = {True: "yes", False: "**no**", None: "-"}[found.get("passed")]
        lines.append(f"| {arm} | {each} | {found['share']:.2f} | {found['error']:.2f} | {line} | {passed} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--out", type=Path, default=RUNS)
    given = parser.parse_args()
    whole = (given.seeds, given.steps, given.arms, given.tasks) == (SEEDS, STEPS, list(ARMS), list(TASKS))
    seeds = range(given.seeds)
    keys = [(task, arm, seed) for seed in seeds for task in given.tasks for arm in given.arms]
    folders = run_all([run_of(key, given.steps) for key in keys], given.out, at_once=2 if whole else 1)
    curves = {key: curve(folder) for key, folder in zip(keys, folders, strict=True)}
    if not whole:
        for key, rows in curves.items():
            print(key, [round(row["held_out/score"], 1) for row in rows], rows[-1])
        return
    shares = shares_of(curves, seeds)
    found = verdicts(shares)
    result = {
        "seeds": list(seeds),
        "pass_line": "share of the true reward's way 0.6, 0.8 and 0.9 with 350, 700 and 1400 labels; segments of "
        "length 1 and offline queries lower by two standard errors",
        "passed": all(one.get("passed", True) for one in found.values()),
        "verdicts": found,
        "shares": shares,
        "curves": {"-".join(map(str, key)): rows for key, rows in curves.items()},
        "settings": {"common": COMMON, "tasks": TASKS, "arms": ARMS, "steps": STEPS},
    }
    record("rlhf_2017", result, runs_in=folders)
    picture(curves, seeds, PICTURES / "rlhf_2017.png")


if __name__ == "__main__":
    main()
