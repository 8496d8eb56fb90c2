"""What a page says about metrics: meaning, unit, healthy range, and the order in which a reader wants them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rung.errors import SettingsError
from rung.runs.metrics.registry import METRICS, Metric, explain_metric


def meanings(names: Iterable[str], *, environment: bool) -> dict[str, Any]:
    """`{"order": ["step", ...], "meanings": [{"name": "kl/start", ...}, ...]}`."""
    return {"order": list(METRICS), "meanings": [vars(_metric(name, environment)) for name in names]}


def _metric(name: str, environment: bool) -> Metric:
    """The metric of that name; one with empty sentences for a name that is not ours."""
    try:
        return explain_metric(name, environment=environment)
    except SettingsError:
        return Metric(name=name, unit="", meaning="", healthy="", what_to_do="")
