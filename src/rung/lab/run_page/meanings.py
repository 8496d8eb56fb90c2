"""What a page says about metrics: meaning, unit, healthy range, and the order in which a reader wants them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rung.errors import SettingsError
from rung.runs.metrics.registry import METRICS, explain_metric


def meanings(names: Iterable[str], *, environment: bool) -> dict[str, Any]:
    """`{"order": ["step", ...], "meanings": [{"name": "kl/start", ...}, ...]}`."""
    return {"order": list(METRICS), "meanings": [meaning(name, environment=environment) for name in names]}


def meaning(name: str, *, environment: bool = False) -> dict[str, Any]:
    """What is known about a metric; nothing but its name when it is none of ours."""
    try:
        metric = explain_metric(name, environment=environment)
    except SettingsError:
        return {"name": name, "unit": "", "meaning": "", "healthy": "", "low": None, "high": None, "what_to_do": ""}
    return {
        "name": name,
        "unit": metric.unit,
        "meaning": metric.meaning,
        "healthy": metric.healthy,
        "low": metric.low,
        "high": metric.high,
        "what_to_do": metric.what_to_do,
    }
