"""One finished run as numbers, read from its folder: what it scored, what it spent, what it did with its samples."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.runs.record.files import Row, read_rows
from rung.runs.statistics import item_means
from rung.settings import Settings
from rung.trainers.budget import seconds_of

TRACED = {
    "reward/mean": "Training reward",
    "entropy": "Entropy, nats a {token}",
    "kl/start": "KL to the start, nats a {token}",
    "length/mean": "Length of {completions}, {tokens}",
    "grad/norm": "Gradient norm",
}
"""Metrics whose course is kept for the page, and what it calls them."""
POINTS = 120
"""Points kept of a course: the means of as many stretches of steps."""


def read_run(folder: Path, settings: Settings) -> dict[str, Any]:
    """Everything that comparison.json holds of one run. What depends on the clock is called `seconds` or `clock`."""
    metrics = read_rows(folder / "metrics.jsonl").rows
    timings = {row.get("step"): row for row in read_rows(folder / "timings.jsonl").rows}
    last = int(metrics[-1]["step"] or 0)
    items, scores_N = held_out(folder, last)
    _, start_N = held_out(folder, 0)
    spent = running_sums(metrics, timings)
    all_spent = {axis: values[-1] for axis, values in spent.items()}
    ((axis, limit),) = settings.budget.limits().items()
    return {
        "steps": last,
        "score": _mean(scores_N),
        "start": _mean(start_N),
        "spent": all_spent,
        # the share by which the last whole step went over it; below 0: never reached; of seconds it is the clock's
        "overspent": None if axis == "seconds" else all_spent[axis] / limit - 1,
        "stability": _stability(metrics),
        "samples": _samples(metrics),
        "drawn_pairs": _drawn_pairs(metrics),
        "curve": [
            {"step": row["step"], "score": row["held_out/score"], "spent": {axis: of[at] for axis, of in spent.items()}}
            for at, row in enumerate(metrics)
            if row.get("held_out/score") is not None
        ],
        "traces": {name: _trace(metrics, spent, name) for name in TRACED},
        "clock": _clock(metrics, timings),
        "items": list(items),
        "item_scores": [None if np.isnan(value) else value for value in scores_N.tolist()],
        "item_scores_at_start": [None if np.isnan(value) else value for value in start_N.tolist()],
    }


def held_out(folder: Path, step: int) -> tuple[Sequence[str], npt.NDArray[np.float64]]:
    """The items of one evaluation of a run, and each one's mean score; NaN: it could not be judged."""
    content = json.loads((folder / "held_out" / f"step_{step:06d}.json").read_text(encoding="utf-8"))
    return content["items"], item_means(np.array(content["accuracy"], dtype=np.float64))


def running_sums(metrics: Sequence[Row], timings: Mapping[Any, Row]) -> dict[str, list[float]]:
    """What was spent up to each row, by axis."""
    generated = np.cumsum([row.get("tokens/generated") or 0.0 for row in metrics])
    trained = np.cumsum([row.get("tokens/trained") or 0.0 for row in metrics])
    seconds = np.cumsum([seconds_of(timings.get(row.get("step"), {})) for row in metrics])
    return {
        "tokens": generated.tolist(),
        "trained": trained.tolist(),
        "steps": [row.get("environment/steps") or 0.0 for row in metrics],
        "flops": [row.get("flops") or 0.0 for row in metrics],
        "seconds": seconds.tolist(),
    }


def _trace(metrics: Sequence[Row], spent: Mapping[str, list[float]], name: str) -> list[list[float]]:
    """[operations, value] over the run, thinned to means of equal stretches. Operations go on whatever is done."""
    flops = spent["flops"]
    there = [(flops[index], value) for index, row in enumerate(metrics) if (value := row.get(name)) is not None]
    parts = np.array_split(np.array(there, dtype=np.float64), min(POINTS, len(there))) if there else []
    return [part.mean(0).tolist() for part in parts]


def _stability(metrics: Sequence[Row]) -> dict[str, float | None]:
    entropy, kl, scores = (_values(metrics, name) for name in ("entropy", "kl/start", "held_out/score"))
    return {
        "entropy_first": entropy[0] if entropy else None,
        "entropy_last": entropy[-1] if entropy else None,
        "kl_last": kl[-1] if kl else None,
        "kl_highest": max(kl) if kl else None,
        "fall": max(scores) - scores[-1] if scores else None,
    }


def _samples(metrics: Sequence[Row]) -> dict[str, float | None]:
    """What became of the samples: sums over the run, and shares of the episodes."""
    episodes = _sum(metrics, "episodes/generated")
    generated, trained = (_sum(metrics, f"tokens/{name}") or 0.0 for name in ("generated", "trained"))
    known = [row for row in metrics if row.get("length/truncated") is not None]
    cut = [(row["length/truncated"] or 0.0) * (row.get("episodes/generated") or 0.0) for row in known]
    flat = _values(metrics, "groups/no_spread")
    used = _sum(metrics, "pairs/used_tokens")  # where pairs were drawn first, each token may be learnt from many times
    return {
        "episodes": episodes,
        "failed": _sum(metrics, "episodes/failed"),
        "tokens_generated": generated,
        "tokens_trained": trained,
        "tokens_dropped": max(0.0, generated - (trained if used is None else used)),
        "truncated": sum(cut) / episodes if cut and episodes else None,
        "no_spread": sum(flat) / len(flat) if flat else None,
    }


def _drawn_pairs(metrics: Sequence[Row]) -> dict[str, float | None] | None:
    """The pairs that the run drew and how often it learnt from each; None for a method that needs none."""
    names = ("prompts", "drawn", "without", "all_right", "all_wrong")
    if _sum(metrics, "pairs/prompts") is None:
        return None
    passes = _values(metrics, "pairs/passes")
    return {**{name: _sum(metrics, f"pairs/{name}") for name in names}, "passes": passes[-1] if passes else 0.0}


def _clock(metrics: Sequence[Row], timings: Mapping[Any, Row]) -> dict[str, float | None]:
    """Seconds and memory, which depend on the machine."""
    steps = [seconds_of(timings.get(row.get("step"), {})) for row in metrics if row.get("step")]
    memory = _values(timings.values(), "memory/peak_gib")
    evaluating = sum(row.get("seconds/evaluate") or 0.0 for row in timings.values())
    return {
        "seconds_a_step": float(np.median(steps)) if steps else None,
        "seconds_of_evaluations": evaluating,
        "peak_gib": max(memory) if memory else None,
    }


def _values(rows: Iterable[Row], name: str) -> list[float]:
    """A metric in the rows that have it."""
    return [value for row in rows if (value := row.get(name)) is not None]


def _sum(metrics: Sequence[Row], name: str) -> float | None:
    values = _values(metrics, name)
    return sum(values) if values else None


def _mean(scores_N: npt.NDArray[np.float64]) -> float | None:
    there = scores_N[~np.isnan(scores_N)]
    return float(there.mean()) if len(there) else None
