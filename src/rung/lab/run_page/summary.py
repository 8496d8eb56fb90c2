"""A run in one line: how far it is, how long it still takes, its score and what it was set to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rung.runs.metrics import STEPS, in_environment
from rung.runs.record.console import duration
from rung.runs.record.files import Row
from rung.runs.record.visible import visible

RECENT = 20
"""Steps whose mean time tells how long the next ones take."""


def summary(
    settings: str, metrics: Sequence[Row], timings: Sequence[Row], gain: Any, *, finished: bool
) -> dict[str, Any]:
    """A row of the table of runs. What a run does not have is null; `settings` is the text of settings.yaml."""
    scored = next((row for row in reversed(metrics) if row.get("held_out/score") is not None), {})
    rewards = [row["reward/mean"] for row in metrics if row.get("reward/mean") is not None]
    return {
        "method": set_to(settings, "method:\n  name"),
        "task": set_to(settings, "task:\n  name"),
        "state": "finished" if finished else time_left(settings, metrics, timings) or "unfinished",
        "step": last_step(metrics),
        "score": scored.get("held_out/score"),
        "low": scored.get("held_out/low"),
        "high": scored.get("held_out/high"),
        "gain": None if gain is None else gain.value,
        "gain_low": None if gain is None else gain.low,
        "gain_high": None if gain is None else gain.high,
        "reward": rewards[-1] if rewards else None,
        "seconds": _seconds(timings),
    }


def state(settings: str, metrics: Sequence[Row], timings: Sequence[Row], *, finished: bool) -> str:
    """How far a run is, in a sentence or two."""
    last, planned = last_step(metrics), set_to(settings, "steps")
    left = time_left(settings, metrics, timings)
    of = f" of {int(planned):,}" if planned.isdecimal() else ""
    said = f"Finished after {last:,} steps." if finished else f"Unfinished: {last:,}{of} steps so far"
    if not finished:
        said += f"; while it trains, {left}." if left else "."
    seconds, tokens = _seconds(timings), sum(row.get("tokens/generated") or 0.0 for row in metrics)
    if not seconds:
        return said
    drawn = f"{STEPS} taken" if in_environment(metrics) else "tokens generated"
    return f"{said} {duration(seconds)} of training{f', {tokens:,.0f} {drawn}' if tokens else ''}."


def time_left(settings: str, metrics: Sequence[Row], timings: Sequence[Row]) -> str:
    """`about 3m 20s left`, from the steps that are planned and the mean of the last ones; empty where that is unknown.

    >>> time_left("steps: 30\\n", [{"step": 10}], [{"step": 10, "seconds/step": 2.0}])
    'about 40s left'
    """
    planned = set_to(settings, "steps")
    recent = [seconds for row in timings[-RECENT:] if (seconds := row.get("seconds/step")) is not None]
    steps = int(planned) - last_step(metrics) if planned.isdecimal() else 0
    if steps <= 0 or not recent:
        return ""
    bound = "at most " if re.search(r"^budget:\n(?:  \w+: null\n)*  \w+: (?!null)", settings, re.MULTILINE) else ""
    return f"{bound}about {duration(steps * fmean(recent))} left"


def last_step(metrics: Sequence[Mapping[str, Any]]) -> int:
    """The last step that was made; 0: none yet."""
    return max((int(row.get("step") or 0) for row in metrics), default=0)


def _seconds(timings: Sequence[Row]) -> float:
    return sum(row.get("seconds/step") or 0.0 for row in timings)


def set_to(settings: str, key: str) -> str:
    """What the text says of a key at the margin. It is looked for, not parsed: another's file is shown and no more."""
    found = re.search(rf"^{key}: (.{{1,200}})$", settings, re.MULTILINE)
    return visible(found[1].strip("'\""), limit=80) if found else ""
