"""The usual deaths of a run, found in its metrics and said in words.

Everything here is a pure function of the metrics so far, so a resumed run needs no state and gives the same
warnings. `warnings_in` gives those that hold now, `new_warnings` those that did not hold one step ago (what the
console shows), `warning_log` every one with the step at which it came up (what the report page shows), `standing` every
one with all the steps at which it held (what `rung diagnose` weighs).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from rung.runs.metrics.of_environments import in_environment, said_of_steps

Row = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class WarningLimits:
    """When a warning speaks. The defaults suit most runs."""

    steps: int = 5
    """How many steps in a row a standing fault must last."""
    truncated: float = 0.5
    """Share of completions cut off."""
    entropy: float = 0.1
    """Entropy as a share of its first value."""
    sampler_gap: float = 0.01
    """Mean difference of log-probabilities, nats a token."""
    grad_spike: float = 10.0
    """Gradient norm as a multiple of the median of the steps before."""
    kl: float = 1.0
    """KL to the start, nats a token."""
    kl_growth: float = 3.0
    """KL as a multiple of its value ten steps before, while the reward did not rise."""
    held_out_fall: float = 0.05
    """Fall of the held-out score that counts where no interval was recorded."""


@dataclass(frozen=True, kw_only=True)
class RunWarning:
    """One thing that is going wrong: what, the evidence, the likely cause, the setting to change.

    Example: `RunWarning(name="truncated", says="most completions are cut off", evidence="71.0 % at step 12 ...", ...)`.
    """

    name: str
    subject: str = ""
    """The reward part or metric it is about, where there is one."""
    says: str
    evidence: str
    cause: str
    change: str

    def text(self) -> str:
        """One paragraph."""
        return f"{self.says}: {self.evidence}. Likely cause: {self.cause}. {self.change}."

    def of_environment(self) -> RunWarning:
        """Said of environment steps and episodes."""
        said = ("says", "evidence", "cause", "change")
        return replace(self, **{name: said_of_steps(getattr(self, name)) for name in said})


def warnings_in(history: Sequence[Row], limits: WarningLimits | None = None) -> list[RunWarning]:
    """The warnings that hold after the last row of `history` (rows of metrics.jsonl, in order).

    >>> [w.name for w in warnings_in([{"step": 1, "sampler_gap/mean": 0.2}])]
    ['sampler_gap']
    """
    return _Past(history).warnings(len(history), limits or WarningLimits())


def new_warnings(history: Sequence[Row], limits: WarningLimits | None = None) -> list[RunWarning]:
    """Those that hold now and did not hold one row ago: each is given once until it clears."""
    past, limits = _Past(history), limits or WarningLimits()
    before = {_key(warning) for warning in past.warnings(max(0, len(history) - 1), limits)}
    return [warning for warning in past.warnings(len(history), limits) if _key(warning) not in before]


def warning_log(history: Sequence[Row], limits: WarningLimits | None = None) -> list[tuple[int, RunWarning]]:
    """Every warning of the run as (step, warning), at the step where it came up."""
    log: list[tuple[int, RunWarning]] = []
    before: set[tuple[str, str]] = set()
    for step, now in _step_by_step(history, limits):
        log += [(step, warning) for warning in now if _key(warning) not in before]
        before = {_key(warning) for warning in now}
    return log


@dataclass(frozen=True)
class Standing:
    """A warning over a whole run: the steps at which it held, and what it said at the last of them."""

    steps: tuple[int, ...]
    last: RunWarning


def standing(history: Sequence[Row], limits: WarningLimits | None = None) -> dict[tuple[str, str], Standing]:
    """Every warning of the run by (name, subject).

    >>> standing([{"step": 1, "sampler_gap/mean": 0.2}, {"step": 2, "sampler_gap/mean": 0.3}])["sampler_gap", ""].steps
    (1, 2)
    """
    found: dict[tuple[str, str], Standing] = {}
    for step, now in _step_by_step(history, limits):
        for warning in now:
            before = found.get(_key(warning))
            found[_key(warning)] = Standing((*(before.steps if before else ()), step), warning)
    return found


def _step_by_step(history: Sequence[Row], limits: WarningLimits | None) -> Iterator[tuple[int, list[RunWarning]]]:
    past, limits = _Past(history), limits or WarningLimits()
    for end in range(1, len(history) + 1):
        yield int(history[end - 1].get("step") or 0), past.warnings(end, limits)


def _key(warning: RunWarning) -> tuple[str, str]:
    return warning.name, warning.subject


class _Past:
    """The history up to a moment, with the evaluations found once."""

    def __init__(self, history: Sequence[Row]) -> None:
        self.history = history
        self.evaluated = [i for i, row in enumerate(history) if row.get("held_out/score") is not None]
        self.best = list(itertools.accumulate(self.evaluated, self._better))
        """At each evaluation, the row of the best one so far."""
        self.end = len(history)
        self.environment = in_environment(history)

    def score(self, i: int) -> float:
        return self.history[i].get("held_out/score") or 0.0

    def _better(self, i: int, j: int) -> int:
        return j if self.score(j) > self.score(i) else i

    def warnings(self, end: int, limits: WarningLimits) -> list[RunWarning]:
        self.end = end
        found = [warning for rule in _RULES for warning in rule(self, limits)] if end else []
        return [warning.of_environment() for warning in found] if self.environment else found

    @property
    def now(self) -> Row:
        return self.history[self.end - 1]

    def last(self, count: int) -> Sequence[Row]:
        """The last `count` rows of training (step 0 is none), or nothing when there are fewer."""
        rows = [row for row in self.history[max(0, self.end - count) : self.end] if row.get("step")]
        return rows if len(rows) == count else []

    def series(self, name: str, count: int) -> list[float]:
        """The metric at the last `count` rows, or nothing when one of them lacks it."""
        values = [row.get(name) for row in self.last(count)]
        return [v for v in values if v is not None] if all(v is not None for v in values) else []

    def evaluations(self) -> tuple[int, int] | None:
        """The rows of the best evaluation before the latest, and of the latest; None with fewer than two."""
        count = bisect.bisect_left(self.evaluated, self.end)
        return (self.best[count - 2], self.evaluated[count - 1]) if count > 1 else None


_Rule = Callable[[_Past, WarningLimits], Iterator[RunWarning]]


def _no_signal(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    rows = past.last(limits.steps)
    if not rows or not all(_silent(row) for row in rows):
        return
    right = fmean([row.get("groups/all_right") or 0.0 for row in rows])
    wrong = fmean([row.get("groups/all_wrong") or 0.0 for row in rows])
    counts = f"{right:.0%} of groups all right, {wrong:.0%} all wrong"
    if right >= 0.5:
        cause, change = (
            "the prompts are too easy for the model as it is now",
            "Use harder prompts, or stop: this task is learned",
        )
    elif wrong >= 0.5:
        cause, change = (
            "the prompts are too hard: no sample is ever right",
            "Use easier prompts, show worked examples, start with `rung sft`, or raise samples_per_prompt",
        )
    else:
        cause, change = (
            "the reward gives every sample of a prompt the same value",
            "Read the samples and make the reward tell them apart, or raise the temperature",
        )
    yield RunWarning(
        name="no_signal",
        says=f"nothing to learn from for {limits.steps} steps",
        evidence=f"in each of them every group's rewards were equal or every advantage was 0 ({counts})",
        cause=cause,
        change=change,
    )


def _silent(row: Row) -> bool:
    return row.get("groups/no_spread") == 1 or row.get("advantage/size") == 0 or row.get("episodes/trained") == 0


def _truncated(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    shares = past.series("length/truncated", limits.steps)
    if shares and fmean(shares) > limits.truncated:
        yield RunWarning(
            name="truncated",
            says="most completions are cut off before they end",
            evidence=f"{fmean(shares):.0%} of them over the last {limits.steps} steps",
            cause="max_new_tokens is too small, or the model has not learned to stop",
            change="Raise max_new_tokens, give the task a stop text, or start with `rung sft` on examples that end",
        )


def _constant_parts(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    rows = past.last(limits.steps)
    names = sorted({name for row in rows for name in row if name.startswith("reward/") and name != "reward/mean"})
    for name in names:
        part = name.removeprefix("reward/")
        values = [row.get(name) for row in rows]
        if all(value is None for value in values):
            yield RunWarning(
                name="part_never_applies",
                subject=part,
                says=f"the reward part '{part}' applies to no completion",
                evidence=f"it gave no value in the last {limits.steps} steps",
                cause="the reward returns None for every sample, perhaps because a column it needs is missing",
                change=f"Check what '{part}' reads from the task's rows, or remove it",
            )
            continue
        if _same(values) and _same([0.0, *(row.get(f"reward_std/{part}") or 0.0 for row in rows)]):
            yield RunWarning(
                name="constant_part",
                subject=part,
                says=f"the reward part '{part}' never varies",
                evidence=f"it was {values[-1]:.4g} for every completion of the last {limits.steps} steps",
                cause="every completion meets it, or none does; a part that is the same for all teaches nothing",
                change=f"Remove '{part}', or make it tell completions apart",
            )


def _same(values: Sequence[float | None]) -> bool:
    """All there and equal up to rounding: the mean of many 0.2s is not exactly 0.2."""
    there = [value for value in values if value is not None]
    return len(there) == len(values) and max(there) - min(there) <= 1e-9 * max(1.0, abs(there[0]))


def _entropy(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    recent = past.series("entropy", 3)
    if not recent:
        return
    first = next(r for r in past.history if r.get("step") and r.get("entropy") is not None)
    start = first["entropy"] or 0.0
    if max(recent) < limits.entropy * start:
        yield RunWarning(
            name="entropy",
            says="the policy has stopped trying different things",
            evidence=f"entropy is {recent[-1]:.3g} nats a token, at step {first['step']:.0f} it was {start:.3g}",
            cause="the updates are too strong for too long (harmless if the held-out score is near its best)",
            change="Lower the learning rate, raise the temperature, or use an objective that clips higher (dapo)",
        )


def _sampler_gap(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    gap = past.now.get("sampler_gap/mean")
    if gap is not None and gap > limits.sampler_gap:
        yield RunWarning(
            name="sampler_gap",
            says="sampler and learner disagree about the same tokens",
            evidence=f"their log-probabilities differ by {gap:.3g} on average; {limits.sampler_gap:g} is the limit",
            cause="different temperature, stale weights, or a number format that is too coarse",
            change="Compute in float32 once to see whether it is rounding; if it stays, the weights differ",
        )


def _capped_ratio(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    capped = past.now.get("ratio/capped")
    if capped:
        yield RunWarning(
            name="capped_ratio",
            says="some tokens' ratio to the old policy was too large to compute with",
            evidence=f"it was held at e^80 for {capped:.2%} of the tokens",
            cause="a policy that has run away from its own samples within one step",
            change="Lower the learning rate or the number of updates a rollout, or use an objective that clips",
        )


def _grad_spike(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    before = [row.get("grad/norm") for row in past.history[max(0, past.end - 21) : past.end - 1]]
    norms = [norm for norm in before if norm]
    now = past.now.get("grad/norm")
    if now is None or len(norms) < 5 or now <= limits.grad_spike * median(norms):
        return
    yield RunWarning(
        name="grad_spike",
        says="the gradient has jumped",
        evidence=f"its norm is {now:.3g}, the median of the {len(norms)} steps before is {median(norms):.3g}",
        cause="a few odd samples, or a learning rate that is too high",
        change="Look at this step's samples; if it happens again, lower the learning rate or the gradient clip",
    )


def _kl(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    kl = past.now.get("kl/start")
    if kl is None:
        return
    evidence = ""
    if kl > limits.kl:
        evidence = f"KL to the start is {kl:.3g} nats a token; useful runs mostly stay below {limits.kl:g}"
    else:
        then, rewards = past.series("kl/start", 11), past.series("reward/mean", 11)
        grown = then and rewards and kl > 0.2 and kl > limits.kl_growth * then[0]
        if grown and fmean(rewards[-5:]) <= fmean(rewards[:5]):
            evidence = f"KL to the start went from {then[0]:.3g} to {kl:.3g} in ten steps and the reward did not rise"
    if evidence:
        yield RunWarning(
            name="kl",
            says="the policy is running away from the model it started with",
            evidence=evidence,
            cause="the learning rate is too high, or the reward can be met by text that is no longer language",
            change="Lower the learning rate, add a KL term, and read the samples",
        )


def _held_out_falls(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    evaluations = past.evaluations()
    if evaluations is None:
        return
    best, latest = evaluations
    low = past.history[best].get("held_out/low")
    line = past.score(best) - limits.held_out_fall if low is None else low
    if past.score(latest) >= line:
        return
    then, now = (_reward_around(past, i, limits.steps) for i in (best, latest))
    if then is None or now is None or now <= then:
        return
    best_step, latest_step = (past.history[i].get("step") or 0 for i in (best, latest))
    yield RunWarning(
        name="held_out_falls",
        says="the reward rises while the held-out score falls",
        evidence=f"held-out {past.score(best):.3f} at step {best_step:.0f} and {past.score(latest):.3f} at step "
        f"{latest_step:.0f}; reward {then:.3f} then, {now:.3f} now",
        cause="the policy is rewarded without being right, or learns the training prompts by heart",
        change=f"Read the best-rewarded samples, mend the reward, and go back to step {best_step:.0f}'s checkpoint",
    )


def _reward_around(past: _Past, at: int, steps: int) -> float | None:
    """Mean reward of the `steps` rows up to that row; at the start of training, of the first ones after it."""
    window = past.history[max(0, at - steps + 1) : at + 1]
    if not past.history[at].get("step"):
        window = past.history[at : min(past.end, at + steps + 1)]
    values = [value for row in window if (value := row.get("reward/mean")) is not None]
    return fmean(values) if values else None


def _not_finite(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    for name in sorted(name for name in past.now if name.startswith("nonfinite/")):
        metric = name.removeprefix("nonfinite/")
        yield RunWarning(
            name="not_finite",
            subject=metric,
            says=f"'{metric}' is not a finite number",
            evidence=f"it was NaN or infinite at step {past.now.get('step') or 0:.0f} and is recorded as null",
            cause="an overflow, or a division by nothing (no completion left to average over)",
            change="Look at this step's samples and rewards; lower the learning rate if the loss grew before",
        )


def _failed_rewards(past: _Past, limits: WarningLimits) -> Iterator[RunWarning]:
    failed = past.now.get("episodes/failed")
    if failed:
        of = past.now.get("episodes/generated")
        yield RunWarning(
            name="failed_rewards",
            says="some completions could not be judged",
            evidence=f"{failed:.0f}{f' of {of:.0f}' if of else ''} at step {past.now.get('step') or 0:.0f}; they are "
            "left out of the update, not counted as wrong",
            cause="a reward raised an error or ran out of time",
            change="The status column of the samples names the reward and the error; give it more time or mend it",
        )


_RULES: tuple[_Rule, ...] = (
    _not_finite,
    _no_signal,
    _held_out_falls,
    _truncated,
    _constant_parts,
    _entropy,
    _kl,
    _capped_ratio,
    _grad_spike,
    _sampler_gap,
    _failed_rewards,
)
