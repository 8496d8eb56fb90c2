"""DAPO's ladder: six rows from GRPO to DAPO, each adding one part, on a tiny model (Yu et al. 2025, table 1).

The rows, each with everything above it: GRPO (symmetric clip, mean over sequences, no KL), overlong filtering, a higher
upper clip, the soft penalty on length in place of the filter, the mean over tokens, dynamic sampling.

Scaled down: 0.15 million weights, running sums of 2 to 8 numbers, answers of at most 10 tokens, 120 steps of 1,024
samples (8 a prompt) and 16 updates. The model has learnt to write workings and to give the answer alone; workings of
the longer sums do not fit into 10 tokens. Sizes were chosen by trials of the first and the last row on seed 100, which
is not reported: with 256 samples a step the first row did not learn, and with 16 a prompt hardly a group was all right.
What the parts are for must be there to be removed, and is measured (methods.md 3.3):
  a. 16 updates a rollout, and 0.5 to 3 % of tokens clipped, at either side;
  b. 20 to 40 % of the first three steps' samples truncated, in the first row;
  c. lengths whose deviation is at least 0.4 of their mean, in the first three steps of the first row;
  d. mixed difficulty: after the tenth step less than 60 % of the groups without dynamic sampling have both right and
     wrong answers.

Pass lines, fixed before the run, over the means of three seeds at the end:
1. The last row is at least two standard errors of the difference above the first, after the same number of updates.
2. The rank correlation of a row's place with its mean score is at least 0.8.
3. Entropy over the last five steps with the higher clip is at least 1.5 times that with the symmetric one (rows 3, 2).
4. The conditions a to d are met.
Scores at an equal number of generated samples are reported beside, without a line: dynamic sampling draws more. Where
a row lies below the one before it, the table says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import running_sums
from experiment import Experiment, Result, Run, Work, evaluations, metrics, read_all, seconds
from intervals import spearman
from pictures import panels, say
from words import YES_NO, percent, table

TERMS = (2, 2, 2, 3, 5, 6, 7, 8, 8)
"""Numbers of a problem, one as often as another of this list."""
TAUGHT, LEARNT_BEFORE = (2, 3, 4, 5, 6, 7, 8), 5000
LENGTH, CACHE, STEPS, EARLY, LATE = 10, 2, 120, 3, 10
RANK, ENTROPY, ERRORS = 0.8, 1.5, 2.0
CLIPPED, TRUNCATED, SPREAD, MIXED = (0.005, 0.03), (0.2, 0.4), 0.4, 0.6
NAIVE = {
    "method.objective.high": "0.2",
    "method.aggregation": "PerSequence",
    "method.keep_group": "null",
    "method.shape_reward": "null",
}
FILTER = {"method.drop_rows": "DropTruncated"}
SOFT = {"method.shape_reward.limit": str(LENGTH), "method.shape_reward.cache": str(CACHE)}


def without(settings: Mapping[str, str], *names: str) -> dict[str, str]:
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
NAMES = list(ROWS)
COMMON = (
    *(f"steps={STEPS}", f"max_new_tokens={LENGTH}", "prompts_per_step=128", "method.samples_per_prompt=8"),
    *("method.num_minibatches=16", "method.optimizer.learning_rate=1e-4", "method.optimizer.warmup_steps=32"),
    *("evaluation.num_items=200", "evaluation.num_samples=4", "evaluation.every=20", "reporting.kl_rows=0"),
    *("learner.threads=1", "learner.micro_batch_tokens=4096"),
)


def run_of(work: Work, row: int, seed: int) -> Run:
    own = (f"{name}={value}" for name, value in ROWS[NAMES[row]].items())
    more = ("--model", str(running_sums.start(work)), "--recipe", "tiny")
    return Run("dapo", "running-sum", seed, (running_sums.task_of(TERMS), *COMMON, *own), more)


def of_run(folder: Path) -> dict[str, Any]:
    """A run's scores, the samples they had cost, and what the parts are for, as it was met."""
    rows = [row for row in metrics(folder) if row["step"]]
    drawn = dict(
        zip((row["step"] for row in rows), np.cumsum([row["episodes/generated"] for row in rows]), strict=True)
    )
    scores = evaluations(folder)
    early, late = rows[:EARLY], rows[LATE:]
    first = pq.read_table(folder / "samples.parquet", columns=["token_ids"], filters=[("step", "<=", EARLY)])
    lengths = np.array([len(ids) for ids in first.column("token_ids").to_pylist()])
    return {
        "curve": [[row["step"], int(drawn.get(row["step"], 0)), row["held_out/score"]] for row in scores],
        "final": scores[-1]["held_out/score"],
        "entropy": mean_of(rows[-5:], "entropy"),
        "truncated": mean_of(early, "length/truncated"),
        "spread": float(lengths.std() / lengths.mean()),
        "mixed": 1 - mean_of(late, "groups/all_right") - mean_of(late, "groups/all_wrong"),
        "clip_low": mean_of(rows, "clip/low"),
        "clip_high": mean_of(rows, "clip/high"),
        "seconds": seconds(folder),
    }


