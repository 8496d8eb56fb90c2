"""What only control problems show: a critic that predicts nothing, natural-gradient steps that are refused."""

from __future__ import annotations

from rung.lab.diagnosis.finding import Seen
from rung.lab.diagnosis.observed import ENOUGH_STEPS, ObservedRun, span

PREDICTS = 0.1
"""Explained variance below which a critic is as good as none."""


def blind_critic(run: ObservedRun) -> Seen | None:
    explained = run.mean("critic/explained_variance", run.late)
    if explained is None or explained >= PREDICTS or len(run.steps) < ENOUGH_STEPS or run.learned:
        return None
    return Seen(f"it explains {explained:.2f} of their variance over {span(run.late)}; 1 is all of it")


def refused_steps(run: ObservedRun) -> Seen | None:
    accepted = run.mean("trpo/accepted", run.late)
    if accepted is None or accepted >= 0.5 or run.learned:
        return None
    return Seen(f"{accepted:.0%} of the steps in {span(run.late)} were accepted")


def returns_stand_still(run: ObservedRun) -> Seen | None:
    trend = run.trend("reward/mean")
    if not run.in_environment or len(run.steps) < ENOUGH_STEPS or trend is None or run.learned or run.lost_most:
        return None
    if trend.rises:
        return None
    return Seen(
        f"mean return {trend.before:.4g} over the first third of the steps, {trend.after:.4g} over the last "
        f"(standard error {trend.standard_error:.2g})"
    )
