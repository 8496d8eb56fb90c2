"""DQN is weak where actions are continuous: DQN on a grid of the action's values beside PPO with the action as it is.

The article says "time-continuous"; what DQN cannot do is take a maximum over a continuous action. With B values in
each of d dimensions it chooses among B^d. The runs are those of experiments/discrete_or_continuous.py, which has its
own pass lines; this claim reads its recorded result and runs nothing:

1. on Pendulum (1 dimension) and Reacher (2), the score of the best grid less that of PPO at the same steps;
2. the fewest values a dimension that suffice: the coarsest grid that is not told apart from the best (by its
   difference's interval), on the task that needs more; and how many actions that is in more dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from claim import HOLDS, Check, Claim, Result, not_here, numbers, only_when
from experiment import Work, required
from intervals import Number, difference
from pictures import GREY, dots, panels, say
from words import table

SOURCE = "discrete_or_continuous"
FIRST = "Pendulum-v1"
CONTINUOUS = "ppo"
DIMENSIONS = {"Pendulum": 1, "Reacher": 2, "Hopper": 3, "HalfCheetah": 6, "Humanoid": 17}
"""Of the actions of Gymnasium's tasks."""
MANY = 6
HELD = 1 << 16
"""Actions that a network can still have outputs for; rung refuses a larger grid."""


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


def of_scores(source: Result) -> dict[str, Any]:
    """`source`: the recorded result whose runs these are."""
    scores = scores_of(source)
    gaps = {task: difference(arms[best_grid(arms)], arms[CONTINUOUS]) for task, arms in scores.items()}
    bins = max(suffices(arms) for arms in scores.values())
    return {
        "number": vars(gaps[FIRST]),
        "verdict": verdict(gaps, bins),
        "scores": scores,
        "gaps": {task: {"best": best_grid(scores[task]), **gap} for task, gap in numbers(gaps).items()},
        "suffices": bins,
        "steps": source["steps"],
        "source_commit": source["commit"],
        "seeds": source["seeds"],
    }


def measure(work: Work, folders: object) -> dict[str, Any]:
    return of_scores(required(SOURCE))


def checks(run: Result) -> Iterator[Check]:
    """The rule asks about one number of dimensions; the table has more."""
    bins = run["suffices"]
    beyond = {task: size for task, size in DIMENSIONS.items() if bins**size > HELD}
    if run["verdict"].startswith("does not hold") and beyond:
        said = " or ".join(
            f"the {size} of {task} ({_actions(bins, size)} actions of the grid)" for task, size in beyond.items()
        )
        yield Check(
            f"the rule asks about {MANY} dimensions; of the tasks in the table it is not true for {', '.join(beyond)}",
            only_when(f"actions have many dimensions, as {said}; in 1 and 2 the best grid is not below PPO"),
        )
    yield Check(
        f"returns are measured in 1 and 2 dimensions only, after {run['steps']:,} steps; beyond, grids are counted"
    )


def picture(run: Result) -> Any:
    figure, axes = panels(1, len(run["scores"]) + 1, size=(12, 3.4))
    for panel, (task, arms) in zip(axes, run["scores"].items(), strict=False):
        dots(panel, arms, [arm if arm == CONTINUOUS else f"dqn, {arm}" for arm in arms], fontsize=8)
        panel.set_title(f"{task}: return of each seed", fontsize=9)
    for bins in (arm for arm in run["scores"][FIRST] if arm != CONTINUOUS):
        sizes = [int(bins) ** d for d in DIMENSIONS.values()]
        axes[-1].plot(list(DIMENSIONS.values()), sizes, "o-", label=f"{bins} values")
    axes[-1].axhline(HELD, **GREY)
    axes[-1].set_title("actions to choose among", fontsize=9)
    say(axes[-1], "dimensions of an action", yscale="log", legend=True)
    return figure


def lines(run: Result) -> Iterator[str]:
    arms = list(next(iter(run["scores"].values())))
    heads = " | ".join("PPO, no grid" if arm == CONTINUOUS else f"DQN, {arm} values" for arm in arms)
    rows = [
        (task, *(f"{sum(scores[arm]) / len(scores[arm]):.1f}" for arm in arms), Number.of(run["gaps"][task]).words())
        for task, scores in run["scores"].items()
    ]
    yield from table(f"mean return after {run['steps']:,} steps | {heads} | best grid less PPO", rows)
    bins = run["suffices"]
    grids = ", ".join(f"{name} ({d}) {_actions(bins, d)}" for name, d in DIMENSIONS.items())
    said = f"{bins} values a dimension suffice. As many actions are that, by task and its dimensions: {grids}."
    yield from ("", f"{said} The runs are of commit {run['source_commit']}.")


def _actions(bins: int, dimensions: int) -> str:
    count = bins**dimensions
    return f"{count:,}" if count < 1e9 else f"{count:.0e}"


EXPERIMENT = Claim.here(
    globals(),
    sentence="DQN is weak where actions are continuous",
    measured="mean return of DQN on its best grid of Pendulum's action less that of PPO with the action as it is",
    unit="",
    rule=f"weak on a task: the best grid's score less PPO's has its whole interval below 0. On all tasks: holds. On "
    f"some: holds here only on them. On none: the values a dimension that suffice make more than {HELD:,} actions of "
    f"{MANY} dimensions: holds here only when there are many dimensions; if not: does not hold here.",
)

if __name__ == "__main__":
    EXPERIMENT.main()
