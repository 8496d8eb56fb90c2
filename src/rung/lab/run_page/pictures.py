"""The curves of a run as one figure of small multiples, for the README (PNG) and for the report page (SVG).

A panel is drawn only where the run has its numbers, so a short or unfinished run gives a smaller figure.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from rung.runs.metrics.of_environments import in_environment, said_of_steps
from rung.runs.record.visible import visible
from rung.whole_files import write_whole

Row = Mapping[str, float | None]

INK, SOFT, GRID = "#24292f", "#6e7781", "#d8dee4"
COLOURS = ("#0969da", "#d4622a", "#1a7f5a", "#8250df", "#b08800", "#bf3989", "#57606a")
"""Told apart in print and by the colour-blind; the first is the run's own voice (held-out, mean)."""

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "svg.fonttype": "none",
    "svg.hashsalt": "rung",
}


@dataclass(frozen=True)
class Panel:
    """One small picture: its title and what draws it."""

    title: str
    draw: Callable[[Axes], None]


def draw_curves(metrics: Sequence[Row], path: Path, *, timings: Sequence[Row] = (), title: str = "") -> None:
    """Draws the rows of metrics.jsonl (and timings.jsonl) to `path`, a .png or .svg file. The same rows give the same
    bytes.

    >>> # draw_curves(read_rows(folder / "metrics.jsonl").rows, folder / "curves.png")
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".")
    assert kind in ("png", "svg"), path
    write_whole(path, picture(metrics, timings=timings, title=title, kind=kind))


def picture(
    metrics: Sequence[Row], *, timings: Sequence[Row] = (), title: str = "", kind: str = "png", columns: int = 3
) -> bytes:
    """The figure as PNG or SVG bytes."""
    panels = panels_of(metrics, timings)
    with _drawing():
        rows = max(1, -(-len(panels) // columns))
        across = max(1, min(columns, len(panels)))
        figure = Figure(figsize=(3.5 * across, 2.45 * rows + (0.4 if title else 0)), layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr]
        if title:
            figure.suptitle(visible(title, limit=120), fontsize=13, fontweight="bold", x=0.01, ha="left")
        if not panels:
            figure.text(0.5, 0.5, "No step has been made yet.", ha="center", va="center", color=SOFT)
        for i, panel in enumerate(panels):
            axes = figure.add_subplot(rows, across, i + 1)
            _prepare(axes, panel.title)
            panel.draw(axes)
            _finish(axes)
        return _encoded(figure, kind)


def panel_svgs(metrics: Sequence[Row], timings: Sequence[Row] = ()) -> list[tuple[str, str]]:
    """Each panel as (title, svg element), to stand inside a page: colours are the page's CSS variables, so that it
    can be light or dark (`--ink --soft --grid --panel --c0 ... --c6`).
    """
    return [(panel.title, panel_svg(panel)) for panel in panels_of(metrics, timings)]


def panel_svg(panel: Panel, size: tuple[float, float] = (3.9, 2.3)) -> str:
    """One panel as an svg element in the page's colours, without its title; `size` in inches."""
    with _drawing():
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _prepare(axes, "")
        panel.draw(axes)
        _finish(axes)
        return _themed(_encoded(figure, "svg").decode("utf-8"))


