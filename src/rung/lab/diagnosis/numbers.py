"""Numbers that cannot be right: not finite, two log-probs of one token that differ, completions nobody could judge."""

from __future__ import annotations

from collections import Counter

from rung.batch import OK
from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.learning_rate import lower_rate
from rung.lab.diagnosis.stored import StoredRun
from rung.lab.diagnosis.warnings import WarningLimits
from rung.runs.metrics.registry import METRICS

MANY_FAILED = 0.05
"""Share of the completions that could not be judged from which the scores are no longer to be believed."""


def not_finite(run: StoredRun) -> Finding | None:
    """A metric was NaN or infinite."""
    found = {metric: one for (name, metric), one in run.standing.items() if name == "not_finite"}
    if not found:
        return None
    first = min(found, key=lambda metric: found[metric].steps[0])
    told = ", ".join(f"'{metric}' at {len(one.steps)} steps" for metric, one in sorted(found.items()))
    return Finding(
        name="not_finite",
        severity="serious",
        says="numbers of this run are not finite",
        evidence=f"{told}; first at step {found[first].steps[0]}",
        cause=found[first].last.cause,
        change=found[first].last.change,
        **lower_rate(run, 10),
    )


def sampler_gap(run: StoredRun) -> Finding | None:
    """Sampler and learner are two different policies."""
    gap, limit = run.mean("sampler_gap/mean"), WarningLimits().sampler_gap
    held = run.standing.get(("sampler_gap", ""))
    if gap is None or gap <= limit or held is None:
        return None
    largest = max(run.values("sampler_gap/max"), default=0.0)
    return Finding(
        name="sampler_gap",
        severity="serious",
        says=held.last.says,
        evidence=f"log-probabilities of the same tokens differ by {gap:.3g} nats on average over the run and by "
        f"{largest:.3g} at most; {limit:g} is the limit, passed at {len(held.steps)} of {len(run.steps)} steps",
        cause=held.last.cause,
        change=held.last.change,
        setting="learner.compute",
        value="float32",
        now=run.setting("learner.compute"),
    )


def failed_rewards(run: StoredRun) -> Finding | None:
    """Completions that could not be judged."""
    failed, drawn = sum(run.values("episodes/failed")), sum(run.values("episodes/generated"))
    if not failed:
        return None
    share = failed / drawn if drawn else 1.0
    statuses = Counter(
        row["status"] for row in (*run.first_samples, *run.last_samples) if row["status"] not in (None, OK)
    )
    usual = statuses.most_common(1)[0][0] if statuses else ""
    late = "time" in usual
    return Finding(
        name="failed_rewards",
        severity="serious" if share > MANY_FAILED else "doubtful",
        says="some completions could not be judged; they are left out, not counted as wrong",
        evidence=f"{failed:.0f} of {drawn:.0f} completions ({share:.1%})" + (f"; mostly '{usual}'" if usual else ""),
        cause="a reward runs out of time" if late else "a reward raises an error, or returns what is no number",
        change="Give the reward more time, or make it faster" if late else "Mend the reward that the status names",
        **(run.changed_to("rewarding.deadline_s", lambda now: 3 * now) if late else {"setting": "rewards"}),
    )


def one_token_off(run: StoredRun) -> Finding | None:
    """The mean gap is in order, but single tokens have quite other log-probs."""
    metric = METRICS["sampler_gap/max"]
    off = [row for row in run.steps if metric.standing(row.get("sampler_gap/max")) == "high"]
    if len(off) * 2 <= len(run.steps) or not off or sampler_gap(run) is not None:
        return None
    largest = max(run.values("sampler_gap/max"))
    return Finding(
        name="one_token_off",
        severity="doubtful",
        says="single tokens have another log-probability for the sampler than for the learner",
        evidence=f"more than {metric.high:g} nats at {len(off)} of {len(run.steps)} steps, {largest:.3g} at most",
        cause="a number format that is too coarse for rare tokens",
        change=metric.what_to_do.rstrip("."),
        setting="learner.compute",
        value="float32",
        now=run.setting("learner.compute"),
    )
