"""comparison.html: the result of a comparison as one page in one file, that asks the network for nothing.

Every foreign string is escaped by the template and has its invisible characters written out; the charts get theirs as
JSON and set them as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from rung.lab.compare.reading import TRACED
from rung.lab.compare.seed_statistics import ALPHA
from rung.lab.one_file import encoded, in_one_file
from rung.runs.metrics import ENVIRONMENT, METRICS, TEXT, Words, shown
from rung.runs.record.visible import visible

Array = npt.NDArray[np.float64]
Curve = tuple[Array, Array]
"""What was spent, and the value there."""
Data = Mapping[str, Any]

GRID_POINTS = 60
STATIC = Path(__file__).with_name("static")
CHARTS = Path(__file__).parents[1] / "run_page" / "static"
"""Where chart.js is."""
LONGEST_TEXT = 2000
SHADES = 4
"""Of a cell that says who beats whom, from even to certain."""
COLOURS = 6
"""As many kinds of curve as view.css has; the next ones are drawn thinner."""


def page(data: Mapping[str, Any]) -> str:
    """The whole page as text; `data` is what comparison.json holds."""
    scored = sorted((row for row in data["methods"] if row["score"] is not None), key=lambda row: -row["score"])
    order = [row["method"] for row in data["methods"]]
    environment = any(row["spent"]["steps"] for row in scored)
    spent, traces = score_charts(data), trace_charts(data, ENVIRONMENT if environment else TEXT)
    html = _template(shares=data["shares"]).render(
        data=data,
        title=f"{len(order)} method{'s' * (len(order) != 1)} on {data['task']['name']}",
        scored=scored,
        alpha=ALPHA,
        environment=environment,
        legend_entries=[(name, f"c{at % COLOURS}") for at, name in enumerate(order)],
        few=min((len(row["seeds"]) for row in scored), default=0) < 4,
        chances=_chances(scored, data["pairs"]) if len(scored) > 1 else [],
        drew=[row for row in scored if row.get("drawn_pairs")],  # results of before have none
        spent=spent,
        traces=traces,
    )
    starts = [row["start"] for row in scored if row["start"] is not None]
    charts = {
        "scores": score_rows(scored, order),
        "start": float(np.mean(starts)) if starts else None,
        "shares": data["shares"],
        "charts": [*spent, *traces],
    }
    return in_one_file(html, [STATIC, CHARTS], {"charts-data": encoded(charts)})


def _template(*, shares: bool) -> Template:
    whole_lines = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(
        loader=FileSystemLoader(STATIC), autoescape=True, undefined=StrictUndefined, finalize=_seen, **whole_lines
    )
    number = partial(shown, "")
    environment.filters |= {
        "number": number,
        "score": (lambda score: "–" if score is None else f"{score * 100:.1f} %") if shares else number,
        "points": (lambda change: f"{change * 100:+.1f} points") if shares else (lambda change: f"{change:+.4g}"),
        "large": large,
        "whole": lambda value: "–" if value is None else f"{value:,.0f}",
        "percent": lambda part, of=1.0: "–" if part is None or not of else f"{part / of:.1%}",
    }
    return environment.get_template("comparison.html")


def _seen(value: Any) -> Any:
    """A value with its invisible characters written out; the template escapes it afterwards."""
    return visible(value, limit=LONGEST_TEXT, keep_newlines=True) if type(value) is str else value


def _chances(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """P(row beats column) on an item of a run, a row a method; a cell is None where there is nothing to say."""
    found = {}
    for pair in pairs:
        value, low, high = (pair["probability"][key] for key in ("value", "low", "high"))
        found[pair["after"], pair["before"]] = _chance(pair, value, low, high)
        found[pair["before"], pair["after"]] = _chance(pair, 1 - value, 1 - high, 1 - low)
    names = [row["method"] for row in rows]
    return [{"method": row, "cells": [found.get((row, column)) for column in names]} for row in names]


def _chance(pair: Mapping[str, Any], value: float, low: float, high: float) -> Mapping[str, Any]:
    level = round(min(1.0, abs(value - 0.5) * 2) * SHADES)
    return {
        "words": f"{value:.2f}",
        "interval": f"95 % interval {low:.2f} to {high:.2f}",
        "apart": pair["p_adjusted"] is not None and pair["p_adjusted"] < ALPHA,
        "shade": f"{'p' if value > 0.5 else 'n'}{level}" if level else "s0",
    }


def large(value: float | None) -> str:
    """A large number in a few letters.

    >>> large(1_500_000), large(20_000), large(7), large(3e12), large(None)
    ('1.5M', '20K', '7', '3T', '0')
    """
    value = value or 0.0
    for scale, mark in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{mark}"
    return f"{value:.3g}"


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
