"""How mujoco_v5.py scores, normalises and judges; pure functions of what the runs brought.

An `Episodes` is a run's training episodes as [environment steps until then, mean raw return, how many episodes]: a
rollout of rung has one such row, whose episodes are known by their mean, Stable-Baselines3 one for each episode.
`Scores` are [row of the table][task], a list over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from intervals import mean_and_error

Episodes = Sequence[Sequence[float]]
Scores = Mapping[str, Mapping[str, Sequence[float]]]
LAST, POINTS = 100, 50
CLIP, ADAPTIVE, FIXED, NO_CLIP, TRPO = "clip 0.2", "adaptive KL 0.01", "fixed KL 1", "no clip or penalty", "trpo"
TABLE = (NO_CLIP, CLIP, ADAPTIVE, FIXED, TRPO)
"""The rows that make the scale: what is best is the best of these runs."""
TUNED_TRPO, SB3_PPO, SB3_TRPO = "trpo, the zoo's settings", "SB3 PPO", "sb3-contrib TRPO"
ENOUGH, APART, NEAR, ERRORS, KL = 0.70, 0.3, 0.05, 2.0, 1.5
"""The pass lines' numbers."""


def last_mean(episodes: Episodes, count: int = LAST) -> float:
    """The mean return of the last `count` episodes, of all where there are fewer; NaN where there is none.

    Of the oldest row only as many episodes count as are needed, with that row's mean.

    >>> last_mean([[10, 1.0, 5], [20, 2.0, 2], [30, 4.0, 2]], count=4)
    3.0
    >>> last_mean([[10, 1.0, 50], [20, 4.0, 2]], count=4)
    2.5
    """
    total, needed = 0.0, float(count)
    for _, mean, many in reversed(episodes):
        taken = min(many, needed)
        total, needed = total + taken * mean, needed - taken
        if needed <= 0:
            break
    return total / (count - needed) if needed < count else math.nan


def curve(episodes: Episodes, steps: float, points: int = POINTS) -> list[list[float]]:
    """The same score along the run: [environment steps, mean of the last 100 episodes until then].

    >>> curve([[10, 1.0, 100], [20, 3.0, 50]], steps=20, points=2)
    [[10.0, 1.0], [20.0, 2.0]]
    """
    found: list[list[float]] = []
    for at in np.linspace(steps / points, steps, points):
        until = [row for row in episodes if row[0] <= at]
        if until:
            found.append([float(at), last_mean(until)])
    return found


def best_of(scores: Scores, task: str) -> float:
    """The best single run of the table on a task."""
    return max(score for row in TABLE for score in scores[row][task])


def normalised(scores: Scores, random: Mapping[str, float]) -> dict[str, dict[str, list[float]]]:
    """Every run's score with random policy = 0 and the table's best run = 1, a task at a time.

    Raises:
        ValueError: on some task no run of the table is better than random, so that there is no scale.
    """
    best = {task: best_of(scores, task) for task in random}
    flat = [task for task in random if not best[task] > random[task]]
    if flat:
        raise ValueError(f"got no run that scores above the random policy on {', '.join(flat)}, so there is no scale")
    return {
        row: {
            task: [(score - random[task]) / (best[task] - random[task]) for score in one]
            for task, one in by_task.items()
        }
        for row, by_task in scores.items()
    }


def beside(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How much higher ours is on the mean over tasks, and the standard error of that.

    >>> beside({"a": [1.0, 3.0]}, {"a": [1.0, 1.0]})
    {'difference': 1.0, 'error': 1.0}
    """
    (mine, my_error), (other, its_error) = mean_and_error(ours), mean_and_error(theirs)
    return {"difference": mine - other, "error": math.hypot(my_error, its_error)}


def lines_held(shares: Mapping[str, Mapping[str, Sequence[float]]], largest_kl: float) -> dict[str, dict[str, Any]]:
    """Each pass line with what was measured and whether it holds; what is only reported has no `passed`.

    Args:
        shares: normalised scores of the table's rows, and of those beside it that were run.
        largest_kl: of TRPO's accepted steps, as a share of δ.
    """
    mean = {row: mean_and_error(shares[row])[0] for row in TABLE}
    clip, plain = mean[CLIP], mean[NO_CLIP]
    penalties = (ADAPTIVE, FIXED)
    found: dict[str, dict[str, Any]] = {
        f"{CLIP} comes to {ENOUGH:.2f} or more": {"measured": f"{clip:.2f}", "passed": clip >= ENOUGH},
        f"{NO_CLIP} is the lowest row of PPO, and below 0 or {APART} below {CLIP}": {
            "measured": f"{plain:.2f}, the next {min(clip, *(mean[row] for row in penalties)):.2f}",
            "passed": plain < min(clip, *(mean[row] for row in penalties)) and (plain < 0 or clip - plain >= APART),
        },
    }
    for row in penalties:
        found[f"{CLIP} is at most {NEAR} below {row}"] = {
            "measured": f"{clip - mean[row]:+.2f}",
            "passed": clip >= mean[row] - NEAR,
        }
    for ours, theirs, judged in ((TUNED_TRPO, SB3_TRPO, True), (TRPO, SB3_TRPO, False), (CLIP, SB3_PPO, False)):
        if ours not in shares or theirs not in shares:
            continue
        numbers = beside(shares[ours], shares[theirs])
        said = f"{numbers['difference']:+.2f}, standard error {numbers['error']:.2f}"
        if judged:
            passed = numbers["difference"] >= -ERRORS * numbers["error"]
            found[f"{ours}, is at most {ERRORS:g} standard errors below {theirs}"] = {
                "measured": said,
                "passed": passed,
            }
        else:
            found[f"{ours} beside {theirs}, each with its own settings (no line)"] = {"measured": said}
    found[f"no step of TRPO has a KL above {KL} times its bound"] = {
        "measured": f"{largest_kl:.2f} times",
        "passed": largest_kl <= KL,
    }
    return found
