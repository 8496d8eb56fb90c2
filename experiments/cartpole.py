"""CartPole-v1: every method of the ladder, five seeds, one command. It goes on where it stopped.

Pass lines, fixed before the run: within its budget a run's held-out score (the mean return of 20 greedy episodes)
reaches 475 in every one of 5 seeds; for `reinforce` in 4 of 5. That is at any evaluation, which is less than staying
there: the usual line is a mean of 475 over a hundred episodes. So the mean of each run's last five evaluations, a
hundred episodes, is reported beside it, without a line.

Settings are the methods' own and the recipes', apart from BUDGETS and, for DAPO, no penalty on length (an episode of
CartPole is good because it is long).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Experiment, Result, Run, Work, scores, seconds
from pictures import curve, iqm, panels, say
from words import table

SOLVED = 475.0
LAST = 5
"""Evaluations at the end: of 20 episodes each, a hundred."""
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


def stayed(scores: Iterable[float]) -> bool:
    """Whether the last evaluations, a hundred episodes, have a mean of 475.

    >>> stayed([500, 0, 475, 475, 475, 475, 475]), stayed([500, 500, 500, 500, 300, 500])
    (True, False)
    """
    return float(np.mean(list(scores)[-LAST:])) >= SOLVED


def summary(method: str, folders: Mapping[int, Path]) -> dict[str, Any]:
    found = {
        seed: [dict(zip(("steps", "score"), point, strict=True)) for point in scores(folder)]
        for seed, folder in folders.items()
    }
    first = {seed: next((e["steps"] for e in one if e["score"] >= SOLVED), None) for seed, one in found.items()}
    solved = sum(steps is not None for steps in first.values())
    finals = [one[-1]["score"] for one in found.values()]
    (middle,), (low,), (high,) = iqm(np.array(finals)[:, None])
    return {
        "solved": solved,
        "needed": NEEDED[method],
        "passed": solved >= NEEDED[method],
        "first_at": first,
        "final": finals,
        "final_iqm": middle,
        "final_interval": (low, high),
        "steps": [one[-1]["steps"] for one in found.values()],
        "seconds": [seconds(folder) for folder in folders.values()],
        "curves": found,
        "settings": list(BUDGETS[method]),
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    methods = {m: summary(m, {seed: folders[m, seed] for seed in work.seeds}) for m in BUDGETS}
    return {"passed": all(found["passed"] for found in methods.values()), "methods": methods}


def title(run: Result) -> str:
    every = [name for name, found in run["methods"].items() if found["solved"] == len(found["curves"])]
    return f"{len(every)} of {len(run['methods'])} methods reach {SOLVED:g} on CartPole-v1 in every seed"


def picture(run: Result) -> Any:
    """Score against environment steps: the interquartile mean over seeds, its bootstrap interval, and each seed."""
    figure, axes = panels(2, 4, size=(13, 6), sharex=True, sharey=True)
    for panel, (method, found) in zip(axes.flat, run["methods"].items(), strict=True):
        length = min(map(len, found["curves"].values()))
        points_SN2 = np.array([[[e["steps"], e["score"]] for e in one[:length]] for one in found["curves"].values()])
        steps, values = points_SN2[..., 0].mean(0) / 1000, points_SN2[..., 1]
        panel.plot(steps, values.T, color="grey", linewidth=0.5, alpha=0.6)
        curve(panel, steps, values, band="iqm", fill=0.2, color="C0", linewidth=2)
        say(panel, title=f"{method}: {found['solved']} of {len(values)} seeds", level=SOLVED)
    for panel in axes[1]:
        say(panel, "environment steps, thousands", xscale="symlog", xlim=(0, None))
    for panel in axes[:, 0]:
        say(panel, y="held-out return: IQM, 95 %")
    return figure


def lines(run: Result) -> Iterator[str]:
    yield (
        f"Reaching 475 counts at any evaluation. That is less than staying there: the column beside it has the seeds "
        f"whose last {LAST} evaluations, {20 * LAST} greedy episodes, have a mean of 475."
    )
    yield ""
    rows: list[tuple[str, ...]] = []
    for name, found in run["methods"].items():
        first = sorted(steps for steps in found["first_at"].values() if steps is not None)
        low, high = found["final_interval"]
        seeds = len(run["seeds"])
        lasting = sum(stayed(e["score"] for e in one) for one in found["curves"].values())
        rows.append(
            (
                *(f"`{name}`", f"{found['solved']} of {seeds} (line: {found['needed']})", f"{lasting} of {seeds}"),
                *(f"{first[len(first) // 2] / 1000:.0f}" if first else "never", f"{found['final_iqm']:.0f}"),
                *(f"{low:.0f} to {high:.0f}", f"{min(found['final']):.0f}"),
            )
        )
    yield from table(
        "method | seeds that reached 475 once | seeds at 475 over the last hundred | steps until then, thousands | "
        "last score, IQM | interval | worst seed",
        rows,
    )


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(5),
    pass_line="475 in 5 of 5 seeds, reinforce in 4 of 5",
    runs=lambda work: {(m, s): Run(m, "CartPole-v1", s, BUDGETS[m]) for s in work.seeds for m in BUDGETS},
    shows="Held-out return against environment steps, a panel a method",
)

if __name__ == "__main__":
    EXPERIMENT.main()
