"""What is known about one metric, and the units they come in."""

from __future__ import annotations

from dataclasses import dataclass

SHARE = "share of 1"
NATS = "nats a token"
COUNT = "count"
SECONDS = "seconds"
TOKENS = "tokens"
RATE = "tokens a second"
GIB = "GiB"
NUMBER = "number"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric as a reader meets it.

    Example: `METRICS["length/truncated"]` has unit `share of 1`, `high=0.1`, and says to raise max_new_tokens.
    """

    name: str
    unit: str
    meaning: str
    """One sentence."""
    healthy: str
    """The healthy range in words."""
    low: float | None = None
    """Below this the value is marked; None: no lower end that holds for every run."""
    high: float | None = None
    """Above this the value is marked; None: no upper end that holds for every run."""
    what_to_do: str
    """One sentence."""

    def standing(self, value: float | None) -> str:
        """`"low"`, `"high"`, or `"ok"` (inside the range, or nothing to compare).

        >>> from rung.runs.metrics.registry import METRICS
        >>> METRICS["length/truncated"].standing(0.6)
        'high'
        """
        if value is None:
            return "ok"
        if self.low is not None and value < self.low:
            return "low"
        return "high" if self.high is not None and value > self.high else "ok"

    def text(self) -> str:
        """What `rung explain-metric` prints."""
        return (
            f"{self.name} ({self.unit})\n  meaning     {self.meaning}\n"
            f"  healthy     {self.healthy}\n  what to do  {self.what_to_do}"
        )
