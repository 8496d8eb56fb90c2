"""The README's first lines: does what a newcomer runs first rise, in every seed?

Each run is the README's: the tiny model on arithmetic, GRPO with eight samples a prompt, rewarded for answers of fewer
than six characters, ten steps. Nothing else is set.

Pass line, fixed before the runs: in each of three seeds the held-out score rises by at least three standard errors of
the paired difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiment import ROOT, Experiment, Result, Run, Work

from rung.runs.statistics import mean_at_k, paired_difference
from rung.settings import read_settings
from rung.trainers.held_out import load_scores

REWARD = ROOT / "experiments" / "short.py"


def runs(work: Work) -> Mapping[int, Run]:
    more = ("--model", "tiny", "--reward", f"{REWARD}:short")
    settings = ("method.samples_per_prompt=8", "steps=10")
    return {seed: Run("grpo", "arithmetic", seed, settings, more) for seed in work.seeds}


def measure(work: Work, folders: Mapping[int, Path]) -> dict[str, Any]:
    found: dict[int, dict[str, Any]] = {}
    for seed, folder in folders.items():
        scores = [load_scores(folder, step) for step in (0, read_settings(folder / "settings.yaml").steps)]
        before, after = (one for one in scores if one is not None)
        gain = paired_difference(before, after)
        found[seed] = {
            "before": asdict(mean_at_k(before)),
            "after": asdict(mean_at_k(after)),
            "gain": {**asdict(gain), "in_standard_errors": gain.in_standard_errors},
        }
    risen = all((one["gain"]["in_standard_errors"] or 0.0) >= 3.0 for one in found.values())
    return {"runs": found, "passed": risen}


def lines(run: Result) -> Iterator[str]:
    """What the README says of it."""
    before, after = (
        " and ".join((", ".join(said[:-1]), said[-1]))
        for name in ("before", "after")
        for said in [[f"{one[name]['value']:.2f}" for one in run["runs"].values()]]
    )
    yield (
        f"A tiny model, made on the spot, is rewarded for short answers: in ten steps the held-out score goes from "
        f"{before} to {after} (seeds {', '.join(map(str, run['seeds']))})."
    )


EXPERIMENT = Experiment.here(
    globals(), seeds=(0, 1, 2), pass_line="at least 3 standard errors in each seed", origin_first=False
)

if __name__ == "__main__":
    EXPERIMENT.main()
