"""comparison.html: the result of a comparison as one page in one file, that asks the network for nothing.

Every foreign string is escaped by the template and has its invisible characters written out; the charts get theirs as
JSON and set them as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from rung.lab.compare.curves import score_charts, score_rows, trace_charts
from rung.lab.compare.verdict import ALPHA
from rung.lab.one_file import encoded, in_one_file
from rung.runs.metrics.of_environments import ENVIRONMENT, STEPS, TEXT
from rung.runs.metrics.registry import shown
from rung.runs.record.visible import visible

STATIC = Path(__file__).with_name("static")
CHARTS = Path(__file__).parents[1] / "run_page" / "static"
"""Where chart.js is."""
LONGEST_TEXT = 2000
AXIS_NAMES = {
    "tokens": "tokens generated",
    "trained": "tokens trained",
    "steps": STEPS,
    "seconds": "seconds",
    "flops": "operations",
}
IN_ENVIRONMENTS = {**AXIS_NAMES, "tokens": STEPS, "trained": f"{STEPS} trained on"}
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
        axes=IN_ENVIRONMENTS if environment else AXIS_NAMES,
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
    environment = Environment(
        loader=FileSystemLoader(STATIC),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    number = partial(shown, "")
    environment.filters |= {
        "number": number,
        "score": _share if shares else number,
        "points": (lambda change: f"{change * 100:+.1f} points") if shares else (lambda change: f"{change:+.4g}"),
        "large": large,
        "whole": _whole,
        "percent": _percent,
    }
    return environment.get_template("comparison.html")


def _share(score: float | None) -> str:
    return "–" if score is None else f"{score * 100:.1f} %"


def _seen(value: Any) -> Any:
    """A value with its invisible characters written out; the template escapes it afterwards."""
    return visible(value, limit=LONGEST_TEXT, keep_newlines=True) if type(value) is str else value


def _chances(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """P(row beats column) on an item of a run, a row a method; a cell is None where there is nothing to say."""
    found = {(pair["after"], pair["before"]): pair for pair in pairs}
    names = [row["method"] for row in rows]
    return [{"method": row, "cells": [_chance(found, row, column) for column in names]} for row in names]


def _chance(found: Mapping[tuple[str, str], Mapping[str, Any]], row: str, column: str) -> Mapping[str, Any] | None:
    pair, turned = found.get((row, column)), found.get((column, row))
    known = pair or turned
    if row == column or known is None:
        return None
    value, low, high = (known["probability"][key] for key in ("value", "low", "high"))
    if pair is None:
        value, low, high = 1 - value, 1 - high, 1 - low
    level = round(min(1.0, abs(value - 0.5) * 2) * SHADES)
    return {
        "words": f"{value:.2f}",
        "interval": f"95 % interval {low:.2f} to {high:.2f}",
        "apart": known["p_adjusted"] is not None and known["p_adjusted"] < ALPHA,
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


def _whole(value: float | None) -> str:
    """A mean of counts, rounded to a whole number."""
    return "–" if value is None else f"{value:,.0f}"


def _percent(part: float | None, of: float | None = 1.0) -> str:
    """A share in percent, of 1 or of another number."""
    return "–" if part is None or not of else f"{part / of:.1%}"
