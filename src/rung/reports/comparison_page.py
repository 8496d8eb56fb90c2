"""comparison.html: a comparison as one page, in one file, that asks the network for nothing.

It is a function of what comparison.json holds and nothing else. Foreign text (names, errors of a failed run) is
escaped; there is no script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rung.reports import comparison_sections as sections
from rung.reports.page import frame


def page(data: Mapping[str, Any]) -> str:
    """The whole page as text."""
    scored = [row for row in data["methods"] if row["score"] is not None]
    scored.sort(key=lambda row: -row["score"])
    order = [row["method"] for row in data["methods"]]
    parts = [
        sections.header(data),
        sections.failures(data["methods"]),
        sections.scores(scored, order, data),
        sections.pairs(scored, data),
        sections.curves(order, data),
        sections.cost(scored, data),
        sections.stability(scored, data),
        sections.samples(scored),
        sections.drawn_pairs(scored),
        sections.differences(data),
        sections.how(data),
    ]
    return frame(f"{sections.title(data)}: rung compare", parts)
