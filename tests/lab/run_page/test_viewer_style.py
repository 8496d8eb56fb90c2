"""The viewer's own colours can be read: WCAG 2.2 contrast of text on each token's colour, of curves on their paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_style import DARK, LIGHT, contrast

STYLE = (Path(__file__).parents[3] / "src/rung/lab/run_page/static/view.css").read_text()
OWN_LIGHT, OWN_DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{[^}]*\}", STYLE)
)


@pytest.mark.parametrize("colours", [LIGHT | OWN_LIGHT, DARK | OWN_DARK], ids=["light", "dark"])
def test_tokens_are_read_and_curves_are_seen(colours: dict[str, str]) -> None:
    assert set(OWN_LIGHT) == set(OWN_DARK)
    papers = [f"{sign}{level}" for sign in "nps" for level in range(1, 5)] + ["gone", "new", "mark"]
    for paper in papers:
        assert contrast(colours["ink"], colours[paper]) >= 4.5, paper
    for curve in (f"c{i}" for i in range(6)):
        assert contrast(colours[curve], colours["panel"]) >= 3, curve
    levels = [f"m{i}" for i in range(5)]
    assert len({colours[level] for level in levels}) == 5
