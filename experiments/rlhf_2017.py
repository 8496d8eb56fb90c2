"""RLHF from human preferences (Christiano et al. 2017), with synthetic labels, on two control tasks.

Of each run R is the mean true return of its last ten rollouts; its share of the way that the same learner comes with
the task's own reward is (R - R_random) / (R_true - R_random), where R_true is that learner's mean over seeds and
R_random the mean of the first rollouts, which the untrained policies made.

Pass lines, fixed before the first run (methods.md 3.2), over the two tasks and all seeds:
  - 350 labels reach a mean share of 0.6, 700 reach 0.8, 1400 reach 0.9;
  - with 700 labels, segments of length 1 and offline queries each come lower by two standard errors or more.
Queries at random are reported without a pass line.

It was run before, missed its lines, and stands below the new result; docs/log.md says what was found. What is
different now, chosen on seed 100, which is not reported:
  - Reacher in place of Swimmer, which one of three runs with the true reward had not learnt, and five seeds for three;
  - the L2 coefficient grows where validation loss is above 3 times training loss: at the paper's 1.5 it grew until
    the predictors hardly fitted (700 labels of Reacher: validation loss 0.51, and 0.28 with 3);
  - the labels' rate falls as early in the run as the paper's, see below;
  - R is of the policy as it acts while it learns, as the paper's curves are, where it was of 20 greedy episodes. By
    greedy episodes an untrained policy, which does next to nothing, is near Reacher's best. They stand beside.

Scaled down: 200,000 time steps a run where the paper has up to 50 million, and the label rate is proportional to
h / (T + h) with h = 8,000 in place of 2 million, the same share of the run. Before, h was 80,000: most labels came
late.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Experiment, Result, Run, Work, evaluations, metrics, read_all, recorded
from intervals import mean_and_error
from pictures import panels, say
from words import YES_NO, provenance, table

STEPS = 100
LAST = 10
"""Rollouts at the end of a run that its return is the mean of."""
TASKS: dict[str, tuple[str, ...]] = {
    "Pendulum-v1": ("method.advantage.discount=0.9", "method.advantage.lam=0.95", "method.optimizer.max_kl=0.05"),
    "Reacher-v5": ("method.optimizer.max_kl=0.02", "task.normalize_observations=true"),
}
"""Every arm of a task has these; both tasks have episodes of a fixed length of their own."""
DISCOUNTS = {"Pendulum-v1": 0.9, "Reacher-v5": 0.995}
"""The methods': the true reward is scaled by the deviation of its discounted return, as a learned one is normalised; a
critic that is given rewards of -8 a step learns Pendulum much more slowly, and the comparison would flatter."""
COMMON = (f"steps={STEPS}", "num_environments=2", "evaluation.every=10", "learner.threads=1")
LEARNED = ("method.learned_reward.rate_halves_at=8000", "method.learned_reward.l2_high=3")
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


def run_of(task: str, like: str, arm: str, seed: int) -> Run:
    """`like`: the task whose settings are taken."""
    discount = (f"task.discount={DISCOUNTS[like]}",) if arm == "true" else ()
    return Run("rlhf@2017", task, seed, (*COMMON, *TASKS[like], *ARMS[arm], *discount))


def true_return(row: Mapping[str, Any]) -> float:
    """The mean true return of a rollout's episodes; where the reward is learnt, a metric of its own has it."""
    hidden = row.get("preferences/true_return")
    return float(row["reward/mean"] if hidden is None else hidden)


def of_run(folder: Path) -> dict[str, Any]:
    """What a run came to: the returns of its first rollout and of its last ones, its curve, and its predictors."""
    rows = [row for row in metrics(folder) if row["step"]]
    returns = [true_return(row) for row in rows]
    kept = ("labels", "accuracy", "true_correlation", "train_loss", "validation_loss")
    return {
        "first": returns[0],
        "last": float(np.mean(returns[-LAST:])),
        "greedy": evaluations(folder)[-1]["held_out/score"],
        "curve": [
            [rows[end - 1]["environment/steps"], float(np.mean(returns[end - LAST : end]))]
            for end in range(LAST, len(rows) + 1, LAST)
        ],
        **{name: rows[-1].get(f"preferences/{name}") for name in kept},
    }


def shares_of(found: Mapping[str, Mapping[str, Any]], ending: str = "last") -> dict[str, dict[str, list[float]]]:
    """By arm and task, of runs by task, arm and seed: each seed's share of the true reward's way."""
    shares: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
    for task, arms in found.items():
        random = float(np.mean([run["first"] for runs in arms.values() for run in runs.values()]))
        best = float(np.mean([run[ending] for run in arms["true"].values()]))
        for arm, runs in arms.items():
            shares[arm][task] = [(run[ending] - random) / (best - random) for run in runs.values()]
    return shares


