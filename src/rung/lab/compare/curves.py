"""The curves of a comparison as data: held-out score and metrics against what was spent, seeds and their mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.lab.compare.reading import TRACED
from rung.runs.metrics.of_environments import Words
from rung.runs.metrics.registry import METRICS
from rung.runs.record.visible import visible

Array = npt.NDArray[np.float64]
Curve = tuple[Array, Array]
"""What was spent, and the value there."""
Data = Mapping[str, Any]

GRID_POINTS = 60


def score_charts(data: Data) -> list[dict[str, Any]]:
    """The score against each axis, the budget's first."""
    budget, unit = data["budget"]["axis"], METRICS["held_out/score"].unit if data["shares"] else ""
    return [
        {
            "id": f"spent-{axis}",
            "title": data["axes"][axis] + " (the budget)" * (axis == budget),
            "axis": data["axes"][axis],
            "unit": unit,
            "curves": _lines(data, lambda run, axis=axis: [(at["spent"][axis], at["score"]) for at in run["curve"]]),
        }
        for axis in sorted(data["axes"], key=lambda axis: axis != budget)
    ]


def trace_charts(data: Data, words: Words) -> list[dict[str, Any]]:
    """Each metric's course over the operations spent; a metric that no run has is left out."""
    charts = [
        {
            "id": f"trace-{place}",
            "title": words.fill(title),
            "axis": "operations",
            "unit": "",
            "curves": _lines(data, lambda run, name=name: run["traces"][name]),
        }
        for place, (name, title) in enumerate(TRACED.items())
    ]
    return [chart for chart in charts if any(line["points"] for line in chart["curves"])]


def score_rows(scored: Sequence[Data], order: Sequence[str]) -> list[dict[str, Any]]:
    """Each method's score with its interval and its seeds' scores."""
    return [
        {
            "name": visible(row["method"], limit=24),
            "colour": order.index(row["method"]),
            "score": row["score"],
            "interval": row["interval"],
            "seeds": [run["score"] for run in row["runs"]],
        }
        for row in scored
    ]


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of several courses, between the largest of their beginnings and the smallest of their ends.

    >>> spent, score = mean_curve([(np.array([0.0, 2.0]), np.array([0.0, 1.0])), (np.array([0.0, 2.0]), np.ones(2))])
    >>> float(spent[-1]), float(score[0]), float(score[-1])
    (2.0, 0.5, 1.0)
    """
    if any((np.diff(x) <= 0).any() for x, _ in curves):
        return _mean_by_progress(curves)
    begin, end = max(float(x[0]) for x, _ in curves), min(float(x[-1]) for x, _ in curves)
    grid = np.linspace(begin, max(begin, end), GRID_POINTS)
    return grid, np.mean([np.interp(grid, x, y) for x, y in curves], axis=0)


def _mean_by_progress(curves: Sequence[Curve]) -> Curve:
    """The mean of courses that stand still on the axis for a while, as on generated tokens while only training goes on:
    of both numbers, at equal shares of each course."""
    share = np.linspace(0.0, 1.0, GRID_POINTS)
    both = [[np.interp(share, np.linspace(0.0, 1.0, len(of)), of) for of in curve] for curve in curves]
    x, y = np.mean(both, axis=0)
    return x, y


def _lines(data: Data, points_of: Callable[[Data], Sequence[Sequence[float]]]) -> list[dict[str, Any]]:
    """One line per method: the mean over its runs, and behind it each run where there are several."""
    lines: list[dict[str, Any]] = []
    for colour, row in enumerate(data["methods"]):
        runs = [np.array(points, dtype=np.float64) for run in row["runs"] if len(points := points_of(run))]
        mean = np.stack(mean_curve([(run[:, 0], run[:, 1]) for run in runs]), axis=1) if runs else np.zeros((0, 2))
        lines.append(
            {
                "name": visible(row["method"], limit=40),
                "colour": colour,
                "points": _short(mean if len(runs) > 1 else runs[0] if runs else mean),
                "behind": [_short(run) for run in runs] if len(runs) > 1 else [],
            }
        )
    return lines


def _short(points: Array) -> list[list[float]]:
    return [[float(f"{value:.6g}") for value in point] for point in points]
