"""What a comparison's template cannot say by itself: numbers in words, and who beats whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rung.lab.compare.verdict import ALPHA

Data = Mapping[str, Any]
SHADES = 4
"""Of a cell, from even to certain."""


def in_environments(rows: Sequence[Data]) -> bool:
    """Whether the methods acted in an environment, whose steps are counted where text has tokens."""
    return any(row["score"] is not None and row["spent"]["steps"] for row in rows)


def chances(rows: Sequence[Data], pairs: Sequence[Data]) -> list[Data]:
    """P(row beats column) on an item of a run, a row a method; a cell is None where there is nothing to say."""
    found = {(pair["after"], pair["before"]): pair for pair in pairs}
    names = [row["method"] for row in rows]
    return [{"method": row, "cells": [_chance(found, row, column) for column in names]} for row in names]


def _chance(found: Mapping[tuple[str, str], Data], row: str, column: str) -> Data | None:
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


def whole(value: float | None) -> str:
    """A mean of counts, without what is behind the point."""
    return "–" if value is None else f"{value:,.0f}"


def percent(part: float | None, of: float | None = 1.0) -> str:
    """A share in percent, of 1 or of another number."""
    return "–" if part is None or not of else f"{part / of:.1%}"
