"""Where labels about the untrained policy do not do: the ablations of Christiano et al. 2017 on Pusher-v5.

It goes on where it stopped.

    python experiments/rlhf_2017_pusher.py     runs what is missing, two at a time, then writes the results
    python docs/generate.py                    prints them into docs/experiments.md

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

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
from mujoco_scores import mean_and_error
from rlhf_2017 import APART, ARMS, COMMON, DISCOUNTS, LAST, STEPS, TASKS, of_run
from running import PICTURES, ROOT, Run, plots, provenance, record, recorded, run_all, save_picture

RUNS = ROOT / "runs" / "rlhf_2017_pusher"
SEEDS = range(5)
TASK = "Pusher-v5"
LIKE = "Reacher-v5"
"""The task of rlhf_2017.py whose settings are taken."""
SETTINGS = (*TASKS[LIKE], f"steps={STEPS}")
COMPARED = ("700", "offline", "length_1", "random", "true")
WORSE = ("offline", "length_1")
NAMES = {
    "700": "700 labels, segments of 25 steps",
    "offline": "all 700 about the untrained policy",
    "length_1": "segments of length 1",
    "random": "queries at random",
    "true": "the true reward",
}


def run_of(arm: str, seed: int) -> Run:
    discount = (f"task.discount={DISCOUNTS[LIKE]}",) if arm == "true" else ()
    settings = (*COMMON, *SETTINGS, *ARMS[arm], *discount)
    return Run(f"{arm}-{seed}", "train", "rlhf@2017", "--task", TASK, "--seed", str(seed), settings=settings)


def summary(returns: Mapping[str, list[float]]) -> dict[str, dict[str, Any]]:
    """By arm: mean return, its standard error, and, where there is a line, by how many errors it is lower."""
    found: dict[str, dict[str, Any]] = {}
    for arm, values in returns.items():
        mean, error = mean_and_error({TASK: values})
        found[arm] = {"mean": mean, "error": error}
    for arm in WORSE:
        apart = (found["700"]["mean"] - found[arm]["mean"]) / float(
            np.hypot(found["700"]["error"], found[arm]["error"])
        )
        found[arm] |= {"lower_by_errors": apart, "passed": bool(apart >= APART)}
    return found


def picture(runs: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
    """True return against environment steps: each seed thin, the mean thick."""
    figure, panel = plots().subplots(figsize=(7, 4.5))
    for arm in COMPARED:
        curves = np.array([runs[arm, seed]["curve"] for seed in SEEDS])
        thousands = curves[0, :, 0] / 1000
        (line,) = panel.plot(thousands, curves[:, :, 1].mean(0), linewidth=2, label=NAMES[arm])
        panel.plot(thousands, curves[:, :, 1].T, linewidth=0.5, alpha=0.4, color=line.get_color())
    panel.set_title(TASK, fontsize=10)
    panel.set_xlabel("environment steps, thousands")
    panel.set_ylabel("true return, mean of ten rollouts")
    panel.legend(fontsize=8)
    save_picture(figure, PICTURES / "rlhf_2017_pusher.png")


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("rlhf_2017_pusher")
    if run is None:
        return "Not recorded yet."
    lines = [
        "![True return against environment steps](pictures/rlhf_2017_pusher.png)",
        "",
        provenance(run),
        "",
        f"The first rollouts, of untrained policies, have a mean return of {run['first']:.1f}.",
        "",
        "| arm | true return | standard error | line | passed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for arm, found in run["arms"].items():
        apart = found.get("lower_by_errors")
        line = "none" if apart is None else f"2 standard errors below 700 labels: {apart:.1f}"
        passed = {True: "yes", False: "**no**", None: "-"}[found.get("passed")]
        lines.append(f"| {NAMES[arm]} | {found['mean']:.1f} | {found['error']:.1f} | {line} | {passed} |")
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0]).parse_args()
    keys = [(arm, seed) for seed in SEEDS for arm in COMPARED]
    folders = run_all([run_of(*key) for key in keys], RUNS)
    runs = {key: of_run(folder) for key, folder in zip(keys, folders, strict=True)}
    arms = summary({arm: [runs[arm, seed]["last"] for seed in SEEDS] for arm in COMPARED})
    result = {
        "seeds": list(SEEDS),
        "pass_line": "labels about the untrained policy alone, and segments of length 1, each lower than 700 labels "
        f"by {APART:g} standard errors",
        "passed": all(found.get("passed", True) for found in arms.values()),
        "arms": arms,
        "first": float(np.mean([run["first"] for run in runs.values()])),
        "last_rollouts": LAST,
        "runs": {f"{arm}-{seed}": run for (arm, seed), run in runs.items()},
        "settings": {"common": [*COMMON, *SETTINGS], "arms": {arm: ARMS[arm] for arm in COMPARED}},
    }
    record("rlhf_2017_pusher", result, runs_in=folders)
    picture(runs)


if __name__ == "__main__":
    main()
