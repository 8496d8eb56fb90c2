"""Whether the run itself is whole, and long enough to say anything."""

from __future__ import annotations

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.stored import FEW_STEPS, StoredRun


def unfinished(run: StoredRun) -> Finding | None:
    """The run has not come to its end."""
    if run.finished:
        return None
    last, wanted = _last(run), run.setting("steps")
    of = f" of {wanted}" if wanted is not None else ""
    if run.running:
        return Finding(
            name="still_running",
            severity="note",
            says="the run is still going on",
            evidence=f"step {last}{of}; a process holds its folder",
            cause="it is being trained now",
            change="Look again later",
        )
    return Finding(
        name="unfinished",
        severity="doubtful",
        says="the run ended before its end",
        evidence=f"step {last}{of}, and there is no final model",
        cause="it was stopped or killed, or it ended with an error on the console",
        change=f"Go on with: rung resume {run.name}; steps after the newest checkpoint are made again, the same",
    )


def too_short(run: StoredRun) -> Finding | None:
    """Too few steps to tell learning from luck."""
    if len(run.steps) >= FEW_STEPS or run.running:
        return None
    return Finding(
        name="too_short",
        severity="note",
        says="the run is too short to say whether it learns",
        evidence=f"{len(run.steps)} steps of training; the trend of fewer than {FEW_STEPS} is mostly luck",
        cause="a trial, or an early end",
        change="Train for some tens of steps and ask again",
        **run.changed_to("steps", lambda now: max(50, now)),
    )


def not_distinguishable(run: StoredRun) -> Finding | None:
    """The held-out score neither rose nor fell by more than its interval."""
    gain = run.gain
    if gain is None or gain.low > 0 or gain.high < 0 or len(run.steps) < FEW_STEPS:
        return None
    return Finding(
        name="not_distinguishable",
        severity="note",
        says="the held-out score before and after cannot be told apart",
        evidence=f"{run.scores[0]:.3f} before, {run.scores[-1]:.3f} at step {run.evaluations[-1].step}; paired "
        f"difference {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) on {gain.items} items",
        cause="nothing was learnt yet, or there are too few items to see it",
        change="Train longer; four times as many held-out items halve the interval",
        **run.changed_to("evaluation.num_items", lambda now: 4 * now),
    )


def never_evaluated(run: StoredRun) -> Finding | None:
    """There is no held-out score to believe."""
    if run.evaluations or not run.steps:
        return None
    return Finding(
        name="never_evaluated",
        severity="doubtful",
        says="there is no held-out score, so that whether the run learns cannot be known",
        evidence=f"no evaluation in {len(run.steps)} steps",
        cause="the files of held_out/ are missing or damaged",
        change="Measure the final model with `rung eval`",
    )


def damaged(run: StoredRun) -> Finding | None:
    """Files that are missing or cannot be read, and steps that were never written."""
    steps = {int(row.get("step") or 0) for row in run.rows}
    missing = sorted(set(range(1, max(steps, default=0) + 1)) - steps)
    told = [*run.problems, *([f"no row for {len(missing)} steps, the first is {missing[0]}"] if missing else [])]
    if not told:
        return None
    return Finding(
        name="damaged",
        severity="doubtful",
        says="parts of the run's folder are missing or damaged",
        evidence="; ".join(told),
        cause="a disk that was full, a kill in mid-write, or another hand",
        change="`rung resume` cuts half-written ends off and makes those steps again",
    )


def _last(run: StoredRun) -> int:
    return max((int(row.get("step") or 0) for row in run.rows), default=0)
