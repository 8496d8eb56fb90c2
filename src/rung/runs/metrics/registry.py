"""Every number a run reports: what it means, the range that is healthy, and what to do outside it.

`METRICS` has the fixed names of metrics.jsonl and timings.jsonl; names with a part of their own
(`reward/<part>`, `reward_std/<part>`, `nonfinite/<metric>`) are explained by `explain_metric`.
"""

from __future__ import annotations

import math

from rung.errors import SettingsError, did_you_mean
from rung.runs.metrics.metric import COUNT, GIB, NUMBER, RATE, SECONDS, SHARE, TOKENS, Metric
from rung.runs.metrics.of_environments import of_environment
from rung.runs.metrics.of_every_run import METRIC_LIST
from rung.runs.metrics.of_preferences import PREFERENCE_METRICS
from rung.runs.metrics.of_values import LEARNED_REWARD_METRICS, VALUE_METRICS

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (*METRIC_LIST, *VALUE_METRICS, *PREFERENCE_METRICS, *LEARNED_REWARD_METRICS)
}
"""By name, in the order a reader wants them."""


def explain_metric(name: str, *, environment: bool = False) -> Metric:
    """The metric of that name; a reward part's name is explained in general. `environment`: said of a run in one.

    Raises `SettingsError` (a ValueError) that names the nearest metric when there is none of this name.

    >>> explain_metric("reward/format").meaning
    "The mean of the reward part 'format' over this step's completions, before its weight."
    """
    family, _, part = name.partition("/")
    known = METRICS.get(name) or (_FAMILIES[family](part) if part and family in _FAMILIES else None)
    if known is not None:
        return of_environment(known) if environment else known
    raise SettingsError([f"metric: got '{name}', which is not a metric{did_you_mean(name, METRICS)}"])


def shown(name: str, value: float | None) -> str:
    """A value as a reader wants it: shares in percent, counts with separators, three significant digits else.

    >>> shown("length/truncated", 0.0625), shown("tokens/generated", 40960), shown("grad/norm", None)
    ('6.2 %', '40,960', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    unit = explain_metric(name).unit if _known(name) else NUMBER
    if unit == SHARE and not (name.startswith("held_out/") and not 0 <= value <= 1):  # a mean return is no share
        return f"{value * 100:.1f} %"
    if unit in (COUNT, RATE) or (unit == TOKENS and abs(value) >= 100):
        return f"{value:,.0f}"
    if unit == TOKENS:
        return f"{value:.1f}"
    if unit == SECONDS:
        return f"{value:,.2f} s" if abs(value) < 100 else f"{value:,.0f} s"
    if unit == GIB:
        return f"{value:.2f} GiB"
    return _significant(value)


def _known(name: str) -> bool:
    family, _, part = name.partition("/")
    return name in METRICS or bool(part and family in _FAMILIES)


def _significant(value: float) -> str:
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e6:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}"


def _reward_part(part: str) -> Metric:
    return Metric(
        name=f"reward/{part}",
        unit=NUMBER,
        meaning=f"The mean of the reward part '{part}' over this step's completions, before its weight.",
        healthy="rises, or holds once it is at its best; watch that one part does not rise at another's cost",
        what_to_do="A part that never moves teaches nothing: drop it, or make it tell samples apart.",
    )


def _reward_spread(part: str) -> Metric:
    return Metric(
        name=f"reward_std/{part}",
        unit=NUMBER,
        meaning=f"The standard deviation of the reward part '{part}' over this step's completions.",
        healthy="above 0: only differences between samples teach",
        what_to_do="At 0 for many steps the part is constant: drop it, or make it tell samples apart.",
    )


def _not_finite(metric: str) -> Metric:
    return Metric(
        name=f"nonfinite/{metric}",
        unit=COUNT,
        meaning=f"1 where '{metric}' was NaN or infinite in this step and was therefore written as null.",
        healthy="absent",
        high=0,
        what_to_do="Lower the learning rate and look at the step's samples and rewards for the first odd value.",
    )


_FAMILIES = {"reward": _reward_part, "reward_std": _reward_spread, "nonfinite": _not_finite}
