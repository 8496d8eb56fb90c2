"""Whether the run itself is whole, and long enough to say anything."""

from __future__ import annotations

from rung.lab.diagnosis.observed import FEW_STEPS, ObservedRun, Seen


def still_running(run: ObservedRun) -> Seen | None:
    return None if run.finished or not run.running else Seen(f"{_reached(run)}; a process holds its folder")


def unfinished(run: ObservedRun) -> Seen | None:
    if run.finished or run.running:
        return None
    return Seen(f"{_reached(run)}, and there is no final model", words={"run": run.name})


def too_short(run: ObservedRun) -> Seen | None:
    if len(run.steps) >= FEW_STEPS or run.running:
        return None
    evidence = f"{len(run.steps)} steps of training; the trend of fewer than {FEW_STEPS} is mostly luck"
    return Seen(evidence, remedy=run.changed_to("steps", lambda now: max(50, now)))


def not_distinguishable(run: ObservedRun) -> Seen | None:
    gain = run.gain
    if gain is None or not gain.items or gain.low > 0 or gain.high < 0 or len(run.steps) < FEW_STEPS:
        return None
    return Seen(
        f"{run.scores[0].value:.3f} before, {run.scores[-1].value:.3f} at step {run.scores[-1].step}; paired "
        f"difference {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) on {gain.items} items"
    )


def never_evaluated(run: ObservedRun) -> Seen | None:
    return None if run.evaluations or not run.steps else Seen(f"no evaluation in {len(run.steps)} steps")


def damaged(run: ObservedRun) -> Seen | None:
    """Files that are missing or cannot be read, and steps that were never written."""
    steps = {int(row.get("step") or 0) for row in run.rows}
    missing = sorted(set(range(1, max(steps, default=0) + 1)) - steps)
    told = [*run.problems, *([f"no row for {len(missing)} steps, the first is {missing[0]}"] if missing else [])]
    return Seen("; ".join(told)) if told else None


def _reached(run: ObservedRun) -> str:
    wanted = run.setting("steps")
    last = max((int(row.get("step") or 0) for row in run.rows), default=0)
    return f"step {last}" + (f" of {wanted}" if wanted is not None else "")
