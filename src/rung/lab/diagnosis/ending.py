"""Whether the run itself is whole, and long enough to say anything."""

from __future__ import annotations

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.observed import FEW_STEPS, ObservedRun


def still_running(run: ObservedRun) -> Finding | None:
    if run.finished or not run.running:
        return None
    return Finding(
        severity="note",
        says="the run is still going on",
        evidence=f"{_reached(run)}; a process holds its folder",
        cause="it is being trained now",
        change="Look again later",
    )


def unfinished(run: ObservedRun) -> Finding | None:
    if run.finished or run.running:
        return None
    return Finding(
        severity="doubtful",
        says="the run stopped before its last step",
        evidence=f"{_reached(run)}, and there is no final model",
        cause="it was stopped or killed, or it ended with an error on the console",
        change=f"Go on with: rung resume {run.name}; steps after the newest checkpoint are made again, the same",
    )


def too_short(run: ObservedRun) -> Finding | None:
    if len(run.steps) >= FEW_STEPS or run.running:
        return None
    return Finding(
        severity="note",
        says="the run is too short to say whether it learns",
        evidence=f"{len(run.steps)} steps of training; the trend of fewer than {FEW_STEPS} is mostly luck",
        cause="a trial, or an early end",
        change="Train for some tens of steps and ask again",
        **run.changed_to("steps", lambda now: max(50, now)),
    )


def not_distinguishable(run: ObservedRun) -> Finding | None:
    gain = run.gain
    if gain is None or not gain.items or gain.low > 0 or gain.high < 0 or len(run.steps) < FEW_STEPS:
        return None
    return Finding(
        severity="note",
        says="the held-out score before and after cannot be told apart",
        evidence=f"{run.scores[0].value:.3f} before, {run.scores[-1].value:.3f} at step {run.scores[-1].step}; paired "
        f"difference {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) on {gain.items} items",
        cause="nothing was learnt yet, or there are too few items to see it",
        change="Train longer; four times as many held-out items halve the interval",
        **run.changed_to("evaluation.num_items", lambda now: 4 * now),
    )


def never_evaluated(run: ObservedRun) -> Finding | None:
    if run.evaluations or not run.steps:
        return None
    return Finding(
        severity="doubtful",
        says="there is no held-out score, so that whether the run learns cannot be known",
        evidence=f"no evaluation in {len(run.steps)} steps",
        cause="the files of held_out/ are missing or damaged",
        change="Measure the final model with `rung eval`",
    )


def damaged(run: ObservedRun) -> Finding | None:
    """Files that are missing or cannot be read, and steps that were never written."""
    steps = {int(row.get("step") or 0) for row in run.rows}
    missing = sorted(set(range(1, max(steps, default=0) + 1)) - steps)
    told = [*run.problems, *([f"no row for {len(missing)} steps, the first is {missing[0]}"] if missing else [])]
    if not told:
        return None
    return Finding(
        severity="doubtful",
        says="parts of the run's folder are missing or damaged",
        evidence="; ".join(told),
        cause="a disk that was full, a kill in mid-write, or another hand",
        change="`rung resume` cuts half-written ends off and makes those steps again",
    )


def _reached(run: ObservedRun) -> str:
    wanted = run.setting("steps")
    last = max((int(row.get("step") or 0) for row in run.rows), default=0)
    return f"step {last}" + (f" of {wanted}" if wanted is not None else "")