def mean_of(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def over_seeds(runs: Mapping[str, Mapping[str, Any]], name: str) -> float:
    return float(np.mean([one[name] for one in runs.values()]))


def at_samples(runs: Mapping[str, Mapping[str, Any]], samples: float) -> float:
    """The mean score over seeds after so many generated samples, on a straight line between evaluations."""
    curves = [np.array(one["curve"], float) for one in runs.values()]
    return float(np.mean([np.interp(samples, curve[:, 1], curve[:, 2]) for curve in curves]))


def lines_held(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Each pass line with what was measured."""
    finals = [[one["final"] for one in rows[name].values()] for name in NAMES]
    means = [float(np.mean(some)) for some in finals]
    gain = means[-1] - means[0]
    error = float(np.sqrt(sum(np.var(some, ddof=1) / len(some) for some in (finals[0], finals[-1]))))
    order = spearman(list(range(len(means))), means)
    ratio = over_seeds(rows[NAMES[2]], "entropy") / over_seeds(rows[NAMES[1]], "entropy")
    clipped = [over_seeds(rows[NAMES[0]], side) for side in ("clip_low", "clip_high")]
    first = {name: over_seeds(rows[NAMES[0]], name) for name in ("truncated", "spread")}
    mixed = max(over_seeds(rows[name], "mixed") for name in NAMES[:-1])
    met = {
        "tokens clipped": (sum(clipped), CLIPPED[0] <= sum(clipped) <= CLIPPED[1]),
        "truncated at first": (first["truncated"], TRUNCATED[0] <= first["truncated"] <= TRUNCATED[1]),
        "spread of lengths": (first["spread"], first["spread"] >= SPREAD),
        "mixed groups, at most": (mixed, mixed < MIXED),
    }
    return {
        "last row above the first": {"measured": [gain, error], "passed": gain >= ERRORS * error and gain > 0},
        "order of the rows": {"measured": [order], "passed": order >= RANK},
        "entropy kept by the higher clip": {"measured": [ratio], "passed": ratio >= ENTROPY},
        **{f"condition: {name}": {"measured": [value], "passed": held} for name, (value, held) in met.items()},
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    rows = {NAMES[row]: runs for row, runs in read_all(folders, of_run).items()}
    samples = min(one["curve"][-1][1] for runs in rows.values() for one in runs.values())
    return {
        "lines": lines_held(rows),
        "samples": samples,
        "at_samples": {name: at_samples(runs, samples) for name, runs in rows.items()},
        "rows": rows,
        "settings": {"all": COMMON, "rows": ROWS, "sft_steps": LEARNT_BEFORE, "taught": TAUGHT, "terms": TERMS},
    }


def title(run: Result) -> str:
    ends = {name: 100 * np.mean([one["curve"][-1][2] for one in runs.values()]) for name, runs in run["rows"].items()}
    (first, grpo), *_, (last, dapo) = ends.items()
    at_equal = 100 * (run["at_samples"][last] - run["at_samples"][first])
    return f"DAPO less GRPO: {dapo - grpo:+.1f} points at equal updates, {at_equal:+.1f} at {run['samples']:,} samples"


def picture(run: Result) -> Any:
    """Left against updates, right against generated samples: means over seeds, the ends' range as a bar."""
    figure, (left, right) = panels(1, 2, size=(12, 4.4), sharey=True)
    for number, (name, runs) in enumerate(run["rows"].items()):
        curves = np.array([one["curve"] for one in runs.values()], float)
        steps, samples, scores = curves.mean(0).T
        ends = 100 * curves[:, -1, 2]
        for panel, across in ((left, 16 * steps), (right, samples / 1000)):
            panel.plot(across, 100 * scores, label=name, color=f"C{number}", linewidth=1.6)
            panel.plot([across[-1]] * 2, [ends.min(), ends.max()], color=f"C{number}", alpha=0.5)
    say(left, "updates of the weights", "right on held-out problems, %", legend=True)
    say(right, "generated samples, thousands")
    return figure


def lines(run: Result) -> Iterator[str]:
    said = [
        (n, " ± ".join(f"{v:.3f}" for v in one["measured"]), YES_NO[one["passed"]]) for n, one in run["lines"].items()
    ]
    yield from ("", *table("line | measured | held", said), "")
    rows: list[Sequence[str]] = []
    above: float | None = None
    for name, runs in run["rows"].items():
        score = 100 * over_seeds(runs, "final")
        change = "" if above is None else f"{score - above:+.1f}{' (lower)' if score < above else ''}"
        above = score
        clipped = ", ".join(percent(over_seeds(runs, side)) for side in ("clip_low", "clip_high"))
        fewest, entropy = percent(run["at_samples"][name]), f"{over_seeds(runs, 'entropy'):.2f}"
        truncated = f"{100 * over_seeds(runs, 'truncated'):.0f} %"
        rows.append((name, f"{score:.1f}", change, fewest, entropy, truncated, clipped))
    fewest = f"right after {run['samples']:,} samples, %"
    head = f"row | right, % | against the row above | {fewest} | entropy | truncated at first | clipped low, high, %"
    yield from table(head, rows)


EXPERIMENT = Experiment.here(
    globals(),
    seeds=range(3),
    pass_line="DAPO two standard errors above GRPO; rank correlation of place and score at least 0.8; entropy with the "
    "higher clip 1.5 times that without; the conditions met",
    prepare=lambda work: running_sums.make_start(work, terms=TAUGHT, steps=LEARNT_BEFORE, tokens=24),
    runs=lambda work: {(row, seed): run_of(work, row, seed) for seed in work.seeds for row in range(len(ROWS))},
    shows="Score against updates and against generated samples, a row a colour",
)

if __name__ == "__main__":
    EXPERIMENT.main()
