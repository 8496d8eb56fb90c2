"""CartPole-v1: every method of the ladder, five seeds, one command. It goes on where it stopped.

    python experiments/cartpole.py             runs what is missing, two at a time, then writes the results
    python docs/generate.py                    prints them into docs/experiments.md

Pass lines, fixed before the run: within its budget a run's held-out score (the mean return of 20 greedy episodes)
reaches 475 in every one of 5 seeds; for `reinforce` in 4 of 5.

Settings are the methods' own and the recipes', apart from BUDGETS and, for DAPO, no penalty on length (an episode of
CartPole is good because it is long).
"""

from __future__ import annotations

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

from rung.lab.compare.seed_statistics import score_interval

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


def curve(folder: Path) -> list[dict[str, float]]:
    """Each evaluation with the environment steps that came before it."""
    return [
        {"steps": row.get("environment/steps") or 0.0, "score": row["held_out/score"]} for row in evaluations(folder)
    ]


def summary(method: str) -> dict[str, Any]:
    found = {seed: curve(RUNS / f"{method}-{seed}") for seed in SEEDS}
    first = {seed: next((e["steps"] for e in one if e["score"] >= SOLVED), None) for seed, one in found.items()}
    taken = [seconds(RUNS / f"{method}-{seed}") for seed in SEEDS]
    solved = sum(steps is not None for steps in first.values())
    finals = [one[-1]["score"] for one in found.values()]
    interval = score_interval(np.array(finals)[:, None], common_items=True)
    return {
        "solved": solved,
        "needed": NEEDED[method],
        "passed": solved >= NEEDED[method],
        "first_at": first,
        "final": finals,
        "final_iqm": interval.value,
        "final_interval": (interval.low, interval.high),
        "steps": [one[-1]["steps"] for one in found.values()],
        "seconds": taken,
        "curves": found,
        "settings": list(BUDGETS[method]),
    }


def picture(methods: dict[str, Any], path: Path) -> None:
    """Score against environment steps: the interquartile mean over seeds, its bootstrap interval, and each seed."""
    figure, axes = plots().subplots(2, 4, figsize=(13, 6), sharey=True)
    for panel, (method, found) in zip(axes.flat, methods.items(), strict=True):
        curves = [found["curves"][seed] for seed in found["curves"]]
        length = min(len(curve) for curve in curves)
        steps = np.mean([[e["steps"] for e in curve[:length]] for curve in curves], axis=0) / 1000
        scores_SN = np.array([[e["score"] for e in curve[:length]] for curve in curves])
        found_N = [score_interval(scores_S[:, None], common_items=True) for scores_S in scores_SN.T]
        panel.plot(steps, scores_SN.T, color="grey", linewidth=0.5, alpha=0.6)
        panel.fill_between(steps, [one.low for one in found_N], [one.high for one in found_N], alpha=0.2, linewidth=0)
        panel.plot(steps, [one.value for one in found_N], color="C0", linewidth=2)
        panel.axhline(SOLVED, color="grey", linewidth=0.8, linestyle="--")
        panel.set_title(f"{method}: {found['solved']} of {len(curves)}", fontsize=10)
    for panel in axes[1]:
        panel.set_xlabel("environment steps, thousands")
    for panel in axes[:, 0]:
        panel.set_ylabel("held-out mean return")
    said = "CartPole-v1: interquartile mean over 5 seeds, its 95 % bootstrap interval, and each seed; solved at 475"
    figure.suptitle(said, fontsize=11)
    save_picture(figure, path)


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("cartpole")
    if run is None:
        return "Not recorded yet."
    lines = [
        "![Held-out return against environment steps, a panel a method](pictures/cartpole.png)",
        "",
        f"{provenance(run)} Reaching 475 counts at any evaluation; the last one stands beside it.",
        "",
        "| method | seeds that reached 475 | steps until then, thousands | last score, IQM | interval | worst seed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in run["methods"].items():
        first = sorted(steps for steps in found["first_at"].values() if steps is not None)
        median = f"{first[len(first) // 2] / 1000:.0f}" if first else "never"
        low, high = found["final_interval"]
        solved = f"{found['solved']} of {len(run['seeds'])} (line: {found['needed']})"
        last = f"{found['final_iqm']:.0f} | {low:.0f} to {high:.0f}"
        lines.append(f"| `{name}` | {solved} | {median} | {last} | {min(found['final']):.0f} |")
    return "\n".join(lines)


def main() -> None:
    runs = [
        Run(f"{method}-{seed}", "train", method, "--task", "CartPole-v1", "--seed", str(seed), settings=BUDGETS[method])
        for seed in SEEDS
        for method in BUDGETS
    ]
    folders = run_all(runs, RUNS)
    methods = {method: summary(method) for method in BUDGETS}
    result = {
        "seeds": list(SEEDS),
        "pass_line": "475 in 5 of 5 seeds, reinforce in 4 of 5",
        "passed": all(found["passed"] for found in methods.values()),
        "methods": methods,
    }
    record("cartpole", result, runs_in=folders)
    picture(methods, PICTURES / "cartpole.png")


if __name__ == "__main__":
    main()
