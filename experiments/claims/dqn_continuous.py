"""DQN is weak where actions are continuous: DQN on a grid of the action's values beside PPO with the action as it is.

The article says "time-continuous"; what DQN cannot do is take a maximum over a continuous action. With B values in
each of d dimensions it chooses among B^d. The runs are those of experiments/discrete_or_continuous.py, which has its
own pass lines; this claim reads its recorded result and runs nothing:

1. on Pendulum (1 dimension) and Reacher (2), the score of the best grid less that of PPO at the same steps;
2. the fewest values a dimension that suffice: the coarsest grid that is not told apart from the best (by its
   difference's interval), on the task that needs more; and how many actions that is in more dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claim import HOLDS, Claim, Measured, Number, difference, not_here, only_when
from running import plots, recorded, save_picture

SOURCE = "discrete_or_continuous"
FIRST = "Pendulum-v1"
CONTINUOUS = "ppo"
DIMENSIONS = {"Pendulum": 1, "Reacher": 2, "Hopper": 3, "HalfCheetah": 6, "Humanoid": 17}
"""Of the actions of Gymnasium's tasks."""
MANY = 6
HELD = 1 << 16
"""Actions that a network can still have outputs for; rung refuses a larger grid."""
CLAIM = Claim(
    name="dqn_continuous",
    sentence="DQN is weak where actions are continuous",
    measured="mean return of DQN on its best grid of Pendulum's action less that of PPO with the action as it is",
    unit="",
    rule=f"weak on a task: the best grid's score less PPO's has its whole interval below 0. On all tasks: holds. On "
    f"some: holds here only on them. On none: the values a dimension that suffice make more than {HELD:,} actions of "
    f"{MANY} dimensions: holds here only when there are many dimensions; if not: does not hold here.",
)


def verdict(gaps: Mapping[str, Number], bins: int) -> str:
    """`gaps`: by task, the best grid's score less PPO's; `bins`: values a dimension that suffice on all tasks."""
    weak = [task for task, gap in gaps.items() if gap.high < 0]
    if len(weak) == len(gaps):
        return HOLDS
    if weak:
        return only_when(f"the task is {' or '.join(weak)}")
    if bins**MANY > HELD:
        return only_when(f"there are many dimensions: {bins} values in each of {MANY} are {bins**MANY:,} actions")
    return not_here("on a grid it does as well, and the grid stays small in many dimensions")


def scores_of(source: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """By task and arm, a score a seed; a grid is called by its values a dimension."""
    return {
        task: {
            arm if arm == CONTINUOUS else arm.split()[1]: [run["score"] for run in found["runs"].values()]
            for arm, found in arms.items()
        }
        for task, arms in source["tasks"].items()
    }


def best_grid(arms: Mapping[str, list[float]]) -> str:
    return max((arm for arm in arms if arm != CONTINUOUS), key=lambda arm: sum(arms[arm]) / len(arms[arm]))


def suffices(arms: Mapping[str, list[float]]) -> int:
    """Values a dimension of the coarsest grid that is not told apart from the best."""
    best = arms[best_grid(arms)]
    return min(int(a) for a in arms if a != CONTINUOUS and difference(arms[a], best).high >= 0)


def measure(source: Mapping[str, Any]) -> Measured:
    """`source`: the recorded result whose runs these are."""
    scores = scores_of(source)
    gaps = {task: difference(arms[best_grid(arms)], arms[CONTINUOUS]) for task, arms in scores.items()}
    bins = max(suffices(arms) for arms in scores.values())
    result = {
        "scores": scores,
        "gaps": {task: {"best": best_grid(scores[task]), **vars(gap)} for task, gap in gaps.items()},
        "suffices": bins,
        "steps": source["steps"],
        "source_commit": source["commit"],
    }
    return Measured(number=gaps[FIRST], verdict=verdict(gaps, bins), result=result)


def picture(result: Mapping[str, Any]) -> None:
    tasks = result["scores"]
    figure, axes = plots().subplots(1, len(tasks) + 1, figsize=(12, 3.4))
    for panel, (task, arms) in zip(axes, tasks.items(), strict=False):
        for place, scores in enumerate(arms.values()):
            panel.plot([place] * len(scores), scores, "o", alpha=0.6)
        panel.set_xticks(range(len(arms)), [a if a == CONTINUOUS else f"dqn, {a}" for a in arms], fontsize=8)
        panel.set_title(f"{task}: return of each seed", fontsize=9)
    for bins in (a for a in next(iter(tasks.values())) if a != CONTINUOUS):
        sizes = [int(bins) ** d for d in DIMENSIONS.values()]
        axes[-1].plot(list(DIMENSIONS.values()), sizes, "o-", label=f"{bins} values")
    axes[-1].axhline(HELD, color="grey", linewidth=0.8, linestyle="--")
    axes[-1].set_yscale("log")
    axes[-1].set_xlabel("dimensions of an action")
    axes[-1].set_title("actions of the grid", fontsize=9)
    axes[-1].legend(fontsize=8)
    save_picture(figure, CLAIM.picture)


def words() -> str:
    return CLAIM.words(lines_of)


def lines_of(run: Mapping[str, Any]) -> list[str]:
    arms = list(next(iter(run["scores"].values())))
    heads = " | ".join("PPO, no grid" if arm == CONTINUOUS else f"DQN, {arm} values" for arm in arms)
    lines = [f"| mean return after {run['steps']:,} steps | {heads} | best grid less PPO |"]
    lines += ["| --- |" + " --- |" * (len(arms) + 1)]
    for task, scores in run["scores"].items():
        means = " | ".join(f"{sum(scores[arm]) / len(scores[arm]):.1f}" for arm in arms)
        gap = Number(*(run["gaps"][task][key] for key in ("value", "low", "high")))
        lines.append(f"| {task} | {means} | {gap.words()} |")
    bins = run["suffices"]
    grids = ", ".join(f"{name} ({d}) {_actions(bins, d)}" for name, d in DIMENSIONS.items())
    said = f"{bins} values a dimension suffice. As many actions are that, by task and its dimensions: {grids}."
    return [*lines, "", f"{said} The runs are of commit {run['source_commit']}."]


def _actions(bins: int, dimensions: int) -> str:
    count = bins**dimensions
    return f"{count:,}" if count < 1e9 else f"{count:.0e}"


def main() -> None:
    source = recorded(SOURCE)
    if source is None:
        raise SystemExit(f"experiments/{SOURCE}.py has no recorded result; run it first: this claim reads its runs")
    found = measure(source)
    picture(found.result)
    CLAIM.record(found, seeds=source["seeds"])


if __name__ == "__main__":
    main()