def _themed(svg: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(style|metadata)\b.*?</\1>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)[\")]", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    themed = {INK: "ink", SOFT: "soft", GRID: "grid", "#ffffff": "panel"} | {c: f"c{i}" for i, c in enumerate(COLOURS)}
    for colour, name in themed.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def panels_of(metrics: Sequence[Row], timings: Sequence[Row] = ()) -> list[Panel]:
    """The panels that this run has numbers for, in reading order."""
    parts = sorted({name for row in metrics for name in row if name.startswith("reward/") and name != "reward/mean"})
    with_parts = _has(metrics, *parts)
    groups = ("groups/no_spread", "groups/all_right", "groups/all_wrong")
    said = said_of_steps if in_environment(metrics) else str
    candidates = [
        (
            _has(metrics, "reward/mean", "held_out/score"),
            Panel("Held-out score and reward", lambda a: _score(a, metrics)),
        ),
        (with_parts, Panel("Reward by part", lambda a: _parts(a, metrics, parts))),
        (_has(metrics, *_ANSWERS), Panel("Reward of the answers", lambda a: _answers(a, metrics, _ANSWERS))),
        (_has(metrics, *_LIKELY), Panel("Log-prob of the answers, nats", lambda a: _answers(a, metrics, _LIKELY))),
        (
            _has(metrics, "kl/start"),
            Panel(said("KL to the start, nats a token"), lambda a: _one(a, metrics, "kl/start", 0)),
        ),
        (_has(metrics, "entropy"), Panel(said("Entropy, nats a token"), lambda a: _one(a, metrics, "entropy", 0))),
        (_has(metrics, "length/mean"), Panel(said("Completion length, tokens"), lambda a: _length(a, metrics))),
        (_has(metrics, *groups), Panel("Groups of samples", lambda a: _shares(a, metrics, groups))),
        (_has(metrics, "grad/norm"), Panel("Gradient norm", lambda a: _log(a, metrics, {"grad/norm": ""}))),
        (_has(metrics, "sampler_gap/mean"), Panel("Sampler–learner gap, nats", lambda a: _gap(a, metrics))),
        (
            _has([row for row in timings if row.get("step")], *_PHASES),
            Panel("Seconds a step", lambda a: _seconds(a, timings)),
        ),
    ]
    return [panel for there, panel in candidates if there]


_ANSWERS = ("preference/chosen_reward", "preference/rejected_reward")
_LIKELY = ("preference/chosen_log_prob", "preference/rejected_log_prob")
_PHASES = ("seconds/sample", "seconds/reward", "seconds/learn", "seconds/evaluate", "seconds/save")


def _score(axes: Axes, metrics: Sequence[Row]) -> None:
    """One axis shows a gamed reward as a gap; a reward of quite another scale gets its own axis on the right."""
    evaluated = [row for row in metrics if row.get("held_out/score") is not None]
    steps, scores = _series(evaluated, "held_out/score")
    if len(steps):
        low, high = _values(evaluated, "held_out/low"), _values(evaluated, "held_out/high")
        axes.fill_between(steps, low, high, color=COLOURS[0], alpha=0.16, linewidth=0)
        axes.plot(
            steps, scores, color=COLOURS[0], linewidth=2, marker="o", markersize=3.5, label="held-out, 95 % interval"
        )
    steps, rewards = _series(metrics, "reward/mean")
    if not len(steps):
        _legend(axes)
    elif len(scores) and not (rewards.min() > -1 and rewards.max() < 3):
        right = _right_axis(axes, COLOURS[1])
        _noisy(right, steps, rewards, COLOURS[1], "")
        axes.plot([], [], color=COLOURS[1], linewidth=2, label="train reward (right)")
        _legend(axes)
    else:
        _noisy(axes, steps, rewards, COLOURS[1], "train reward")
        _legend(axes)


def _parts(axes: Axes, metrics: Sequence[Row], parts: Sequence[str]) -> None:
    shown = parts[: len(COLOURS)]
    for colour, name in zip(COLOURS, shown, strict=False):
        label = visible(name.removeprefix("reward/"), limit=24)
        _noisy(axes, *_series(metrics, name), colour, label)
    if len(parts) > len(shown):
        axes.plot([], [], " ", label=f"and {len(parts) - len(shown)} more")
    _legend(axes)


def _answers(axes: Axes, metrics: Sequence[Row], names: Sequence[str]) -> None:
    """Chosen and rejected apart: a growing distance may hide that both fall."""
    for colour, name, label in zip((COLOURS[2], COLOURS[1]), names, ("chosen", "rejected"), strict=True):
        _noisy(axes, *_series(metrics, name), colour, label)
    _legend(axes)


def _one(axes: Axes, metrics: Sequence[Row], name: str, colour: int) -> None:
    _noisy(axes, *_series(metrics, name), COLOURS[colour], "")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _length(axes: Axes, metrics: Sequence[Row]) -> None:
    _noisy(axes, *_series(metrics, "length/mean"), COLOURS[0], "mean")
    _noisy(axes, *_series(metrics, "length/p90"), COLOURS[4], "p90")
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.12)
    steps, cut = _series(metrics, "length/truncated")
    if len(steps):
        right = _right_axis(axes, COLOURS[5])
        right.fill_between(steps, 0, cut, color=COLOURS[5], alpha=0.22, linewidth=0)
        right.set_ylim(0, 1)
        _percent(right)
        axes.fill_between([], [], color=COLOURS[5], alpha=0.22, linewidth=0, label="cut off (right)")
    _legend(axes)


