"""The curves of a run as one PNG of small multiples, for places that show no page: a README, a report of an experiment.

A panel is drawn only where the run has its numbers, so a short or unfinished run gives a smaller figure.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter

from rung.runs.metrics.of_environments import in_environment, said_of_steps
from rung.runs.record.visible import visible
from rung.whole_files import write_whole

Row = Mapping[str, float | None]

INK, SOFT, GRID = "#24292f", "#6e7781", "#d8dee4"
COLOURS = ("#0969da", "#d4622a", "#1a7f5a", "#8250df", "#b08800", "#bf3989", "#57606a")
"""Told apart in print and by the colour-blind."""

_STYLE = {
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


@dataclass(frozen=True)
class Panel:
    """One small picture.

    Example: `Panel("Gradient norm", {"grad/norm": ""}, log=True)`.
    """

    title: str
    lines: Mapping[str, str] = field(default_factory=dict)
    """What the legend calls each metric."""
    log: bool = False
    """A log scale where the values spread over decades."""
    shares: bool = False
    """From 0 to 100 %."""

    def drawn_of(self, rows: Sequence[Row]) -> bool:
        return any(row.get(name) is not None for row in rows for name in self.lines)


_HELD_OUT = {"held_out/score": "held-out, 95 % interval"}
_REWARD = {"reward/mean": "train reward"}
_PANELS = (
    Panel("Reward of the answers", {f"preference/{a}_reward": a for a in ("chosen", "rejected")}),
    Panel("Log-prob of the answers, nats", {f"preference/{a}_log_prob": a for a in ("chosen", "rejected")}),
    Panel("KL to the start, nats a token", {"kl/start": ""}),
    Panel("Entropy, nats a token", {"entropy": ""}),
    Panel("Completion length, tokens", {"length/mean": "mean", "length/p90": "p90"}),
    Panel(
        "Groups, and completions cut off",
        {f"groups/{a}": a.replace("_", " ") for a in ("no_spread", "all_right", "all_wrong")}
        | {"length/truncated": "cut off"},
        shares=True,
    ),
    Panel("Gradient norm", {"grad/norm": ""}, log=True),
    Panel("Sampler–learner gap, nats", {f"sampler_gap/{a}": a for a in ("mean", "max")}, log=True),
)
_SECONDS = Panel("Seconds a step", {f"seconds/{a}": a for a in ("sample", "reward", "learn", "evaluate", "save")})


def draw_curves(metrics: Sequence[Row], path: Path, *, timings: Sequence[Row] = (), title: str = "") -> None:
    """Draws the rows of metrics.jsonl (and timings.jsonl) to `path`, a .png file. The same rows give the same bytes.

    >>> # draw_curves(read_rows(folder / "metrics.jsonl").rows, folder / "curves.png")
    """
    panels, timed = panels_of(metrics, timings), [row for row in timings if row.get("step")]
    with _drawing():
        columns = max(1, min(3, len(panels)))
        rows = max(1, -(-len(panels) // 3))
        figure = Figure(figsize=(3.5 * columns, 2.45 * rows + (0.4 if title else 0)), layout="constrained")
        FigureCanvasAgg(figure)
        if title:
            figure.suptitle(visible(title, limit=120), fontsize=13, fontweight="bold", x=0.01, ha="left")
        if not panels:
            figure.text(0.5, 0.5, "No step has been made yet.", ha="center", va="center", color=SOFT)
        for place, panel in enumerate(panels):
            _draw(figure.add_subplot(rows, columns, place + 1), panel, timed if panel is _SECONDS else metrics)
        target = io.BytesIO()
        figure.savefig(target, format="png", dpi=130, metadata={"Software": None}, facecolor="white")
    write_whole(Path(path), target.getvalue())


def panels_of(metrics: Sequence[Row], timings: Sequence[Row] = ()) -> list[Panel]:
    """The panels that this run has numbers for, in reading order."""
    parts = sorted({name for row in metrics for name in row if name.startswith("reward/") and name != "reward/mean"})
    shown = {name: visible(name.removeprefix("reward/"), limit=24) for name in parts[: len(COLOURS)]}
    more = f", and {len(parts) - len(shown)} more" if len(parts) > len(shown) else ""
    said = said_of_steps if in_environment(metrics) else str
    found = [
        *_scores(metrics),
        Panel(f"Reward by part{more}", shown),
        *(Panel(said(panel.title), panel.lines, panel.log, panel.shares) for panel in _PANELS),
    ]
    timed = [_SECONDS] if _SECONDS.drawn_of([row for row in timings if row.get("step")]) else []
    return [panel for panel in found if panel.drawn_of(metrics)] + timed


def _scores(metrics: Sequence[Row]) -> list[Panel]:
    """One panel shows a gamed reward as a gap; a reward of quite another scale gets a panel of its own."""
    rewards = _series(metrics, "reward/mean")[1]
    if len(rewards) and not (rewards.min() > -1 and rewards.max() < 3):
        return [Panel("Held-out score", _HELD_OUT), Panel("Train reward", _REWARD)]
    return [Panel("Held-out score and reward", {**_HELD_OUT, **_REWARD})]


def _draw(axes: Axes, panel: Panel, rows: Sequence[Row]) -> None:
    axes.set_title(panel.title, loc="left", fontsize=11, fontweight="bold", pad=8)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9.5)
    axes.margins(x=0.02)
    found = {name: _series(rows, name) for name in panel.lines}
    values = np.concatenate([series for _, series in found.values()])
    positive = values[values > 0]
    log = panel.log and bool(positive.size) and positive.max() > 20 * positive.min()
    for colour, (name, (steps, series)) in zip(COLOURS, found.items(), strict=False):
        if name == "held_out/score":
            evaluated = [row for row in rows if row.get(name) is not None]
            low, high = ([np.nan if row.get(end) is None else row[end] for row in evaluated] for end in _ENDS)
            axes.fill_between(steps, low, high, color=colour, alpha=0.16, linewidth=0)  # type: ignore[arg-type]
        _line(axes, steps, np.where(series > 0, series, np.nan) if log else series, colour, panel.lines[name], log=log)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    if log:
        axes.set_yscale("log")
        axes.set_ylim(10 ** np.floor(np.log10(positive.min())), 10 ** np.ceil(np.log10(positive.max())))
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    if panel.shares:
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    if any(panel.lines.values()):
        box = axes.legend(loc="best", fontsize=9, handlelength=1.2, borderpad=0.25, labelspacing=0.25)
        box.get_frame().set(alpha=0.8, edgecolor="none", facecolor="white", linewidth=0)


_ENDS = ("held_out/low", "held_out/high")


def _line(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, label: str, *, log: bool) -> None:
    """A line; where there are many steps also its running mean (geometric if `log`), the raw line faint behind."""
    if not len(steps):
        return
    window = len(steps) // 25
    if window < 2:
        axes.plot(steps, values, color=colour, linewidth=1.8, marker="o" if len(steps) < 3 else "", label=label or None)
        return
    smooth = np.exp(_running_mean(np.log(values), window)) if log else _running_mean(values, window)
    axes.plot(steps, values, color=colour, linewidth=0.9, alpha=0.28)
    axes.plot(steps, smooth, color=colour, linewidth=2, label=label or None)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of each value and up to `window` ones on either side; gaps (NaN) are left out."""
    there = np.concatenate([[0], np.cumsum(~np.isnan(values))])
    sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values))])
    at = np.arange(len(values))
    first, after = np.maximum(0, at - window), np.minimum(len(values), at + window + 1)
    count = there[after] - there[first]
    return np.where(count > 0, (sums[after] - sums[first]) / np.maximum(count, 1), np.nan)


def _series(rows: Sequence[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    found = [(row["step"], row[name]) for row in rows if row.get(name) is not None and row.get("step") is not None]
    return np.array([step for step, _ in found], dtype=float), np.array([value for _, value in found], dtype=float)


@contextmanager
def _drawing() -> Iterator[None]:
    """Our own style whatever the user's matplotlibrc says; a letter that the font lacks is drawn as a box, silently."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
