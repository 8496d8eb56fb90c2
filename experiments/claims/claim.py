"""What the claims share: a claim, its verdicts, numbers with intervals, and what the docs say of a recorded result.

A claim is one file. Its docstring says what is measured; CLAIM states the rule, and `verdict` is that rule, a pure
function, both fixed before the run. `measure` takes the numbers, `main` records them, `words` says them for the docs.

    python experiments/claims/reinforce_unstable.py     one claim
    python experiments/claims/every_claim.py            all of them, in the article's order

Importing this module lets a claim find `running` and the exact enumeration of tests/exact, and keeps it to one thread:
its networks are small, and a second thread would only wait.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

EXPERIMENTS = Path(__file__).parent.parent
for _home in (EXPERIMENTS, EXPERIMENTS.parent / "tests" / "exact"):
    if str(_home) not in sys.path:
        sys.path.append(str(_home))

from running import PICTURES, ROOT, origin, record, recorded  # noqa: E402 - found by the lines above

from rung.lab.compare.seed_statistics import reach  # noqa: E402
from rung.runs.statistics import wilson  # noqa: E402

torch.set_num_threads(1)

HOLDS = "holds"


def only_when(condition: str) -> str:
    """The verdict of a claim that is half right."""
    return f"holds here only when {condition}"


def not_here(why: str) -> str:
    """The verdict of a claim that was not found true, and why: no difference is another reason than the opposite."""
    return f"does not hold here: {why}"


@dataclass(frozen=True)
class Number:
    """A number with a 95 % interval. Example: `Number(3.1, 2.2, 4.4)` times."""

    value: float
    low: float
    high: float

    def words(self, unit: str = "") -> str:
        """`3.1 times (2.2 to 4.4)`; no interval where the number is exact.

        >>> Number(3.14, 2.2, 4.4).words("times"), Number(0.5, 0.5, 0.5).words()
        ('3.14 times (2.20 to 4.40)', '0.500, exact')
        """
        value = f"{short(self.value)} {unit}".rstrip()
        return f"{value}, exact" if self.low == self.high else f"{value} ({short(self.low)} to {short(self.high)})"


def short(value: float) -> str:
    """Three digits that count.

    >>> short(0.01234), short(12345.6), short(1e-16), short(1.2e-9)
    ('0.0123', '12,346', '0', '1.2e-09')
    """
    size = abs(value)
    if size < 1e-12:  # what rounding leaves of 0
        return "0"
    if size < 1e-4:
        return f"{value:.1e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


def mean(values: Sequence[float]) -> Number:
    """The mean over seeds with Student's interval. ValueError with fewer than two."""
    center, error, degrees = _spread(values)
    width = reach(0.95, degrees) * error
    return Number(center, center - width, center + width)


def difference(after: Sequence[float], before: Sequence[float]) -> Number:
    """The difference of two means over seeds that are not paired, with Welch's interval.

    >>> difference([3.0, 5.0], [1.0, 1.0]).value
    3.0
    """
    (a, a_error, a_free), (b, b_error, b_free) = _spread(after), _spread(before)
    error = math.hypot(a_error, b_error)
    if error == 0:
        return Number(a - b, a - b, a - b)
    degrees = error**4 / (a_error**4 / a_free + b_error**4 / b_free)  # Welch and Satterthwaite
    width = reach(0.95, max(1, math.floor(degrees))) * error
    return Number(a - b, a - b - width, a - b + width)


def ratio(above: Sequence[float], below: Sequence[float]) -> Number:
    """The ratio of two geometric means over seeds that are not paired: Welch's interval on the logarithms."""
    return exponential(difference([math.log(v) for v in above], [math.log(v) for v in below]))


def geometric_mean(values: Sequence[float]) -> Number:
    """Of ratios that were each taken on one seed.

    >>> round(geometric_mean([2.0, 8.0]).value, 9)
    4.0
    """
    return exponential(mean([math.log(value) for value in values]))


def exponential(number: Number) -> Number:
    """Back from logarithms. An interval that two seeds leave open stays finite."""
    return Number(*(math.exp(min(v, 700.0)) for v in (number.value, number.low, number.high)))


def share(count: int, of: int) -> Number:
    """A share with Wilson's interval.

    >>> share(0, 25).low, round(share(0, 25).high, 3)
    (0.0, 0.133)
    """
    low, high = wilson(count / of, of)
    return Number(count / of, low, high)


def _spread(values: Sequence[float]) -> tuple[float, float, int]:
    """Mean, standard error, degrees of freedom."""
    if len(values) < 2:
        raise ValueError(f"got {len(values)} values, expected at least 2 seeds: one has no interval")
    center = math.fsum(values) / len(values)
    squares = math.fsum((value - center) ** 2 for value in values)
    return center, math.sqrt(squares / (len(values) - 1) / len(values)), len(values) - 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a claim's run found. `result` is whatever its table and picture need."""

    number: Number
    verdict: str
    result: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence of the article, what is measured of it, and by which rule it is judged."""

    name: str
    sentence: str
    measured: str
    """The number that the verdict leans on most, in words."""
    unit: str
    rule: str

    @property
    def runs(self) -> Path:
        """Where its runs are; one that was stopped goes on there."""
        return ROOT / "runs" / "claims" / self.name

    @property
    def picture(self) -> Path:
        return PICTURES / f"claim_{self.name}.png"

    def recorded(self) -> dict[str, Any] | None:
        return recorded(f"claims_{self.name}")

    def record(self, found: Measured, *, seeds: Iterable[int], runs_in: Iterable[Path] = ()) -> dict[str, Any]:
        """Writes experiments/results/claims_NAME.json."""
        whole = {
            "seeds": list(seeds),
            **{key: getattr(self, key) for key in ("sentence", "measured", "unit", "rule")},
            "number": asdict(found.number),
            "verdict": found.verdict,
            **found.result,
        }
        return record(
            f"claims_{self.name}", whole, runs_in=runs_in, command=f"python experiments/claims/{self.name}.py"
        )

    def words(self, lines: Callable[[Mapping[str, Any]], Sequence[str]]) -> str:
        """The recorded result for the docs: the verdict, the number, the claim's own lines, and how it was got."""
        run = self.recorded()
        if run is None:
            return "Not recorded yet."
        number = Number(**run["number"]).words(run["unit"])
        said = [
            f"**{run['verdict'][0].upper()}{run['verdict'][1:]}.** {capital(run['measured'])}: {number}.",
            "",
            *(["", f"![{run['measured']}](pictures/{self.picture.name})", ""] if self.picture.is_file() else []),
            *lines(run),
            "",
            f"Rule, fixed before the run: {run['rule']}",
            "",
            origin(run),
        ]
        return "\n".join(said).replace("\n\n\n", "\n\n")

    def row(self) -> str:
        """Its line in the table of all claims."""
        run = self.recorded()
        if run is None:
            return f"| {self.sentence} | {self.measured} | not recorded yet | |"
        number = Number(**run["number"]).words(run["unit"])
        return f"| {run['sentence']} | {run['measured']} | {number} | {run['verdict']} |"


def capital(text: str) -> str:
    return text[0].upper() + text[1:]