def _shares(axes: Axes, metrics: Sequence[Row], names: Sequence[str]) -> None:
    labels = ("no spread", "all right", "all wrong")
    for colour, name, label in zip((COLOURS[6], COLOURS[2], COLOURS[1]), names, labels, strict=True):
        _noisy(axes, *_series(metrics, name), colour, label)
    axes.set_ylim(-0.02, 1.02)
    _percent(axes)
    _legend(axes)


def _gap(axes: Axes, metrics: Sequence[Row]) -> None:
    _log(axes, metrics, {"sampler_gap/mean": "mean", "sampler_gap/max": "max"})
    low, high = axes.get_ylim()
    if high > 1e-3:
        axes.axhline(1e-2, color=COLOURS[1], linewidth=1, linestyle=(0, (4, 3)), label="limit for the mean")
        axes.set_ylim(low, max(high, 0.1))
    _legend(axes)


def _log(axes: Axes, metrics: Sequence[Row], names: Mapping[str, str]) -> None:
    """On a log scale where the values spread over decades."""
    found = {name: _series(metrics, name) for name in names}
    values = np.concatenate([series for _, series in found.values()])
    positive = values[values > 0]
    log = bool(positive.size) and positive.max() > 20 * positive.min()
    for colour, (name, (steps, series)) in zip(COLOURS, found.items(), strict=False):
        _noisy(axes, steps, np.where(series > 0, series, np.nan) if log else series, colour, names[name], log=log)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(10 ** np.floor(np.log10(positive.min())), 10 ** np.ceil(np.log10(positive.max())))
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)


def _seconds(axes: Axes, timings: Sequence[Row]) -> None:
    rows = [row for row in timings if row.get("step")]
    steps = _values(rows, "step")
    edges = np.append(steps - 0.5, steps[-1:] + 0.5)
    bottom = np.zeros(len(rows))
    for colour, name in zip((COLOURS[0], COLOURS[4], COLOURS[2], COLOURS[3], COLOURS[6]), _PHASES, strict=True):
        values = np.nan_to_num(_values(rows, name))
        if values.any():
            top = bottom + values
            axes.stairs(top, edges, baseline=bottom, fill=True, color=colour, label=name.removeprefix("seconds/"))
            bottom = top
    axes.set_ylim(0, max(1e-9, float(np.quantile(bottom, 0.98)) * 1.5) if rows else 1)
    _legend(axes, columns=3)


def _noisy(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, label: str, *, log: bool = False) -> None:
    """A line; where there are many steps also its running mean (geometric if `log`), the raw line faint behind."""
    window = len(steps) // 25
    if window < 2:
        marker = "o" if len(steps) < 3 else ""
        axes.plot(steps, values, color=colour, linewidth=1.8, marker=marker, markersize=3.5, label=label or None)
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


def _values(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([np.nan if (value := row.get(name)) is None else value for row in rows], dtype=float)


def _has(rows: Sequence[Row], *names: str) -> bool:
    return any(row.get(name) is not None for row in rows for name in names)


def _prepare(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=8)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9.5)
    axes.margins(x=0.02)


def _right_axis(axes: Axes, colour: str) -> Axes:
    right = axes.twinx()
    right.tick_params(length=0, labelsize=9.5, colors=colour)
    right.spines[:].set_visible(False)
    right.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return right


def _finish(axes: Axes) -> None:
    if isinstance(axes.xaxis.get_major_locator(), AutoLocator):
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    if isinstance(axes.yaxis.get_major_locator(), AutoLocator):
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))


def _legend(axes: Axes, *, columns: int = 1) -> None:
    if axes.get_legend_handles_labels()[1]:
        box = axes.legend(loc="best", ncols=columns, fontsize=9, handlelength=1.2, borderpad=0.25, labelspacing=0.25)
        box.get_frame().set(alpha=0.8, edgecolor="none", facecolor="white", linewidth=0)


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))


@contextmanager
def _drawing() -> Iterator[None]:
    """Our own style whatever the user's matplotlibrc says; a letter that the font lacks is drawn as a box, silently."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _encoded(figure: Figure, kind: str) -> bytes:
    target = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(target, format=kind, dpi=130, metadata=metadata, facecolor="white" if kind == "png" else "none")
    return target.getvalue()
