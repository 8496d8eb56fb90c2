"""Numbers that cannot be right: not finite, log-probs of one token that differ, completions nobody could judge."""

from __future__ import annotations

from collections import Counter

from rung.batch import OK
from rung.lab.diagnosis.observed import ObservedRun, Seen, span
from rung.runs.metrics.registry import METRICS

MANY_FAILED = 0.05
"""Share of the completions that could not be judged from which the scores are no longer to be believed."""
SMALL_GAP = 0.01
"""Sampler gap, nats a token, that rounding in float32 never reaches."""
GAP_GROWTH = 3.0
"""Multiple of its own start from which a gap has grown: rounding stays as it is, stale weights drift away."""


def not_finite(run: ObservedRun) -> Seen | None:
    rows = {row.get("step") or 0: [name for name in row if name.startswith("nonfinite/")] for row in run.events}
    steps = Counter(name.removeprefix("nonfinite/") for names in rows.values() for name in names)
    if not steps:
        return None
    first = min(step for step, names in rows.items() if names)
    told = ", ".join(f"'{name}'" + (f" at {count} steps" if count > 1 else "") for name, count in sorted(steps.items()))
    evidence = f"{told}; first at step {first:.0f}; each is recorded as null"
    return Seen(evidence, subject=", ".join(sorted(steps)))


def sampler_gap(run: ObservedRun) -> Seen | None:
    """Sampler and learner are two different policies: further apart than rounding, or drifting apart.

    The rows do not say in which number format the run computes. Its first steps do: sampler and learner then have the
    same weights, so that what they differ by is rounding.
    """
    metric = METRICS["sampler_gap/mean"]
    gap = run.latest(metric.name) if run.live else run.mean(metric.name, run.late)
    start = next(iter(run.values(metric.name, run.steps[:3])), None)
    if gap is None or start is None:
        return None
    exact = run.setting("learner.compute") == "float32"
    limit = SMALL_GAP if exact else metric.high or 0.0
    if gap <= limit and not (gap > SMALL_GAP and gap > GAP_GROWTH * start):
        return None
    grown = f", after {start:.2g} at first" if gap > GAP_GROWTH * start else ""
    return Seen(
        f"their log-probabilities differ by {gap:.2g} nats on average{grown}, so that importance weights are off by "
        f"about {gap:.0%}; rounding explains less than {limit:g}, and stays as it was",
        case="exact" if exact else "",
    )


def one_token_off(run: ObservedRun) -> Seen | None:
    """The mean gap is healthy, but single tokens have very different log-probs."""
    metric = METRICS["sampler_gap/max"]
    off = [row for row in run.late if metric.standing(row.get(metric.name)) == "high"]
    if not off or len(off) * 2 <= len(run.late) or sampler_gap(run) is not None:
        return None
    most = max(run.values(metric.name, run.late))
    return Seen(f"more than {metric.high:g} nats at {len(off)} of {len(run.late)} steps, {most:.3g} at most")


def capped_ratio(run: ObservedRun) -> Seen | None:
    rows = [row for row in run.events if row.get("ratio/capped")]
    if not rows:
        return None
    return Seen(
        f"it was held at e^80 for up to {max(run.values('ratio/capped', rows)):.2%} of the {run.words.tokens}, last at "
        f"step {rows[-1].get('step') or 0:.0f}"
    )


def failed_rewards(run: ObservedRun) -> Seen | None:
    failed, drawn = (sum(run.values(f"episodes/{name}", run.events)) for name in ("failed", "generated"))
    if not failed:
        return None
    share = failed / drawn if drawn else 1.0
    statuses = Counter(
        row["status"] for row in (*run.first_samples, *run.last_samples) if row["status"] not in (None, OK)
    )
    usual = statuses.most_common(1)[0][0] if statuses else ""
    of = f" of {drawn:.0f}" if drawn else ""
    return Seen(
        f"{failed:.0f}{of} ({share:.1%}) at {span(run.events)}" + (f"; mostly '{usual}'" if usual else ""),
        case="late" if "time" in usual else "",
        severity="serious" if share > MANY_FAILED else None,
    )
