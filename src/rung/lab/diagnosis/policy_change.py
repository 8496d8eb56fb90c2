"""A policy that stops trying, or that runs away, while the score does not rise."""

from __future__ import annotations

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.learning_rate import learning_rate_high, lower_rate
from rung.lab.diagnosis.reward_parts import accuracy_at_ends, gamed_reward
from rung.lab.diagnosis.stored import StoredRun

FAR_AHEAD = 0.1
"""How far the accuracy on training prompts must be ahead of the held-out score."""


def entropy_collapse(run: StoredRun) -> Finding | None:
    """The entropy is gone and the held-out score has not risen for it."""
    held = run.warned("entropy")
    if held is None or run.learned:
        return None
    return Finding(
        name="entropy_collapse",
        severity="serious",
        says=held.last.says,
        evidence=f"{held.last.evidence}; so at {len(held.steps)} of {len(run.steps)} steps, from step {held.steps[0]}",
        cause="the updates are too strong for too long, so that one answer wins before it is known to be right",
        change=held.last.change,
        **lower_rate(run, 3),
    )


def kl_runs_off(run: StoredRun) -> Finding | None:
    """The policy has left the model it started with and is no better for it."""
    held = run.warned("kl")
    if held is None or run.learned or learning_rate_high(run) is not None:
        return None
    has_kl = run.setting("method.reference_kl.coefficient")
    return Finding(
        name="kl_runs_off",
        severity="serious",
        says=held.last.says,
        evidence=f"{held.last.evidence}; so at {len(held.steps)} of {len(run.steps)} steps, from step {held.steps[0]}",
        cause=held.last.cause,
        change=held.last.change,
        **(run.changed_to("method.reference_kl.coefficient", lambda now: 3 * now) if has_kl else lower_rate(run, 3)),
    )


def score_collapse(run: StoredRun) -> Finding | None:
    """The held-out score had risen and has lost most of it again."""
    if not run.lost_most or gamed_reward(run) is not None:
        return None
    best, last = run.evaluations[run.best], run.evaluations[-1]
    return Finding(
        name="score_collapse",
        severity="serious",
        says="the run had learnt and has lost most of it again",
        evidence=f"held-out {run.scores[0]:.3f} at step {run.evaluations[0].step}, {run.scores[run.best]:.3f} at step "
        f"{best.step}, {run.scores[-1]:.3f} at step {last.step}",
        cause="the updates are too strong for what is left to learn",
        change=f"Go back to the checkpoint nearest step {best.step}; lower the learning rate, or let it fall to 0 "
        "towards the end",
        **lower_rate(run, 3),
    )


def score_falls(run: StoredRun) -> Finding | None:
    """The held-out score is below where it began, and neither a part of the reward nor a leap of the KL explains it."""
    fall = run.gain
    if fall is None or fall.high >= 0 or gamed_reward(run) or learning_rate_high(run):
        return None
    reward = run.trend("reward/mean")
    rises = reward is not None and reward.rises
    return Finding(
        name="score_falls",
        severity="serious",
        says="the held-out score has fallen below where it began",
        evidence=f"{run.scores[0]:.3f} before, {run.scores[-1]:.3f} at step {run.evaluations[-1].step} (paired "
        f"{fall.value:+.3f}, {fall.low:+.3f} to {fall.high:+.3f})"
        + (f"; the reward rose from {reward.before:.3g} to {reward.after:.3g}" if reward and rises else ""),
        cause="the training prompts are learnt by heart, or the reward is not what is evaluated"
        if rises
        else "the updates do harm: too high a learning rate, or too few samples for it",
        change="Train on more prompts, or stop earlier" if rises else "Lower the learning rate, or take more prompts",
        **(run.changed_to("prompts_per_step", lambda now: 2 * now) if rises else lower_rate(run, 3)),
    )


def learnt_by_heart(run: StoredRun) -> Finding | None:
    """The training prompts are answered far better than before, the held-out ones are not."""
    train, gain = accuracy_at_ends(run), run.gain
    if train is None or gain is None or gain.low > 0 or not train.rises:
        return None
    ahead = train.after - run.scores[-1]
    if ahead < FAR_AHEAD or gain.high > (train.after - train.before) / 2:
        return None
    return Finding(
        name="learnt_by_heart",
        severity="serious",
        says="the training prompts are learnt, the held-out ones are not",
        evidence=f"{train.before:.0%} of the first steps' samples were right, {train.after:.0%} of the last ones; "
        f"held-out {run.scores[0]:.3f} before, {run.scores[-1]:.3f} at step {run.evaluations[-1].step}",
        cause="there are too few different prompts, and the policy learns their answers by heart",
        change="Train on more prompts, or stop earlier",
        setting="task.name",
        now=run.setting("task.name"),
    )
