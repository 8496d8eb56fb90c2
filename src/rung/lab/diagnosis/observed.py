"""A run as the rules see it: the rows of metrics so far, and what else its folder holds; what a rule finds in it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rung.errors import SettingsError
from rung.runs.metrics import ENVIRONMENT, TEXT, Words, in_environment
from rung.runs.record.visible import visible
from rung.runs.statistics import Difference, mean_score, quantile, score_difference
from rung.settings import Settings

FEW_STEPS = 10
"""With fewer steps nothing can be said about learning."""
ENOUGH_STEPS = 20
"""From so many steps on, a run that has not moved will not move."""
WINDOW = 5
"""Steps in a row for which a lasting fault must hold before it is a warning."""
CLEAR = 3.0
"""Standard errors from which a change is called clear."""

Row = Mapping[str, float | None]
Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of held-out items."""

    step: int
    items: tuple[str, ...]
    scores_NK: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A mean held-out score, and its standard error where an interval was recorded."""

    step: int
    value: float
    standard_error: float | None = None


@dataclass(frozen=True)
class Trend:
    """The mean of some number before and after, with the standard error of their difference."""

    before: float
    after: float
    standard_error: float

    @property
    def rises(self) -> bool:
        return self.after - self.before > CLEAR * self.standard_error

    @property
    def falls(self) -> bool:
        return self.before - self.after > CLEAR * self.standard_error


@dataclass(frozen=True, kw_only=True)
class ObservedRun:
    """All that a rule may look at."""

    name: str = ""
    rows: Sequence[Row] = ()
    live: bool = False
    """The run is still training and only its rows are known: it is judged by the latest of them."""
    settings: Settings | None = None
    """None when they are not known."""
    evaluations: Sequence[Evaluated] = ()
    first_samples: Sequence[Sample] = ()
    last_samples: Sequence[Sample] = ()
    finished: bool = True
    running: bool = False
    """A process holds the run's folder."""
    problems: Sequence[str] = field(default=())
    """Files of the folder that could not be read."""

    @cached_property
    def steps(self) -> Sequence[Row]:
        """The rows of training."""
        return [row for row in self.rows if row.get("step")]

    @cached_property
    def events(self) -> Sequence[Row]:
        """The rows in which a fault of a single step counts: the latest row of a live run, else all."""
        return self.rows[-1:] if self.live else self.rows

    @cached_property
    def late(self) -> Sequence[Row]:
        """The steps for which a lasting fault must hold: the last five of a live run, else the second half."""
        if self.live:
            return self.steps[-WINDOW:] if len(self.steps) >= WINDOW else ()
        return self.steps[len(self.steps) // 2 :]

    @cached_property
    def in_environment(self) -> bool:
        small = self.settings is not None and self.settings.model == "small"
        return small or in_environment(self.steps[:1])

    @cached_property
    def words(self) -> Words:
        """What the run's actions and samples are called."""
        return ENVIRONMENT if self.in_environment else TEXT

    @cached_property
    def scores(self) -> Sequence[Score]:
        """The held-out score of every evaluation, from the stored evaluations or else from the rows."""
        if self.evaluations:
            return [Score(one.step, mean_score(one.scores_NK).value) for one in self.evaluations]
        return [_score(row) for row in self.rows if row.get("held_out/score") is not None]

    @cached_property
    def best(self) -> int:
        """The evaluation with the best score."""
        values = [score.value for score in self.scores]
        return values.index(max(values))

    @cached_property
    def gain(self) -> Difference | None:
        """The last evaluation against the first."""
        return self.change(0, -1)

    def change(self, first: int, last: int) -> Difference | None:
        """One evaluation against another: by item where the scores of the items are known, else by their intervals.

        None where there are not two evaluations of the same items, or where no interval was recorded.
        """
        if len(self.scores) < 2 or self.scores[first].step == self.scores[last].step:
            return None
        if not self.evaluations:
            return _difference(self.scores[first], self.scores[last])
        before, after = self.evaluations[first], self.evaluations[last]
        if before.items != after.items:
            return None
        try:
            return score_difference(before.scores_NK, after.scores_NK)
        except SettingsError:
            return None

    @cached_property
    def fall(self) -> Difference | None:
        """From the best evaluation to the last, where more than chance explains it."""
        change = self.change(self.best, -1) if len(self.scores) > 1 else None
        return change if change is not None and change.high < 0 and self._is_clear(change) else None

    def _is_clear(self, change: Difference) -> bool:
        """Larger than any two of the evaluations differ by chance, in 99 of 100 runs that stand still."""
        pairs = math.comb(len(self.scores), 2)
        return abs(change.value) > quantile(1 - 0.01 / pairs) * change.standard_error

    @cached_property
    def lost_most(self) -> bool:
        """More than half of what the best evaluation had gained is gone at the last one."""
        if len(self.scores) < 3 or self.fall is None:
            return False
        first, best, last = (self.scores[i].value for i in (0, self.best, -1))
        rose = self.change(0, self.best)
        return rose is not None and rose.low > 0 and self._is_clear(rose) and last < (first + best) / 2

    @cached_property
    def learned(self) -> bool:
        """The held-out score rose beyond its interval and did not lose most of it again; without evaluations, the
        reward rose."""
        if len(self.scores) < 2:
            trend = self.trend("reward/mean")
            return trend is not None and trend.rises
        return self.gain is not None and self.gain.low > 0 and not self.lost_most

    def values(self, name: str, rows: Sequence[Row] | None = None) -> list[float]:
        """A metric at the steps of training that measured it."""
        return [value for row in (self.steps if rows is None else rows) if (value := row.get(name)) is not None]

    def mean(self, name: str, rows: Sequence[Row] | None = None) -> float | None:
        found = self.values(name, rows)
        return fmean(found) if found else None

    def latest(self, name: str) -> float | None:
        """A metric at the last step that measured it."""
        return next((value for row in reversed(self.steps) if (value := row.get(name)) is not None), None)

    def trend(self, name: str) -> Trend | None:
        """First third of the steps against the last third; None with fewer than nine values."""
        found = self.values(name)
        third = len(found) // 3
        return trend_of(found[:third], found[-third:]) if third >= 3 else None

    def setting(self, key: str) -> Any:
        """What a dotted key is in this run, the method's slots included; None where it has none."""
        at: Any = self._all_settings
        for part in key.split("."):
            at = at[int(part)] if isinstance(at, list | tuple) else at.get(part) if isinstance(at, Mapping) else None
        return at

    @cached_property
    def _all_settings(self) -> Mapping[str, Any]:
        if self.settings is None:
            return {}
        from rung.methods.data import as_data

        return {**self.settings.as_data(), "method": as_data(self.settings.resolved_method())}

    def changed_to(self, key: str, choose: Callable[[Any], Any]) -> dict[str, Any]:
        """A finding's `setting`, `value` and `now`: `choose(now)` where the run has this key, else nothing."""
        now = self.setting(key)
        return {} if now is None else {"setting": key, "now": now, "value": choose(now)}


def trend_of(before: Sequence[float], after: Sequence[float]) -> Trend | None:
    """The means of two stretches against each other; None where either has fewer than two values."""
    if min(len(before), len(after)) < 2:
        return None
    error = math.sqrt(stdev(before) ** 2 / len(before) + stdev(after) ** 2 / len(after))
    return Trend(fmean(before), fmean(after), error)


def span(rows: Sequence[Row]) -> str:
    """`steps 26 to 50`."""
    steps = [int(row.get("step") or 0) for row in rows]
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"


def _score(row: Row) -> Score:
    value, low, high = (row.get(f"held_out/{name}") for name in ("score", "low", "high"))
    error = None if low is None or high is None else (high - low) / (2 * quantile(0.95))
    return Score(int(row.get("step") or 0), value or 0.0, error)


def _difference(before: Score, after: Score) -> Difference | None:
    """As if the two evaluations were independent, which is wider than by item."""
    if before.standard_error is None or after.standard_error is None:
        return None
    value, error = after.value - before.value, math.hypot(before.standard_error, after.standard_error)
    reach = quantile(0.95) * error
    return Difference(value=value, low=value - reach, high=value + reach, standard_error=error, items=0)


Severity = Literal["serious", "doubtful", "note"]
"""`serious`: the run cannot be believed or cannot learn; `doubtful`: worth a look; `note`: good to know."""


@dataclass(frozen=True)
class Seen:
    """What a rule's function saw in a run; what is said of it stands in rules.yaml."""

    evidence: str
    """Numbers and steps."""
    case: str = ""
    """Which of the rule's `cases` it is."""
    severity: Severity | None = None
    """Where it depends on the numbers."""
    subject: str = ""
    words: Mapping[str, object] = field(default_factory=dict[str, object])
    """What goes into the rule's sentences."""
    remedy: Mapping[str, Any] | None = None
    """The setting, its value and what it is now, in place of the rule's `set`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule found in a run."""

    name: str = ""
    """The rule's name."""
    subject: str = ""
    """The reward parts or metrics that it is about, where there are any."""
    severity: Severity
    says: str
    evidence: str
    cause: str
    change: str
    setting: str | None = None
    """The dotted key to change; None where no setting helps."""
    value: Any = None
    """What to try; None where only a person can choose it."""
    now: Any = None
    """What the setting is in this run."""

    def text(self) -> str:
        """One paragraph, as the console shows it."""
        return f"{self.says}: {self.evidence}. Likely cause: {self.cause}. {self.change}."

    def assignment(self) -> str:
        """`--set max_new_tokens=256 (now 128)`; the key alone where a person must choose; empty without a setting."""
        if self.setting is None:
            return ""
        now = "" if self.now is None else f" (now {_written(self.now)})"
        if self.value is None:
            return f"{self.setting}{now}"
        return f"--set {shlex.quote(f'{self.setting}={_written(self.value)}')}{now}"

    def lines(self) -> list[str]:
        """For people; foreign text (a reward's name, a status) is made visible."""
        entries = {
            "evidence": f"{self.evidence}.",
            "cause": f"{self.cause}.",
            "change": f"{self.change}.",
            "setting": self.assignment(),
        }
        says = f"{self.severity}: {self.name}: {self.says}"
        return [visible(says)] + [f"  {label:<9} {visible(text)}" for label, text in entries.items() if text]


def _written(value: Any) -> str:
    """As a settings file and `--set` read it."""
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
