"""A policy that stops trying, or runs away, while the score does not rise; a critic that predicts nothing."""

from __future__ import annotations

from rung.lab.diagnosis.learning_rate import learning_rate_high
from rung.lab.diagnosis.observed import ENOUGH_STEPS, ObservedRun, Seen, span, trend_of
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


def entropy_collapse(run: ObservedRun) -> Seen | None:
    """Entropy is near zero for three steps in a row, and the held-out score has not risen."""
    recent = run.values("entropy", run.steps[-3:])
    first = next((row for row in run.steps if row.get("entropy") is not None), None)
    if len(recent) < 3 or first is None or max(recent) >= COLLAPSED * (first["entropy"] or 0.0) or run.learned:
        return None
    now, before = f"{recent[-1]:.3g} nats a {run.words.token}", f"{first['entropy']:.3g}"
    return Seen(f"entropy is {now}, at step {first['step']:.0f} it was {before}")


def kl_runs_off(run: ObservedRun) -> Seen | None:
    """The policy has left the model it started with and is no better for it."""
    evidence = _far(run)
    if not evidence or run.learned or learning_rate_high(run) is not None:
        return None
    return Seen(evidence, case="has a KL term" if run.setting("method.reference_kl.coefficient") else "")


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


def score_collapse(run: ObservedRun) -> Seen | None:
    if not run.lost_most or gamed_reward(run) is not None or held_out_falls(run) is not None:
        return None
    first, best, last = (run.scores[i] for i in (0, run.best, -1))
    said = ", ".join(f"{score.value:.3f} at step {score.step}" for score in (first, best, last))
    return Seen(f"held-out score {said}", words={"best": best.step})


def score_falls(run: ObservedRun) -> Seen | None:
    """The held-out score is below where it began, and neither the reward nor a leap of the KL explains it."""
    gain = run.gain
    if gain is None or gain.high >= 0 or gamed_reward(run) or held_out_falls(run) or learning_rate_high(run):
        return None
    return Seen(
        f"{run.scores[0].value:.3f} before, {run.scores[-1].value:.3f} at step {run.scores[-1].step} "
        f"(difference {gain.value:+.3f}, {gain.low:+.3f} to {gain.high:+.3f})"
    )


def learnt_by_heart(run: ObservedRun) -> Seen | None:
    train, gain = accuracy_at_ends(run), run.gain
    if train is None or gain is None or gain.low > 0 or not train.rises:
        return None
    ahead = train.after - run.scores[-1].value
    if ahead < FAR_AHEAD or gain.high > (train.after - train.before) / 2:
        return None
    return Seen(
        f"{train.before:.0%} of the first steps' samples were right, {train.after:.0%} of the last ones; held-out "
        f"score {run.scores[0].value:.3f} before, {run.scores[-1].value:.3f} at step {run.scores[-1].step}"
    )


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
