"""DAPO's ladder: six rows from GRPO to DAPO, each adding one part, on the tiny model (Yu et al. 2025, table 1).

    python experiments/dapo_ladder.py               runs what is missing, two at a time, then writes the results
    python experiments/dapo_ladder.py --trial       one seed that is not reported, printed only
    python docs/generate.py                         prints them into docs/experiments.md

The rows, each with everything above it: GRPO (symmetric clip, mean over sequences, no KL), overlong filtering, a higher
upper clip, the soft penalty on length in place of the filter, the mean over tokens, dynamic sampling.

Scaled down: 0.8 million weights, sums and products of levels 2 to 5, answers of at most 11 tokens, 60 steps of 256
samples and 16 updates. What the parts are for must be there to be removed, so it is measured (methods.md 3.3): 16
updates a rollout; 20 to 40 % of the first samples truncated; lengths of a spread (deviation over mean) of 0.4; prompts
of mixed difficulty, so that after the tenth step less than 60 % of the groups are mixed without dynamic sampling.

Pass lines, fixed before the run, over three seeds:
1. The last row is at least two standard errors above the first, after the same number of steps.
2. The rank correlation of a row's place with its mean score is at least 0.8.
3. Entropy at the end with the higher clip is at least 1.5 times that with the symmetric one (rows 3 and 2).
Scores at an equal number of generated samples are reported beside, without a line: dynamic sampling draws more.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from running import PICTURES, ROOT, Run, evaluations, metrics, plots, provenance, record, recorded, run_all

RUNS = ROOT / "runs" / "dapo_ladder"
SEEDS, TRIAL = (0, 1, 2), (100,)
LENGTH, CACHE, STEPS, EARLY, LATE = 11, 3, 60, 3, 10
NAIVE = {
    "method.objective.high": "0.2",
    "method.aggregation": "PerSequence",
    "method.keep_group": "null",
    "method.shape_reward": "null",
}
FILTER = {"method.drop_rows": "DropTruncated"}
SOFT = {"method.shape_reward.limit": str(LENGTH), "method.shape_reward.cache": str(CACHE)}


def without(settings: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in names}


HIGHER = without(NAIVE, "method.objective.high")
SOFTER = without(HIGHER, "method.shape_reward")
ROWS: dict[str, dict[str, str]] = {
    "GRPO": NAIVE,
    "+ overlong filtering": {**NAIVE, **FILTER},
    "+ higher upper clip": {**HIGHER, **FILTER},
    "+ soft penalty for the filter": {**SOFTER, **SOFT},
    "+ mean over tokens": {**without(SOFTER, "method.aggregation"), **SOFT},
    "+ dynamic sampling (DAPO)": SOFT,
}
COMMON = (
    *(f"steps={STEPS}", "task.levels=[2,3,4,5]", f"max_new_tokens={LENGTH}", "method.samples_per_prompt=16"),
    *("method.minibatches=16", "method.step.learning_rate=1e-4", "method.step.warmup_steps=32"),
    *("evaluation.items=200", "evaluation.samples=4", "evaluation.every=10"),
)


def run_of(row: int, seed: int) -> Run:
    settings = (*COMMON, *(f"{name}={value}" for name, value in ROWS[list(ROWS)[row]].items()))
    return Run(f"{row}-{seed}", *f"train dapo --model tiny --task arithmetic --seed {seed}".split(), settings=settings)


def of_run(folder: Path) -> dict[str, Any]:
    """A run's scores, the samples they had cost, and what the parts are for, as it was met."""
    rows = [row for row in metrics(folder) if row["step"]]
    drawn = dict(
        zip((row["step"] for row in rows), np.cumsum([row["episodes/generated"] for row in rows]), strict=True)
    )
    scores = evaluations(folder)
    early, late = rows[:EARLY], rows[LATE:]
    return {
        "curve": [[row["step"], int(drawn.get(row["step"], 0)), row["held_out/score"]] for row in scores],
        "final": scores[-1]["held_out/score"],
        "entropy": float(np.mean([row["entropy"] for row in rows[-5:]])),
        "truncated_early": float(np.mean([row["length/truncated"] for row in early])),
        "truncated_late": float(np.mean([row["length/truncated"] for row in late])),
        "mixed_late": float(np.mean([1 - row["groups/no_spread"] for row in late])),
        "clip_low": float(np.mean([row["clip/low"] for row in rows])),
        "clip_high": float(np.mean([row["clip/high"] for row in rows])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--trial", action="store_true")
    seeds = TRIAL if parser.parse_args().trial else SEEDS
    keys = [(row, seed) for seed in seeds for row in range(len(ROWS))]
    folders = dict(zip(keys, run_all([run_of(*key) for key in keys], RUNS), strict=True))
    found = {key: of_run(folder) for key, folder in folders.items()}
    if seeds == TRIAL:
        for key, one in found.items():
            print(key, {name: round(value, 3) for name, value in one.items() if name != "curve"})


if __name__ == "__main__":
    main()
