"""The shapes that the experiments' pictures are made of: panels, curves over seeds, and every seed as a dot."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rung.lab.compare.seed_statistics import score_interval

GREY = {"color": "grey", "linewidth": 0.8, "linestyle": "--"}

INK = ("#24292f", "#e6edf3")
"""Words and frames, on light paper and on dark."""
FAINT = ("#d0d7dd", "#30363e")
"""The grid."""
LINES = (
    *(("#0969da", "#58a6ff"), ("#b35900", "#f0883e"), ("#1a7f5a", "#3fb68b"), ("#8250df", "#b48aff")),
    *(("#8f6d00", "#d4b13f"), ("#bf3989", "#f778ba"), ("#59636e", "#9aa4af"), ("#a40e26", "#ff7b72")),
)
"""Colours C0 to C7: those of the run page, and two more."""


def panels(*shape: int, size: tuple[float, float], **more: Any) -> tuple[Any, Any]:
    """A figure of rows x columns, drawn without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot

    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style = {"svg.fonttype": "none", "svg.hashsalt": "rung", "legend.framealpha": 0, "grid.color": FAINT[0]}
    cycle = matplotlib.cycler(color=[light for light, _ in LINES])
    matplotlib.rcParams.update({**style, **dict.fromkeys(ink, INK[0]), "axes.prop_cycle": cycle})
    return matplotlib.pyplot.subplots(*shape, figsize=size, **more)


def save(figure: Any, path: Path, title: str = "") -> None:
    """A faint grid in every panel, what was found above them, and the file.

    A legend of the whole figure stands below the panels. An SVG takes its colours from the reader's light or dark mode.
    """
    import matplotlib.pyplot

    for panel in figure.axes:
        panel.grid(True)
    if title:
        wide = textwrap.fill(title, int(figure.get_figwidth() * 10.5))
        figure.suptitle(wide, fontsize=11, fontweight="bold", x=0.01, ha="left")
    figure.tight_layout(rect=(0, 0.08 if figure.legends else 0, 1, 1))
    if path.suffix == ".svg":
        held = io.StringIO()
        figure.savefig(held, format="svg", transparent=True, metadata={"Date": None})
        path.write_text(in_both_modes(held.getvalue()))
    else:
        figure.savefig(path, dpi=110)
    matplotlib.pyplot.close(figure)


def in_both_modes(svg: str) -> str:
    """The picture with every colour of ours as a name, which dark mode fills otherwise."""
    names = {light: (f"c{place}", dark) for place, (light, dark) in enumerate((INK, FAINT, *LINES))}
    light = "".join(f"--{name}:{colour};" for colour, (name, _) in names.items())
    dark = "".join(f"--{name}:{colour};" for name, colour in names.values())
    svg = re.sub("|".join(names), lambda found: f"var(--{names[found[0]][0]})", svg)
    svg = re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)
    style = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    return re.sub(r"(<svg [^>]*>)", rf"\1\n {style}", svg, count=1)


def say(panel: Any, x: str = "", y: str = "", title: str = "", level: float | None = None, **more: Any) -> None:
    """What stands at a panel: names of its axes, its title, a dashed level; `more`: legend, what matplotlib sets."""
    panel.set_xlabel(x) if x else None
    panel.set_ylabel(y) if y else None
    panel.set_title(title, fontsize=10) if title else None
    panel.axhline(level, **GREY) if level is not None else None
    panel.legend(fontsize=8) if more.pop("legend", False) else None
    panel.set(**more)


def iqm(values_SN: np.ndarray) -> np.ndarray:
    """[3, N] interquartile mean over seeds, and the ends of its bootstrap interval."""
    found = [score_interval(values_S[:, None], common_items=True) for values_S in values_SN.T]
    return np.array([[getattr(one, name) for one in found] for name in ("value", "low", "high")])


def curve(panel: Any, x: Any, values_SN: Any, *, band: str = "", fill: float = 0.15, **style: Any) -> Any:
    """The mean over seeds, and the line that it is; `band` is `range` or `iqm`, `fill` how dark it is."""
    values_SN = np.asarray(values_SN, float)
    plain = (of(values_SN, axis=0) for of in (np.mean, np.min, np.max))
    middle_N, low_N, high_N = iqm(values_SN) if band == "iqm" else plain
    (line,) = panel.plot(x, middle_N, **style)
    if band:
        panel.fill_between(x, low_N, high_N, alpha=fill, linewidth=0, color=line.get_color())
    return line


def dots(
    panel: Any, by_name: Mapping[str, Sequence[float]], names: Sequence[str] = (), alpha=0.6, **ticks: Any
) -> None:
    """Every seed's value, a place a name."""
    for place, values in enumerate(by_name.values()):
        panel.plot([place] * len(values), values, "o", alpha=alpha)
    panel.set_xticks(range(len(by_name)), list(names or by_name), **ticks)
