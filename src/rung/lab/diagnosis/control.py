"""What only control problems show: a critic that predicts nothing, natural-gradient steps that are refused."""

from __future__ import annotations

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.observed import ENOUGH_STEPS, ObservedRun, span

PREDICTS = 0.1
"""Explained variance below which a critic is as good as none."""


def blind_critic(run: ObservedRun) -> Finding | None:
    explained = run.mean("critic/explained_variance", run.late)
    if explained is None or explained >= PREDICTS or len(run.steps) < ENOUGH_STEPS or run.learned:
        return None
    return Finding(
        severity="doubtful",
        says="the critic predicts next to nothing of the returns",
        evidence=f"it explains {explained:.2f} of their variance over {span(run.late)}; 1 is all of it",
        cause="the critic learns too slowly, or what it sees does not tell the returns apart",
        change="Give the critic's loss more weight or the run more epochs, or use a method without a critic",
        **(
            run.changed_to("method.critic.coefficient", lambda now: 4 * now)
            or run.changed_to("method.optimizer.num_critic_epochs", lambda now: 2 * now)
        ),
    )


def refused_steps(run: ObservedRun) -> Finding | None:
    accepted = run.mean("trpo/accepted", run.late)
    if accepted is None or accepted >= 0.5 or run.learned:
        return None
    return Finding(
        severity="serious",
        says="most natural-gradient steps are refused, so that the policy stands still",
        evidence=f"{accepted:.0%} of the steps in {span(run.late)} were accepted",
        cause="the quadratic model of the KL is poor here, or the advantages are noise",
        change="Collect more samples a step, raise the damping, or lower max_kl",
        **run.changed_to("method.optimizer.damping", lambda now: 3 * now),
    )


def returns_stand_still(run: ObservedRun) -> Finding | None:
    trend = run.trend("reward/mean")
    if not run.in_environment or len(run.steps) < ENOUGH_STEPS or trend is None or run.learned or run.lost_most:
        return None
    if trend.rises:
        return None
    return Finding(
        severity="doubtful",
        says="the returns do not rise",
        evidence=f"mean return {trend.before:.4g} over the first third of the steps, {trend.after:.4g} over the last "
        f"(standard error {trend.standard_error:.2g})",
        cause="too few environment steps so far, rewards that are seldom met, or too small a learning rate",
        change="Run longer, collect from more environments at a time, or raise the learning rate",
        **run.changed_to("num_environments", lambda now: 2 * now),
    )
