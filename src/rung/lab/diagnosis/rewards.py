"""Numbers that cannot be right, parts of the reward that teach nothing, rewards that rise while what counts falls."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rung.lab.diagnosis.observed import CLEAR, WINDOW, ObservedRun, Seen, Severity, Trend, span, trend_of
from rung.runs.metrics import METRICS

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
    from rung.batch import OK

    rows = (*run.first_samples, *run.last_samples)
    statuses = Counter(row["status"] for row in rows if row["status"] not in (None, OK))
    usual = statuses.most_common(1)[0][0] if statuses else ""
    of = f" of {drawn:.0f}" if drawn else ""
    return Seen(
        f"{failed:.0f}{of} ({share:.1%}) at {span(run.events)}" + (f"; mostly '{usual}'" if usual else ""),
        case="late" if "time" in usual else "",
        severity="serious" if share > MANY_FAILED else None,
    )


def constant_part(run: ObservedRun) -> Seen | None:
    names = [name for name in part_names(run) if len(run.steps) >= WINDOW and _is_constant(run, name)]
    if not names:
        return None
    values = ", ".join(f"'{name}' was {run.latest(f'reward/{name}'):.4g}" for name in names)
    evidence = f"{values} for every {run.words.completion} of {span(run.steps)}"
    return _of_parts(run, names, evidence, severity="serious" if names == part_names(run) else None)


def part_never_applies(run: ObservedRun) -> Seen | None:
    names = [
        name
        for name in part_names(run)
        if len(run.steps) >= WINDOW and all(row.get(f"reward/{name}") is None for row in run.steps)
    ]
    return _of_parts(run, names, f"no value in {span(run.steps)}") if names else None


def gamed_reward(run: ObservedRun) -> Seen | None:
    """A part of the reward rises while what counts falls: the held-out score, or the accuracy of the samples."""
    fell = _held_out_fell(run) or _accuracy_fell(run)
    if not fell:
        return None
    rose = {name: trend for name in part_names(run) if (trend := run.trend(f"reward/{name}")) and trend.rises}
    if not rose:
        return None
    name = max(rose, key=lambda key: (rose[key].after - rose[key].before) / (rose[key].standard_error or 1e-9))
    ends = f"from {rose[name].before:.3g} to {rose[name].after:.3g} (first and last third of the steps)"
    remedy = _weight(run, name, halve=True)
    return Seen(f"'{name}' went {ends}; {fell}", subject=name, words={"part": name}, remedy=remedy)


def held_out_falls(run: ObservedRun) -> Seen | None:
    """The reward has risen since the best evaluation, and the held-out score has fallen; no one part explains it."""
    fell = _held_out_fell(run)
    reward = _reward_since_best(run) if fell else None
    if reward is None or not reward.rises or gamed_reward(run) is not None:
        return None
    evidence = f"{fell}; reward {reward.before:.3g} then, {reward.after:.3g} now"
    return Seen(evidence, words={"best": run.scores[run.best].step})


def part_names(run: ObservedRun) -> list[str]:
    found = {name for row in run.steps[-WINDOW:] for name in row if name.startswith("reward/")}
    return sorted(name.removeprefix("reward/") for name in found - {"reward/mean"})


def _is_constant(run: ObservedRun, name: str) -> bool:
    """One mean at every step and no spread within any, up to rounding: the mean of many 0.2s is not exactly 0.2."""
    means, nearly = run.values(f"reward/{name}"), 1e-9
    if len(means) < len(run.steps) or any(spread > nearly for spread in run.values(f"reward_std/{name}")):
        return False
    return all(abs(mean - means[0]) <= nearly * max(1.0, abs(means[0])) for mean in means)


def _reward_since_best(run: ObservedRun) -> Trend | None:
    """The reward around the best evaluation (after it where none is before) against that around the last one."""
    best, last = (run.scores[i].step for i in (run.best, -1))
    rewards = {row["step"]: reward for row in run.steps if (reward := row.get("reward/mean")) is not None}
    before = [reward for step, reward in rewards.items() if best - WINDOW < (step or 0) <= best]
    if len(before) < 2:
        before = [reward for step, reward in rewards.items() if best < (step or 0) <= best + WINDOW]
    return trend_of(before, [reward for step, reward in rewards.items() if last - WINDOW < (step or 0) <= last])


def _held_out_fell(run: ObservedRun) -> str:
    """From its best, by more than chance explains; in words, empty where it did not."""
    fall = run.fall
    if fall is None:
        return ""
    best, last = run.scores[run.best], run.scores[-1]
    return (
        f"the held-out score fell from {best.value:.3f} at step {best.step} to {last.value:.3f} at step "
        f"{last.step} ({fall.value:+.3f}, {fall.low:+.3f} to {fall.high:+.3f})"
    )


def _accuracy_fell(run: ObservedRun) -> str:
    """Of the sampled completions; for rewards whose first part, which the held-out score is, is not the gamed one."""
    ends = accuracy_at_ends(run)
    if ends is None or ends.after - ends.before >= -CLEAR * ends.standard_error:
        return ""
    return f"{ends.before:.0%} of the first steps' samples were right, {ends.after:.0%} of the last ones"


def accuracy_at_ends(run: ObservedRun) -> Trend | None:
    """Accuracy of the first and the last steps' samples; None in a run so short that they are the same."""
    if {row["step"] for row in run.first_samples} & {row["step"] for row in run.last_samples}:
        return None
    sides = (run.first_samples, run.last_samples)
    return trend_of(*([row["accuracy"] for row in side if row["accuracy"] is not None] for side in sides))


def _of_parts(run: ObservedRun, names: list[str], evidence: str, severity: Severity | None = None) -> Seen:
    parts = f"part{'s' * (len(names) > 1)} " + " and ".join(f"'{name}'" for name in names)
    remedy = _weight(run, names[0])
    return Seen(evidence, severity=severity, subject=", ".join(names), words={"parts": parts}, remedy=remedy)


def _weight(run: ObservedRun, part: str, *, halve: bool = False) -> dict[str, Any]:
    """The rewards to set: with the part's weight halved, or without the part; a task's own parts have no setting."""
    chosen = run.settings.rewards if run.settings is not None else ()
    if not any(one.part == part for one in chosen):
        return {"setting": "rewards"}
    now = [one.as_data() for one in chosen]
    if halve:
        value = [{**one.as_data(), "weight": one.weight / 2 if one.part == part else one.weight} for one in chosen]
    else:
        value = [one.as_data() for one in chosen if one.part != part]
    return {"setting": "rewards", "value": value or None, "now": now}
