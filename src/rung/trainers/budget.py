"""Budget: what a run has spent, by axis, and whether a limit is reached.

All of it is a sum over the rows of metrics.jsonl and timings.jsonl, so a resumed run knows what it has spent.
Evaluations and checkpoints cost nothing here: they are how a run is looked at, not how it learns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rung.trainers.work import Work

AXES = {
    "tokens": "generated tokens",
    "trained": "trained tokens",
    "steps": "environment steps",
    "seconds": "seconds of training",
    "flops": "floating-point operations (estimated)",
}
"""What can be limited (`budget.tokens`, ...), in words."""
OF_ENVIRONMENTS = {"tokens": "environment steps", "trained": "environment steps trained on"}
PHASES = ("sample", "reward", "reference", "learn")
"""The phases of a step whose seconds count."""
Row = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What was spent, by axis.

    Example: `Spent(tokens=2_000_640, trained=1_730_112, steps=0, seconds=61.4, flops=6e11)`.
    """

    tokens: float = 0.0
    trained: float = 0.0
    steps: float = 0.0
    seconds: float = 0.0
    flops: float = 0.0

    def after(self, metrics: Row, seconds: float, work: Work) -> Spent:
        """With one step more: its row of metrics, and the seconds of its phases."""
        generated, trained, asked = (
            metrics.get(f"tokens/{name}") or 0.0 for name in ("generated", "trained", "reference")
        )
        return replace(
            self,
            tokens=self.tokens + generated,
            trained=self.trained + trained,
            steps=metrics.get("environment/steps") or self.steps,  # the row has the sum already
            seconds=self.seconds + seconds,
            flops=self.flops + work.generated * generated + work.trained * trained + work.reference * asked,
        )

    def reached(self, limits: Mapping[str, float]) -> list[str]:
        """The axes on which as much as the limit is spent.

        >>> Spent(tokens=2048.0).reached({"tokens": 2000, "seconds": 60.0})
        ['tokens']
        """
        return [axis for axis, limit in limits.items() if getattr(self, axis) >= limit]


def in_words(axis: str, *, environment: bool) -> str:
    """What an axis counts.

    >>> in_words("tokens", environment=False), in_words("tokens", environment=True)
    ('generated tokens', 'environment steps')
    """
    return OF_ENVIRONMENTS.get(axis, AXES[axis]) if environment else AXES[axis]


def seconds_of(timings: Row) -> float:
    """The seconds of a row of timings.jsonl that count."""
    return sum(timings.get(f"seconds/{phase}") or 0.0 for phase in PHASES)


def spent_on(metrics: Iterable[Row], timings: Iterable[Row], work: Work) -> Spent:
    """What the rows of a run add up to; row 0 is the model before training."""
    seconds = {row.get("step"): seconds_of(row) for row in timings}
    spent = Spent()
    for row in metrics:
        spent = spent.after(row, seconds.get(row.get("step"), 0.0), work)
    return spent


class Budget:
    """What one run has spent so far, and whether it may go on.

    >>> budget = Budget({"tokens": 100}, Work(generated=2.0, trained=6.0))
    >>> budget.pay({"step": 1, "tokens/generated": 120.0}, 0.5)
    >>> budget.empty, budget.spent.flops
    (['tokens'], 240.0)
    """

    def __init__(self, limits: Mapping[str, float], work: Work, spent: Spent | None = None) -> None:
        self.limits, self.work = dict(limits), work
        self.spent = spent or Spent()

    def pay(self, metrics: Row, seconds: float) -> None:
        """Counts one step."""
        self.spent = self.spent.after(metrics, seconds, self.work)

    @property
    def empty(self) -> list[str]:
        """The axes on which the limit is reached; none while the run may go on."""
        return self.spent.reached(self.limits)

    def share(self) -> float:
        """The share of its limits, 0 to 1, that is spent: of the one that it is nearest to. 0 where it has none.

        >>> Budget({"tokens": 100, "seconds": 60.0}, Work(), Spent(tokens=25.0, seconds=30.0)).share()
        0.5
        """
        return min(1.0, max((getattr(self.spent, axis) / limit for axis, limit in self.limits.items()), default=0.0))
