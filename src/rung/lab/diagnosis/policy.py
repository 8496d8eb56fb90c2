"""A policy that stops trying, or that runs away, while the score does not rise."""

from __future__ import annotations

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.learning_rate import learning_rate_high, lower_rate
from rung.lab.diagnosis.observed import ObservedRun, trend_of
from rung.lab.diagnosis.reward_parts import accuracy_at_ends, gamed_reward, held_out_falls
from rung.runs.metrics.registry import METRICS

COLLAPSED = 0.1
"""Entropy as a share of its first value."""
KL_GROWTH = 3.0
"""KL as a multiple of its value ten steps before, while the reward did not rise."""
SMALL_KL = 0.2
"""KL to the start, nats a token, below which its growth is no trouble."""
FAR_AHEAD = 0.1
"""How far the accuracy on training prompts must be ahead of the held-out score."""


def entropy_collapse(run: ObservedRun) -> Finding | None:
    """Entropy is near zero for three steps in a row, and the held-out score has not risen."""
    recent = run.values("entropy", run.steps[-3:])
    first = next((row for row in run.steps if row.get("entropy") is not None), None)
    if len(recent) < 3 or first is None or max(recent) >= COLLAPSED * (first["entropy"] or 0.0) or run.learned:
        return None
    return Finding(
        severity="serious",
        says="the policy has stopped trying different things",
        evidence=f"entropy is {recent[-1]:.3g} nats a {run.words.token}, at step {first['step']:.0f} it was "
        f"{first['entropy']:.3g}",
        cause="the updates are too strong for too long, so that one answer wins before it is known to be right",
        change="Lower the learning rate, or add an entropy bonus"
        if run.in_environment
        else "Lower the learning rate, raise the temperature, or use an objective that clips higher (dapo)",
        **lower_rate(run, 3),
    )


def kl_runs_off(run: ObservedRun) -> Finding | None:
    """The policy has left the model it started with and is no better for it."""
    evidence = _far(run)
    if not evidence or run.learned or learning_rate_high(run) is not None:
        return None
    has_kl = run.setting("method.reference_kl.coefficient")
    return Finding(
        severity="serious",
        says=f"the policy is running away from the {'one' if run.in_environment else 'model'} it started with",
        evidence=evidence,
        cause="the learning rate is too high"
        + ("" if run.in_environment else ", or the reward can be met by text that is no longer language"),
        change="Lower the learning rate, or add a KL term"
        if run.in_environment
        else "Lower the learning rate, add a KL term, and read the samples",
        **(run.changed_to("method.reference_kl.coefficient", lambda now: 3 * now) if has_kl else lower_rate(run, 3)),
    )


def _far(run: ObservedRun) -> str:
    """How far the last step's policy is from the start, in words; empty where it is near enough."""
    recent, limit = run.steps[-11:], METRICS["kl/start"].high or 0.0
    kl, rewards = run.values("kl/start", recent), run.values("reward/mean", recent)
    if not kl or recent[-1].get("kl/start") is None:
        return ""
    if kl[-1] > limit:
        return f"KL to the start is {kl[-1]:.3g} nats a {run.words.token}; useful runs mostly stay below {limit:g}"
    if len(kl) < 11 or len(rewards) < 11 or kl[-1] <= max(SMALL_KL, KL_GROWTH * kl[0]):
        return ""
    reward = trend_of(rewards[:5], rewards[-5:])
    if reward is None or reward.after > reward.before:
        return ""
    return f"KL to the start went from {kl[0]:.3g} to {kl[-1]:.3g} in ten steps and the reward did not rise"


def score_collapse(run: ObservedRun) -> Finding | None:
    if not run.lost_most or gamed_reward(run) is not None or held_out_falls(run) is not None:
        return None
    first, best, last = (run.scores[i] for i in (0, run.best, -1))
    return Finding(
        severity="serious",
        says="the run had learnt and has lost most of it again",
        evidence=f"held-out score {first.value:.3f} at step {first.step}, {best.value:.3f} at step {best.step}, "
        f"{last.value:.3f} at step {last.step}",
        cause="the updates are too strong for what is left to learn",
        change=f"Go back to the checkpoint nearest step {best.step}; lower the learning rate, or let it fall to 0 "
        "towards the end",
        **lower_rate(run, 3),
    )


def score_falls(run: ObservedRun) -> Finding | None:
    """The held-out score is below where it began, and neither the reward nor a leap of the KL explains it."""
    gain = run.gain
    if gain is None or gain.high >= 0 or gamed_reward(run) or held_out_falls(run) or learning_rate_high(run):
        return None
    return Finding(
        severity="serious",
        says="the held-out score has fallen below where it began",
        evidence=f"{run.scores[0].value:.3f} before, {run.scores[-1].value:.3f} at step {run.scores[-1].step} "
        f"(difference {gain.value:+.3f}, {gain.low:+.3f} to {gain.high:+.3f})",
        cause="the updates do harm: too high a learning rate, or too few samples for it",
        change="Lower the learning rate, or draw more samples a step",
        **lower_rate(run, 3),
    )


def learnt_by_heart(run: ObservedRun) -> Finding | None:
    train, gain = accuracy_at_ends(run), run.gain
    if train is None or gain is None or gain.low > 0 or not train.rises:
        return None
    ahead = train.after - run.scores[-1].value
    if ahead < FAR_AHEAD or gain.high > (train.after - train.before) / 2:
        return None
    return Finding(
        severity="serious",
        says="the training prompts are learnt, the held-out ones are not",
        evidence=f"{train.before:.0%} of the first steps' samples were right, {train.after:.0%} of the last ones; "
        f"held-out score {run.scores[0].value:.3f} before, {run.scores[-1].value:.3f} at step {run.scores[-1].step}",
        cause="there are too few different prompts, and the policy learns their answers by heart",
        change="Train on more prompts, or stop earlier",
        setting="task.name",
        now=run.setting("task.name"),
    )
