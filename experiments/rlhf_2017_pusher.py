"""Where labels about the untrained policy do not do: the ablations of Christiano et al. 2017 on Pusher-v5.

The same arms as rlhf_2017.py's, on a task that is another for a trained policy than for an untrained one: an arm is to
push a cylinder to a goal, and an untrained policy hardly touches it. R of a run is the mean true return of its last
ten rollouts.

Pass lines, fixed before the run, over five seeds:
  - 700 labels about the untrained policy alone (offline) come lower than 700 labels asked all along, by two standard
    errors or more;
  - segments of length 1 come lower than segments of 25 steps, both with 700 labels, by two standard errors or more.
They are those that rlhf_2017.py missed in two recorded runs. Pusher was chosen by one run each on seed 100, which is
not reported here, of four arms on Hopper, Walker2d and Pusher (docs/log.md): there offline came to -148, length 1 to
-47, 25 steps to -103 and the true reward to -76, so the first line is expected to be reached and the second one missed.
The true reward and queries at random stand beside, without a line.

Scaled down: 200,000 time steps a run, as in rlhf_2017.py, and every other setting as there on Reacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Experiment, Result, Work, read_all
from intervals import mean_and_error
from pictures import curve, panels, say
from rlhf_2017 import APART, ARMS, COMMON, LAST, TASKS, WORSE, line_of, lower_by, of_run, run_of
from words import table

TASK, LIKE = "Pusher-v5", "Reacher-v5"
"""The task, and that of rlhf_2017.py whose settings are taken."""
NAMES = {
    "700": "700 labels, segments of 25 steps",
    "offline": "all 700 about the untrained policy",
    "length_1": "segments of length 1",
    "random": "queries at random",
    "true": "the true reward",
}


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    found = read_all(folders, of_run)
    of = {arm: mean_and_error({TASK: [found[arm][seed]["last"] for seed in work.seeds]}) for arm in NAMES}
    arms = {arm: {"mean": mean, "error": error} for arm, (mean, error) in of.items()}
    arms |= {arm: {**arms[arm], **lower_by(of["700"], of[arm])} for arm in WORSE}
    return {
        "passed": all(one.get("passed", True) for one in arms.values()),
        "arms": {arm: arms[arm] for arm in NAMES},
        "first": float(np.mean([run["first"] for runs in found.values() for run in runs.values()])),
        "last_rollouts": LAST,
        "runs": {f"{arm}-{seed}": run for arm, runs in found.items() for seed, run in runs.items()},
        "settings": {"common": [*COMMON, *TASKS[LIKE]], "arms": {arm: ARMS[arm] for arm in NAMES}},
    }


def title(run: Result) -> str:
    said = "; ".join(f"{name} {run['arms'][arm]['mean']:.0f}" for arm, name in NAMES.items())
    return f"Return at the end: {said}"


def picture(run: Result) -> Any:
    """True return against environment steps: each seed thin, the mean thick."""
    figure, panel = panels(size=(7, 4.5))
    for arm, name in NAMES.items():
        points = np.array([run["runs"][f"{arm}-{seed}"]["curve"] for seed in run["seeds"]], float)
        points = points.reshape(len(points), -1, 2)
        line = curve(panel, points[0, :, 0] / 1000, points[..., 1], linewidth=2, label=name)
        panel.plot(points[0, :, 0] / 1000, points[..., 1].T, linewidth=0.5, alpha=0.4, color=line.get_color())
    say(panel, "environment steps, thousands", "true return, mean of ten rollouts", TASK, legend=True)
    return figure


def lines(run: Result) -> Iterator[str]:
    yield from ("", f"The first rollouts, of untrained policies, have a mean return of {run['first']:.1f}.", "")
    rows = [
        (NAMES[arm], f"{found['mean']:.1f}", f"{found['error']:.1f}", *line_of(found))
        for arm, found in run["arms"].items()
    ]
    yield from table("arm | true return | standard error | line | passed", rows)


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(5),
    pass_line="labels about the untrained policy alone, and segments of length 1, each lower than 700 labels by "
    f"{APART:g} standard errors",
    runs=lambda work: {(a, s): run_of(TASK, LIKE, a, s) for s in work.seeds for a in NAMES},
    shows="True return against environment steps",
)

if __name__ == "__main__":
    EXPERIMENT.main()
