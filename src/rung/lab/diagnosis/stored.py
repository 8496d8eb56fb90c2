"""A run as its folder holds it, with what the illnesses ask of it. Nothing is loaded but files; nothing is written."""

from __future__ import annotations

import fcntl
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.errors import DataError, SettingsError
from rung.lab.diagnosis.warnings import Standing, standing
from rung.lab.run_page.reading import object_in, rows_in
from rung.methods.data import as_data
from rung.runs.record import samples
from rung.runs.record.json_lines import Row
from rung.runs.statistics import Difference, mean_score, score_difference
from rung.settings import Settings, read_settings

FEW_STEPS = 10
"""With fewer steps nothing can be said about learning."""
ENOUGH_STEPS = 20
"""From so many steps on, a run that has not moved will not move."""
CLEAR = 3.0
"""Standard errors from which a change is called clear."""
SAMPLE_STEPS = 3
"""Steps at either end whose samples are read."""
SAMPLES_A_STEP = 512

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of held-out items."""

    step: int
    items: tuple[str, ...]
    scores_NK: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """A metric's means over the first and the last third of the steps."""

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
class StoredRun:
    """All that a diagnosis looks at.

    Example: `StoredRun(name="a", rows=[{"step": 0, "held_out/score": 0.3}, {"step": 1, "reward/mean": 0.4}, ...])`.
    """

    name: str
    rows: Sequence[Row] = ()
    settings: Settings | None = None
    """None when settings.yaml is missing or cannot be read."""
    evaluations: Sequence[Evaluated] = ()
    first_samples: Sequence[Sample] = ()
    last_samples: Sequence[Sample] = ()
    finished: bool = True
    running: bool = False
    problems: Sequence[str] = field(default=())

    @cached_property
    def steps(self) -> Sequence[Row]:
        """The rows of training."""
        return [row for row in self.rows if row.get("step")]

    @cached_property
    def late(self) -> Sequence[Row]:
        """The second half of the training: where the run ended up."""
        return self.steps[len(self.steps) // 2 :]

    @cached_property
    def standing(self) -> Mapping[tuple[str, str], Standing]:
        """The live warnings, with the steps at which they held."""
        return standing(self.rows)

    def warned(self, name: str) -> Standing | None:
        """A live warning of that name that held at the end, the one that held longest."""
        last = self.steps[-1].get("step") if self.steps else None
        found = [one for (key, _), one in self.standing.items() if key == name and one.steps[-1] == last]
        return max(found, key=lambda one: len(one.steps)) if found else None

    @cached_property
    def in_environment(self) -> bool:
        small = self.settings is not None and self.settings.model == "small"
        return small or any("environment/steps" in row for row in self.steps[:1])

    @cached_property
    def samples_are_rewarded(self) -> bool:
        """Whether the policy learns from rewards of its own samples of text; preferences and environments do not."""
        return not self.in_environment and any(row.get("reward/mean") is not None for row in self.steps)

    @cached_property
    def gain(self) -> Difference | None:
        """The last evaluation against the first, by item."""
        return self.change(0, -1)

    def change(self, first: int, last: int) -> Difference | None:
        """One evaluation against another, by item; None where they are not two, or not of the same items."""
        if len(self.evaluations) < 2:
            return None
        before, after = self.evaluations[first], self.evaluations[last]
        if before.step == after.step or before.items != after.items:
            return None
        try:
            return score_difference(before.scores_NK, after.scores_NK)
        except SettingsError:
            return None

    @cached_property
    def learned(self) -> bool:
        """The held-out score rose beyond its interval and did not lose most of it again; without evaluations, the
        reward rose."""
        if len(self.evaluations) < 2:
            trend = self.trend("reward/mean")
            return trend is not None and trend.rises
        return self.gain is not None and self.gain.low > 0 and not self.lost_most

    @cached_property
    def scores(self) -> list[float]:
        """Mean held-out score of each evaluation."""
        return [mean_score(one.scores_NK).value for one in self.evaluations]

    @cached_property
    def best(self) -> int:
        """The evaluation with the best score."""
        return self.scores.index(max(self.scores))

    @cached_property
    def lost_most(self) -> bool:
        """More than half of what the best evaluation had gained is gone at the last one."""
        if len(self.scores) < 3:
            return False
        first, best, last = self.scores[0], self.scores[self.best], self.scores[-1]
        rose, fell = self.change(0, self.best), self.change(self.best, -1)
        sure = rose is not None and rose.low > 0 and fell is not None and fell.high < 0
        return sure and last < (first + best) / 2

    def values(self, name: str, rows: Sequence[Row] | None = None) -> list[float]:
        """A metric at the steps of training that measured it."""
        return [value for row in (self.steps if rows is None else rows) if (value := row.get(name)) is not None]

    def mean(self, name: str, rows: Sequence[Row] | None = None) -> float | None:
        found = self.values(name, rows)
        return fmean(found) if found else None

    def trend(self, name: str) -> Trend | None:
        """First third against last third; None with fewer than nine values."""
        found = self.values(name)
        third = len(found) // 3
        if third < 3:
            return None
        first, last = found[:third], found[-third:]
        error = math.sqrt((stdev(first) ** 2 + stdev(last) ** 2) / third)
        return Trend(fmean(first), fmean(last), error)

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
        return {**self.settings.as_data(), "method": as_data(self.settings.resolved_method())}

    def changed_to(self, key: str, choose: Any) -> dict[str, Any]:
        """A finding's `setting`, `value` and `now`: `choose(now)` where the run has this key, else nothing."""
        now = self.setting(key)
        return {} if now is None else {"setting": key, "now": now, "value": choose(now)}


def span(rows: Sequence[Row]) -> str:
    """`steps 26 to 50`."""
    steps = [int(row.get("step") or 0) for row in rows]
    return f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"


def read_stored(folder: Path) -> StoredRun:
    """Reads a run's folder. Raises `DataError` when there is nothing to read: no metrics and no settings in it.

    What is damaged is told in `problems`; the rest is read nonetheless.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in ("metrics.jsonl", "settings.yaml")):
        raise DataError([f"{folder}: no run here, expected a folder with metrics.jsonl or settings.yaml"])
    problems: list[str] = []
    parts = list(samples.parts(folder / "samples").items())
    return StoredRun(
        name=folder.resolve().name,
        rows=rows_in(folder / "metrics.jsonl", problems),
        settings=_settings(folder / "settings.yaml", problems),
        evaluations=_evaluations(folder / "held_out", problems),
        first_samples=_samples(parts[:SAMPLE_STEPS], problems),
        last_samples=_samples(parts[-SAMPLE_STEPS:], problems),
        finished=(folder / "final").is_dir(),
        running=_in_use(folder),
        problems=tuple(problems),
    )


def _settings(path: Path, problems: list[str]) -> Settings | None:
    if not path.is_file():
        problems.append(f"{path.name}: is not there, so that what a setting is now is not known")
        return None
    try:
        settings = read_settings(path)
        settings.resolved_method()
    except SettingsError as error:
        first = error.problems[0].removeprefix(f"{path}:")
        more = f", and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
        problems.append(f"{path.name}, which this version cannot read: line {first}{more}")
        return None
    return settings


def _evaluations(folder: Path, problems: list[str]) -> list[Evaluated]:
    found: list[Evaluated] = []
    for path in sorted(folder.glob("step_*.json")):
        one = object_in(path, problems)
        items, step = one.get("items"), one.get("step")
        try:
            scores_NK = np.asarray(one.get("accuracy"), dtype=np.float64)
        except (ValueError, TypeError):
            scores_NK = np.zeros(0)
        whole = isinstance(items, list) and isinstance(step, int) and scores_NK.ndim == 2
        if not whole or len(items) != len(scores_NK) or np.isnan(scores_NK).all():
            problems.append(f"held_out/{path.name}: no scores of items by samples")
            continue
        found.append(Evaluated(step, tuple(str(item) for item in items), scores_NK))
    return sorted(found, key=lambda one: one.step)


_COLUMNS = ("step", "group", "prompt", "completion", "status", "token_ids", "accuracy", "truncated", "reward")


def _samples(parts: Sequence[tuple[int, Path]], problems: list[str]) -> list[Sample]:
    rows: list[Sample] = []
    for _, path in parts:
        try:
            rows += samples.read_part(path, _COLUMNS)[:SAMPLES_A_STEP]
        except DataError as error:
            problems.append(str(error))
    return rows


def _in_use(folder: Path) -> bool:
    """Whether a process holds the run's lock now."""
    path = folder / ".lock"
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
