"""Records a finished `make demo` for the README: its scores as JSON, its curves as a picture.

    make demo && python experiments/demo.py runs/demo-1
    python docs/generate.py

Pass line, fixed before the run: the held-out score rises by at least three standard errors of the paired difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from experiment import Experiment, Result, Run, Work, metrics, seconds
from pictures import panels, say

from rung.runs.statistics import mean_at_k, paired_difference
from rung.settings import read_settings
from rung.trainers.held_out import load_scores

PANELS = {
    "Held-out score (95 %) and reward": ("held_out/score", "reward/mean"),
    "KL to the start, nats a token": ("kl/start",),
    "Entropy, nats a token": ("entropy",),
    "Completion length, tokens": ("length/mean", "length/p90"),
    "Groups of samples, shares": ("groups/no_spread", "groups/all_right", "groups/all_wrong"),
    "Gradient norm": ("grad/norm",),
}


def measure(work: Work, folders: object) -> dict[str, Any]:
    if work.small:
        work.finish(Run("grpo", "arithmetic", 0, more=("--model", "tiny")), work.folder)
    elif work.asked.folder is None:
        raise SystemExit("no run was given: make demo, then python experiments/demo.py runs/demo-1")
    folder: Path = work.folder if work.small else work.asked.folder
    settings = read_settings(folder / "settings.yaml")
    before, after = load_scores(folder, 0), load_scores(folder, settings.steps)
    assert before is not None and after is not None, f"{folder} is not a finished run"
    gain = paired_difference(before, after)
    work.trained.append(folder)
    return {
        "command": "make demo",
        "model": "SmolLM2-135M, dequantised from 4 bit,",
        "minutes": seconds(folder) / 60,
        "seed": settings.seed,
        "steps": settings.steps,
        "before": asdict(mean_at_k(before)),
        "after": asdict(mean_at_k(after)),
        "gain": {**asdict(gain), "in_standard_errors": gain.in_standard_errors},
        "passed": (gain.in_standard_errors or 0.0) >= 3.0,
        "curves": {name: smooth(metrics(folder), name) for names in PANELS.values() for name in names},
        "band": [[row["step"], row["held_out/low"], row["held_out/high"]] for row in scored(folder)],
    }


def scored(folder: Path) -> list[Mapping[str, Any]]:
    return [row for row in metrics(folder) if row.get("held_out/low") is not None]


def smooth(rows: list[dict[str, Any]], name: str) -> list[list[float]]:
    """[step, value]; where there are many steps, means of ten of them."""
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    each = 10 if len(points) > 50 else 1
    return [np.mean(points[i : i + each], axis=0).tolist() for i in range(0, len(points), each)]


def picture(run: Result) -> Any:
    """The metrics of a README's reader, a panel each."""
    figure, axes = panels(2, 3, size=(11, 5.2))
    for panel, (title, names) in zip(axes.flat, PANELS.items(), strict=True):
        panel.set_title(title, loc="left", fontsize=10)
        for name in names:
            panel.plot(*zip(*run["curves"][name], strict=True), label=name)
        say(panel, legend=len(names) > 1)
    axes.flat[0].fill_between(*zip(*run["band"], strict=True), alpha=0.16, linewidth=0)
    return figure


def lines(run: Result) -> Iterator[str]:
    """What the README says of it."""

    def share(score: Mapping[str, float]) -> str:
        return f"{100 * score['value']:.1f} % ({100 * score['low']:.1f} to {100 * score['high']:.1f})"

    gain = run["gain"]
    yield (
        f"Recorded run ({run['machine']}; {run['minutes']:.1f} minutes, seed {run['seed']}, commit {run['commit']}): "
        f"{run['model']} goes from **{share(run['before'])}** to **{share(run['after'])}** right on "
        f"{run['before']['items']} held-out sums; paired difference {100 * gain['value']:+.1f} points "
        f"({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}), {gain['in_standard_errors']:.1f} standard errors. "
        f"There is no warm-up before it: all of the gain is RL's."
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="?", help="the finished run of make demo")


EXPERIMENT = Experiment.here(
    globals(),
    pass_line="at least 3 standard errors",
    origin_first=False,
)

if __name__ == "__main__":
    EXPERIMENT.main()
