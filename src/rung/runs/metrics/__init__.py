"""Every number a run reports: what it means, the range that is healthy, and what to do outside it.

The sentences stand in metrics.md. `METRICS` has the fixed names of metrics.jsonl and timings.jsonl; names with a part
of their own (`reward/<part>`, `reward_std/<part>`, `nonfinite/<part>`) are explained by `explain_metric`.

Text has tokens and completions, an environment has steps and episodes. The names of metrics stay as they are stored, so
that one reader serves both kinds of run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from rung.errors import SettingsError, did_you_mean

STEPS = "environment steps"


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the actions and the samples of a run are called; a sentence names them as `{tokens}`."""

    token: str = "token"
    tokens: str = "tokens"
    completion: str = "completion"
    completions: str = "completions"
    prompt: str = "prompt"
    prompts: str = "prompts"
    items: str = "held-out items"

    def fill(self, sentence: str) -> str:
        """The sentence with these words in the places that it leaves for them.

        >>> ENVIRONMENT.fill("How many {completions} could not be judged.")
        'How many episodes could not be judged.'
        """
        for place, word in vars(self).items():
            sentence = sentence.replace(f"{{{place}}}", word)
        return sentence


TEXT = Words()
ENVIRONMENT = Words(
    token="step",
    tokens=STEPS,
    completion="episode",
    completions="episodes",
    prompt="start state",
    prompts="start states",
    items="held-out episodes",
)


def in_environment(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these rows of metrics.jsonl are of a run in an environment.

    >>> in_environment([{"step": 0}, {"step": 1, "environment/steps": 64.0}]), in_environment([{"step": 1}])
    (True, False)
    """
    return any("environment/steps" in row for row in rows)


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
    section: str = ""
    """The heading that it stands under: `Of every run`, `Of episodes over turns`, ..."""

    def standing(self, value: float | None) -> str:
        """`"low"`, `"high"`, or `"ok"` (inside the range, or nothing to compare).

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


_SENTENCES = {"Healthy": "healthy", "Otherwise": "what_to_do"}
_OF_ENVIRONMENT = {
    "Environment": "meaning",
    "Environment, range": "range",
    "Environment, healthy": "healthy",
    "Environment, otherwise": "what_to_do",
}
_UNITS = {NATS: "nats a step", TOKENS: STEPS, RATE: f"{STEPS} a second"}


def _read(section: str, entry: str, *, environment: bool) -> Metric:
    """One entry of metrics.md: `## name | unit | range`, the meaning, and lines that begin with their label."""
    heading, meaning, *labelled = entry.strip().splitlines()
    name, unit, *healthy_range = heading.split(" | ")
    sentences = {"meaning": meaning, "range": healthy_range[0] if healthy_range else "any"}
    words = ENVIRONMENT if environment else TEXT
    for line in labelled:
        label, _, sentence = line.partition(": ")
        if label in _SENTENCES:
            sentences[_SENTENCES[label]] = sentence
        elif environment:
            sentences[_OF_ENVIRONMENT[label]] = sentence
    low, high = _ends(sentences.pop("range"))
    sentences["healthy"] = sentences["healthy"].removesuffix(".")
    said = {key: words.fill(sentence) for key, sentence in sentences.items()}
    unit = _UNITS.get(unit, unit) if environment else unit
    return Metric(name=name, unit=unit, low=low, high=high, section=section, **said)


def _ends(healthy_range: str) -> tuple[float | None, float | None]:
    """The ends of `0 to 1`, `at least 0`, `at most 0.1` or `any`."""
    if healthy_range.startswith("at least "):
        return float(healthy_range.removeprefix("at least ")), None
    if healthy_range.startswith("at most "):
        return None, float(healthy_range.removeprefix("at most "))
    low, to, high = healthy_range.partition(" to ")
    return (float(low), float(high)) if to else (None, None)


_SECTIONS = (files(__name__) / "metrics.md").read_text(encoding="utf-8").split("\n# ")
_ENTRIES = [(title.splitlines()[0], entry) for title, *rest in (s.split("\n## ") for s in _SECTIONS) for entry in rest]
_TEXT, _ENVIRONMENT = (
    {metric.name: metric for metric in (_read(*entry, environment=environment) for entry in _ENTRIES)}
    for environment in (False, True)
)
_PART = "<part>"
METRICS: dict[str, Metric] = {name: metric for name, metric in _TEXT.items() if _PART not in name}
"""By name, in the order a reader wants them, in the words of a run on text."""


def explain_metric(name: str, *, environment: bool = False) -> Metric:
    """The metric of that name; a reward part's name is explained in general. `environment`: said of a run in one.

    Raises `SettingsError` (a ValueError) that names the nearest metric when there is none of this name.

    >>> explain_metric("reward/format").meaning
    "The mean of the reward part 'format' over this step's completions, before its weight."
    """
    known, (family, _, part) = _ENVIRONMENT if environment else _TEXT, name.partition("/")
    if name in known:
        return known[name]
    if part and (general := known.get(f"{family}/{_PART}")) is not None:
        return replace(general, name=name, meaning=general.meaning.replace(_PART, part))
    raise SettingsError(f"metric: got '{name}', which is not a metric{did_you_mean(name, METRICS)}")


def shown(name: str, value: float | None) -> str:
    """A value as a reader wants it: shares in percent, counts with separators, three significant digits else.

    >>> shown("length/truncated", 0.0625), shown("tokens/generated", 40960), shown("grad/norm", None)
    ('6.2 %', '40,960', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    family, _, part = name.partition("/")
    known = _TEXT.get(name) or (_TEXT.get(f"{family}/{_PART}") if part else None)
    unit = NUMBER if known is None else known.unit
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


def _significant(value: float) -> str:
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3 or size >= 1e6:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}"