def lower_by(full: tuple[float, float], other: tuple[float, float]) -> dict[str, Any]:
    """By how many standard errors the other mean is lower, and whether that reaches the line."""
    apart = (full[0] - other[0]) / math.hypot(full[1], other[1])
    return {"lower_by_errors": apart, "passed": apart >= APART}


def verdicts(shares: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Each pass line with what was measured, and whether it was reached."""
    of = {arm: mean_and_error(by_task) for arm, by_task in shares.items()}
    said = {arm: {"share": mean, "error": error} for arm, (mean, error) in of.items()}
    return {
        **{f"{arm} labels": {**said[arm], "line": line, "passed": of[arm][0] >= line} for arm, line in LINES.items()},
        **{arm: {**said[arm], **lower_by(of["700"], of[arm])} for arm in WORSE},
        "random queries (no line)": said["random"],
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    found = read_all(folders, of_run)
    shares = shares_of(found)
    judged = verdicts(shares)
    return {
        "passed": all(one.get("passed", True) for one in judged.values()),
        "verdicts": judged,
        "shares": shares,
        "greedy_shares": shares_of(found, "greedy"),
        "runs": {folders[key].name: found[key[0]][key[1]][key[2]] for key in folders},
        "settings": {"common": COMMON, "tasks": TASKS, "arms": ARMS},
    }


WORDS = {
    "true": "the true reward",
    "length_1": "700 labels, segments of length 1",
    "offline": "700 labels about the untrained policy",
    "random": "700 labels, queries at random",
}


def title(run: Result) -> str:
    shares = [(labels, found["share"]) for labels, found in run["verdicts"].items() if labels.endswith(" labels")]
    return f"Share of the true reward's way: {', '.join(f'{share:.2f} with {labels}' for labels, share in shares)}"


def picture(run: Result) -> Any:
    """True return against environment steps: mean over seeds, a panel a task."""
    figure, axes = panels(1, len(TASKS), size=(6 * len(TASKS), 4.5))
    for panel, task in zip(axes, TASKS, strict=True):
        for arm in ARMS:
            curves = [run["runs"][f"{task}-{arm}-{seed}"]["curve"] for seed in run["seeds"]]
            points = np.array(curves, float).reshape(len(curves), -1, 2).mean(0)
            panel.plot(
                points[:, 0] / 1000,
                points[:, 1],
                label=WORDS.get(arm, f"{arm} labels"),
                linewidth=2.5 if arm == "true" else 1.5,
            )
        say(panel, "environment steps, thousands", title=task)
    say(axes[0], y="true return, mean of ten rollouts")
    say(axes[-1], legend=True)
    return figure


def lines(run: Result) -> Iterator[str]:
    """The last result, and below it the one before."""
    greedy = "; ".join(f"{arm} {mean_and_error(each)[0]:.2f}" for arm, each in run["greedy_shares"].items())
    before = recorded("rlhf_2017_before")
    assert before is not None
    said = "Before, with Swimmer, the paper's rule for the L2 coefficient, later labels and greedy episodes."
    yield from ("", *arms(run), "", f"Shares by 20 greedy episodes after the last step, without a line: {greedy}.")
    yield from ("", f"{said} {provenance(before)}", "", *arms(before))


def arms(run: Result) -> list[str]:
    """A row an arm: its shares by task, and its line."""
    tasks = list(run["shares"]["true"])
    rows: list[Sequence[str]] = []
    for arm, found in run["verdicts"].items():
        each = (f"{np.mean(run['shares'][arm.split()[0]][task]):.2f}" for task in tasks)
        rows.append((arm, *each, f"{found['share']:.2f}", f"{found['error']:.2f}", *line_of(found)))
    return table(f"arm | {' | '.join(tasks)} | share of the true reward's way | standard error | line | passed", rows)


def line_of(found: Mapping[str, Any]) -> tuple[str, str]:
    line = f"{found['line']:g}" if "line" in found else "none"
    if "lower_by_errors" in found:
        line = f"2 standard errors below 700 labels: {found['lower_by_errors']:.1f}"
    return line, YES_NO[found.get("passed")]


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(5),
    pass_line="share of the true reward's way 0.6, 0.8 and 0.9 with 350, 700 and 1400 labels; segments of length 1 and "
    "offline queries lower by two standard errors",
    runs=lambda work: {(t, a, s): run_of(t, t, a, s) for s in work.seeds for t in TASKS for a in ARMS},
    shows="True return against environment steps, a panel a task",
)

if __name__ == "__main__":
    EXPERIMENT.main()
