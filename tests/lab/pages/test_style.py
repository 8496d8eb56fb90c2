"""The shared colours can be read by everybody: WCAG 2.2 contrast, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STYLE = (Path(__file__).parents[3] / "src/rung/lab/pages/static/pages.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{[^}]*\}", STYLE)
)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    low, high = sorted([luminance(one), luminance(two)])
    return (high + 0.05) / (low + 0.05)


def test_the_formula() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the grey that famously fails


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_and_edges_are_seen(colours: dict[str, str]) -> None:
    texts = [("ink", "paper"), ("ink", "panel"), ("ink", "mark"), ("soft", "paper"), ("soft", "panel")]
    texts += [("on-accent", "accent"), ("ink", "badpaper"), ("good", "panel"), ("bad", "badpaper")]
    for text, paper in texts:
        assert contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
    for edge, paper in [("edge", "paper"), ("edge", "panel"), ("accent", "paper"), ("good", "grid")]:
        assert contrast(colours[edge], colours[paper]) >= 3, (edge, paper)
