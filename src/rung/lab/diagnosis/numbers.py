"""Numbers that cannot be right: not finite, log-probs of one token that differ, completions nobody could judge."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rung.batch import OK
from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.learning_rate import lower_rate
from rung.lab.diagnosis.observed import ObservedRun, span
from rung.runs.metrics.registry import METRICS

MANY_FAILED = 0.05
"""Share of the completions that could not be judged from which the scores are no longer to be believed."""
SMALL_GAP = 0.01
"""Sampler gap, nats a token, that rounding in float32 never reaches."""
GAP_GROWTH = 3.0
"""Multiple of its own start from which a gap has grown: rounding stays as it is, stale weights drift away."""


def not_finite(run: ObservedRun) -> Finding | None:
    rows = {row.get("step") or 0: [name for name in row if name.startswith("nonfinite/")] for row in run.events}
    steps = Counter(name.removeprefix("nonfinite/") for names in rows.values() for name in names)
    if not steps:
        return None
    first = min(step for step, names in rows.items() if names)
    told = ", ".join(f"'{name}'" + (f" at {count} steps" if count > 1 else "") for name, count in sorted(steps.items()))
    return Finding(
        subject=", ".join(sorted(steps)),
        severity="serious",
        says="numbers of this run are not finite",
        evidence=f"{told}; first at step {first:.0f}; each is recorded as null",
        cause="an overflow, or a mean over nothing because no completion was left"
        if not run.in_environment
        else "an overflow, or a mean over nothing because no episode was left",
        change="Look at the samples and rewards of that step; lower the learning rate if the loss grew before",
        **lower_rate(run, 10),
    )


def sampler_gap(run: ObservedRun) -> Finding | None:
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
    return Finding(
        severity="serious",
        says=f"sampler and learner disagree about the same {run.words.tokens}",
        evidence=f"their log-probabilities differ by {gap:.2g} nats on average{grown}, so that importance weights are "
        f"off by about {gap:.0%}; rounding explains less than {limit:g}, and stays as it was",
        cause="other weights or another temperature in the sampler" + ("" if exact else ", or a coarse number format"),
        change="Compare the weights and the temperature of sampler and learner"
        if exact
        else "Compute in float32 once: if the gap stays, the weights or the temperature differ",
        **({} if exact else _float32(run)),
    )


def one_token_off(run: ObservedRun) -> Finding | None:
    """The mean gap is healthy, but single tokens have very different log-probs."""
    metric = METRICS["sampler_gap/max"]
    off = [row for row in run.late if metric.standing(row.get(metric.name)) == "high"]
    if not off or len(off) * 2 <= len(run.late) or sampler_gap(run) is not None:
        return None
    return Finding(
        severity="doubtful",
        says=f"single {run.words.tokens} have another log-probability for the sampler than for the learner",
        evidence=f"more than {metric.high:g} nats at {len(off)} of {len(run.late)} steps, "
        f"{max(run.values(metric.name, run.late)):.3g} at most",
        cause=f"a number format that is too coarse for rare {run.words.tokens}",
        change="Compute in float32 to see whether the difference stays",
        **_float32(run),
    )


def capped_ratio(run: ObservedRun) -> Finding | None:
    rows = [row for row in run.events if row.get("ratio/capped")]
    if not rows:
        return None
    return Finding(
        severity="note" if run.learned else "doubtful",
        says=f"for some {run.words.tokens} the ratio to the old policy was too large to compute with",
        evidence=f"it was held at e^80 for up to {max(run.values('ratio/capped', rows)):.2%} of the "
        f"{run.words.tokens}, last at step {rows[-1].get('step') or 0:.0f}",
        cause="a policy that has run away from its own samples within one step",
        change="Lower the learning rate or the number of updates a rollout, or use an objective that clips",
        **lower_rate(run, 3),
    )


def failed_rewards(run: ObservedRun) -> Finding | None:
    failed, drawn = (sum(run.values(f"episodes/{name}", run.events)) for name in ("failed", "generated"))
    if not failed:
        return None
    share = failed / drawn if drawn else 1.0
    statuses = Counter(
        row["status"] for row in (*run.first_samples, *run.last_samples) if row["status"] not in (None, OK)
    )
    usual = statuses.most_common(1)[0][0] if statuses else ""
    late = "time" in usual
    of = f" of {drawn:.0f}" if drawn else ""
    return Finding(
        severity="serious" if share > MANY_FAILED else "doubtful",
        says=f"some {run.words.completions} could not be judged; they are left out, not counted as wrong",
        evidence=f"{failed:.0f}{of} ({share:.1%}) at {span(run.events)}" + (f"; mostly '{usual}'" if usual else ""),
        cause="a reward runs out of time"
        if late
        else "a reward raises an error, runs out of time or returns no number",
        change="Give the reward more time, or make it faster"
        if late
        else "The status column of the samples names the reward and the error: mend that reward",
        **(run.changed_to("rewarding.deadline_s", lambda now: 3 * now) if late else {"setting": "rewards"}),
    )


def _float32(run: ObservedRun) -> dict[str, Any]:
    return {"setting": "learner.compute", "value": "float32", "now": run.setting("learner.compute")}
