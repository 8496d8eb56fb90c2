"""The pictures of a comparison's page: scores with their intervals, and courses against what was spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rung.lab.run_page.pictures import COLOURS, GRID, SOFT, Panel, panel_svg
from rung.runs.record.visible import visible

Array = npt.NDArray[np.float64]
Curve = tuple[Array, Array]
"""What was spent, and the value there."""

DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
"""The first seven methods are drawn whole, the next seven dashed, the last dotted."""
GRID_POINTS = 60
TRACES = {
    "reward/mean": "Training reward",
    "entropy": "Entropy, nats a token",
    "kl/start": "KL to the start, nats a token",
    "length/mean": "Completion length, tokens",
    "grad/norm": "Gradient norm",
}


def colour_of(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def scores_svg(rows: Sequence[Mapping[str, Any]], order: Sequence[str], *, shares: bool) -> str:
    """Each method's score with its interval, and every seed's score as a dot; the start as a dashed line."""

    def draw(axes: Axes) -> None:
        starts = [row["start"] for row in rows if row.get("start") is not None]
        if starts:
            axes.axvline(float(np.mean(starts)), color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
        for place, row in enumerate(rows):
            colour = colour_of(order.index(row["method"]))
            low, high = row["interval"]
            seeds = [run["score"] for run in row["runs"]]
            axes.plot([low, high], [-place, -place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="round")
            axes.plot(seeds, [-place - 0.28] * len(seeds), "o", color=colour, markersize=3.5, alpha=0.8)
            axes.plot([row["score"]], [-place], "D", color=colour, markersize=7)
        axes.set_yticks([-place for place in range(len(rows))])
        axes.set_yticklabels([visible(row["method"], limit=24) for row in rows])
        axes.set_ylim(-len(rows) + 0.35, 0.6)
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        if shares:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g} %"))

    return panel_svg(Panel("", draw), size=(7.6, 0.7 + 0.42 * len(rows)))


def curves_svg(data: Mapping[str, Any], axis: str) -> str:
    """Held-out score against what was spent on one axis: the mean over seeds, each seed faintly behind it."""
    curves = {
        row["method"]: [
            _curve([(point["spent"][axis], point["score"]) for point in run["curve"]]) for run in row["runs"]
        ]
        for row in data["methods"]
    }
    return _lines(curves, [row["method"] for row in data["methods"]], percent=data["shares"])


def traces(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(title, svg) of each metric's course over the operations spent; a metric that no run has is left out."""
    found: list[tuple[str, str]] = []
    for name, title in TRACES.items():
        curves = {
            row["method"]: [_curve(run["traces"][name]) for run in row["runs"] if run["traces"][name]]
            for row in data["methods"]
        }
        if any(curves.values()):
            found.append((title, _lines(curves, [row["method"] for row in data["methods"]])))
    return found


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


def _curve(points: Sequence[Sequence[float]]) -> Curve:
    array = np.array(points, dtype=np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _lines(curves: Mapping[str, Sequence[Curve]], order: Sequence[str], *, percent: bool = False) -> str:
    def draw(axes: Axes) -> None:
        for method, found in curves.items():
            index = order.index(method)
            style: dict[str, Any] = {
                "color": colour_of(index),
                "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
            }
            for x, y in found if len(found) > 1 else ():
                axes.plot(x, y, linewidth=0.8, alpha=0.25, **style)
            if found:
                axes.plot(*mean_curve(found), linewidth=1.9, **style)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        if percent:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g} %"))

    return panel_svg(Panel("", draw))


def short(value: float) -> str:
    """A large number in a few letters.

    >>> short(1_500_000), short(20_000), short(7), short(3e12)
    ('1.5M', '20K', '7', '3T')
    """
    for scale, mark in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{mark}"
    return f"{value:.3g}"
