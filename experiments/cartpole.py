"""CartPole-v1: every method of the ladder, five seeds, one command. It goes on where it stopped.

    python experiments/cartpole.py             runs what is missing, two at a time, then writes the results
    python docs/generate.py                    prints them into docs/experiments.md

Pass lines, fixed before the run: within its budget a run's held-out score (the mean return of 20 greedy episodes)
reaches 475 in every one of 5 seeds; for `reinforce` in 4 of 5.

Settings are the methods' own and the recipes', apart from BUDGETS and, for DAPO, no penalty on length (an episode of
CartPole is good because it is long).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from rung.reports.json_lines import read_rows
from rung.reports.machine import machine

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "cartpole"
SEEDS = range(5)
SOLVED = 475.0
BUDGETS: dict[str, tuple[str, ...]] = {
    "reinforce": ("steps=250", "evaluation.every=10"),
    "reinforce_baseline": ("steps=250", "evaluation.every=10"),
    "actor_critic": ("steps=3000", "evaluation.every=150"),
    "trpo": ("steps=100", "evaluation.every=5"),
    "ppo": ("steps=40", "evaluation.every=2"),
    "ppo_kl": ("steps=40", "evaluation.every=2"),
    "grpo": ("steps=40", "evaluation.every=2"),
    "dapo": ("steps=40", "evaluation.every=2", "method.shape_reward=null"),
}
NEEDED = {method: 4 if method == "reinforce" else 5 for method in BUDGETS}


def run(method: str, seed: int) -> None:
    """One run in a process of its own; finished ones are left alone, begun ones resumed."""
    folder = RUNS / f"{method}-{seed}"
    if (folder / "final").is_dir():
        return
    command = ["resume", str(folder)] if (folder / "settings.yaml").exists() else ["train", method]
    if command[0] == "train":
        command += ["--task", "CartPole-v1", "--seed", str(seed), "--out", str(folder), "--quiet"]
        for setting in (*BUDGETS[method], "saving.every=20", "reporting.page=false"):
            command += ["--set", setting]
    began = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "rung.cli", *command], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{method}, seed {seed}: exit {done.returncode}\n{done.stderr[-2000:]}")
    print(f"{method}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)


def evaluations(folder: Path) -> list[dict[str, float]]:
    """Each evaluation with the environment steps that came before it."""
    rows = [row for row in read_rows(folder / "metrics.jsonl").rows if row.get("held_out/score") is not None]
    return [{"steps": row.get("environment/steps") or 0.0, "score": row["held_out/score"]} for row in rows]


def summary(method: str) -> dict[str, Any]:
    found = {seed: evaluations(RUNS / f"{method}-{seed}") for seed in SEEDS}
    first = {seed: next((e["steps"] for e in curve if e["score"] >= SOLVED), None) for seed, curve in found.items()}
    timings = [read_rows(RUNS / f"{method}-{seed}" / "timings.jsonl").rows for seed in SEEDS]
    seconds = [sum(row.get("seconds/step") or 0.0 for row in rows) for rows in timings]
    solved = sum(steps is not None for steps in first.values())
    finals = [curve[-1]["score"] for curve in found.values()]
    return {
        "solved": solved,
        "needed": NEEDED[method],
        "passed": solved >= NEEDED[method],
        "first_at": first,
        "final": finals,
        "final_iqm": interquartile_mean(finals),
        "final_interval": bootstrap(finals),
        "steps": [curve[-1]["steps"] for curve in found.values()],
        "seconds": seconds,
        "curves": found,
        "settings": list(BUDGETS[method]),
    }


def interquartile_mean(values: list[float]) -> float:
    """The mean of the middle half; of five values, of the middle three (rliable, arXiv:2108.13264)."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """A 95 % interval of the interquartile mean, by drawing the seeds again."""
    generator = np.random.Generator(np.random.PCG64(0))
    means = [interquartile_mean(list(generator.choice(values, len(values)))) for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def picture(methods: dict[str, Any], path: Path) -> None:
    """Score against environment steps: the interquartile mean over seeds, and the seeds' range."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(13, 6), sharey=True)
    for panel, (method, found) in zip(axes.flat, methods.items(), strict=True):
        curves = [found["curves"][seed] for seed in found["curves"]]
        length = min(len(curve) for curve in curves)
        steps = np.mean([[e["steps"] for e in curve[:length]] for curve in curves], axis=0) / 1000
        scores = np.array([[e["score"] for e in curve[:length]] for curve in curves])
        panel.fill_between(steps, scores.min(0), scores.max(0), alpha=0.2, linewidth=0)
        panel.plot(steps, [interquartile_mean(list(column)) for column in scores.T], linewidth=2)
        panel.axhline(SOLVED, color="grey", linewidth=0.8, linestyle="--")
        panel.set_title(f"{method}: {found['solved']} of {len(curves)}", fontsize=10)
        panel.grid(alpha=0.2)
    for panel in axes[1]:
        panel.set_xlabel("environment steps, thousands")
    for panel in axes[:, 0]:
        panel.set_ylabel("held-out mean return")
    figure.suptitle("CartPole-v1: interquartile mean and range over 5 seeds; solved at 475", fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(run, method, seed) for seed in SEEDS for method in BUDGETS]
        for one in waiting:
            one.result()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    methods = {method: summary(method) for method in BUDGETS}
    result = {
        "command": "python experiments/cartpole.py",
        "commit": commit.stdout.strip(),
        "machine": machine(),
        "seeds": list(SEEDS),
        "hours": sum(sum(found["seconds"]) for found in methods.values()) / 3600,
        "minutes_of_this_call": (time.perf_counter() - began) / 60,
        "pass_line": "475 in 5 of 5 seeds, reinforce in 4 of 5",
        "passed": all(found["passed"] for found in methods.values()),
        "methods": methods,
    }
    (ROOT / "experiments" / "results" / "cartpole.json").write_text(json.dumps(result, indent=1) + "\n")
    picture(methods, ROOT / "docs" / "pictures" / "cartpole.png")
    print({method: f"{found['solved']}/{len(SEEDS)}" for method, found in methods.items()}, result["passed"])


if __name__ == "__main__":
    main()
