"""Updates that are too small to move the policy, or too large for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.stored import ENOUGH_STEPS, StoredRun, span
from rung.lab.diagnosis.warnings import WarningLimits
from rung.runs.metrics.registry import METRICS

HARDLY = 1e-4
"""KL to the start, nats a token, below which the policy has hardly moved."""
NOT_AT_ALL = 1e-6
STEADY = 0.01
"""Share by which the entropy of a policy that stands still may differ from step to step."""
FIRST_STEPS = 3
ALWAYS = 0.95
"""Share of the steps that counts as always."""
FAR_BEYOND = 10.0
"""Gradient norm in units of its bound from which the bound is what sets the step."""
RATE = "method.optimizer.learning_rate"
USUAL: Mapping[str, float] = {"tiny": 2e-4, "small": 3e-4}
"""A rate that is known to move these models; for others, the methods' own."""
BILLIONS = 1e-6


def learning_rate_low(run: StoredRun) -> Finding | None:
    """The policy has not moved although there was something to learn."""
    far, told = _moved(run)
    if len(run.steps) < ENOUGH_STEPS or far is None or far >= HARDLY or run.learned or not _had_signal(run):
        return None
    return Finding(
        name="learning_rate_low",
        severity="serious" if far < NOT_AT_ALL else "doubtful",
        says="the policy has hardly moved",
        evidence=f"{told} after {len(run.steps)} steps, though the rewards differed; reward "
        f"{_ends(run, 'reward/mean')}",
        cause="the learning rate is too low for this model",
        change="Raise the learning rate until kl/start moves, to a few hundredths of a nat in some tens of steps",
        **run.changed_to(RATE, lambda now: max(10 * now, USUAL.get(str(run.setting("model")), BILLIONS))),
    )


def learning_rate_high(run: StoredRun) -> Finding | None:
    """The policy leapt away from the start, at once or with the score going to pieces."""
    limit = WarningLimits().kl
    leap = next((row for row in run.steps[:FIRST_STEPS] if (row.get("kl/start") or 0.0) > limit), None)
    farthest = max(run.values("kl/start"), default=0.0)
    worse = _worse(run)
    if leap is None and not (farthest > limit and worse):
        return None
    if run.learned:
        return None
    kl = (
        f"KL to the start was {leap['kl/start']:.3g} nats a token at step {leap['step']:.0f} already"
        if leap is not None
        else f"KL to the start reached {farthest:.3g} nats a token"
    )
    return Finding(
        name="learning_rate_high",
        severity="serious",
        says="the updates tear the policy away from what it could do",
        evidence=f"{kl} (useful runs mostly stay below {limit:g}){f'; {worse}' if worse else ''}",
        cause="the learning rate is too high",
        change="Lower the learning rate by ten or more, with some steps of warm-up, and begin again",
        **lower_rate(run, 10),
    )


def gradient_always_clipped(run: StoredRun) -> Finding | None:
    """The gradient's bound, not the gradient, sets the length of every step."""
    bound, norms = run.setting("method.optimizer.max_grad_norm"), run.values("grad/norm")
    if not bound or len(norms) < ENOUGH_STEPS or run.learned:
        return None
    beyond = sum(norm > FAR_BEYOND * bound for norm in norms)
    if beyond < ALWAYS * len(norms):
        return None
    return Finding(
        name="gradient_always_clipped",
        severity="doubtful",
        says="the gradient is cut to a small part of itself at every step",
        evidence=f"its norm was more than {FAR_BEYOND:g} times max_grad_norm {bound:g} at {beyond} of {len(norms)} "
        f"steps (median {sorted(norms)[len(norms) // 2]:.3g})",
        cause="rewards or losses on a large scale; every step then has the same length, however sure it is",
        change="Scale the rewards to about 1, or raise the bound and lower the learning rate",
        **run.changed_to("method.optimizer.max_grad_norm", lambda now: 10 * now),
    )


def clipped_often(run: StoredRun) -> Finding | None:
    """The trust region holds back many tokens: the updates are larger than the method is made for."""
    share = run.mean("clip/share", run.late)
    if share is None or METRICS["clip/share"].standing(share) != "high" or run.learned:
        return None
    epochs = run.setting("method.num_epochs")
    more = isinstance(epochs, int) and epochs > 1
    return Finding(
        name="clipped_often",
        severity="doubtful",
        says="many tokens are held back because the policy has already moved far on them",
        evidence=f"{share:.0%} of the tokens in {span(run.late)}; {METRICS['clip/share'].healthy} is healthy",
        cause="too many updates from each batch, or too high a learning rate",
        change="Make fewer updates from each batch, or lower the learning rate",
        **(run.changed_to("method.num_epochs", lambda now: max(1, now // 2)) if more else lower_rate(run, 3)),
    )


def gradient_spikes(run: StoredRun) -> Finding | None:
    """The gradient's norm has jumped again and again."""
    spikes = run.standing.get(("grad_spike", ""))
    if spikes is None or len(spikes.steps) < 3 or len(spikes.steps) * 20 < len(run.steps) or run.learned:
        return None
    return Finding(
        name="gradient_spikes",
        severity="doubtful",
        says="the gradient jumps again and again",
        evidence=f"{len(spikes.steps)} of {len(run.steps)} steps, last at step {spikes.steps[-1]}: "
        f"{spikes.last.evidence}",
        cause=spikes.last.cause,
        change=spikes.last.change,
        **lower_rate(run, 3),
    )


def lower_rate(run: StoredRun, times: float) -> dict[str, Any]:
    """The learning rate as a finding's setting, to be lowered by so many times; a natural-gradient step's bound."""
    key = RATE if run.setting(RATE) is not None else "method.optimizer.max_kl"
    return run.changed_to(key, lambda now: float(f"{now / times:.2g}"))


def _moved(run: StoredRun) -> tuple[float | None, str]:
    """How far the policy is from its start, nats a token; where KL was not measured, hardly when nothing shows a move:
    the entropy stays and every held-out item scores as before."""
    kl = run.values("kl/start")
    if kl:
        return abs(kl[-1]), f"KL to the start is {kl[-1]:.2g} nats a token"
    entropy, gain = run.values("entropy"), run.gain
    if not entropy or not entropy[0] or gain is None or gain.value != 0 or gain.standard_error != 0:
        return None, ""
    change = max(abs(one / entropy[0] - 1) for one in entropy)
    if change > STEADY:
        return None, ""
    return NOT_AT_ALL, f"every held-out item scores as before and the entropy stays within {change:.1%}"


def _had_signal(run: StoredRun) -> bool:
    flat = run.mean("groups/no_spread")
    if flat is not None and METRICS["groups/no_spread"].standing(flat) == "high":
        return False
    return (run.mean("advantage/size") or 0.0) > 0


def _worse(run: StoredRun) -> str:
    """The score's or the reward's fall, in words; empty where there was none."""
    fall, reward = run.gain, run.trend("reward/mean")
    if fall is not None and fall.high < 0:
        return f"the held-out score fell by {-fall.value:.3f} ({-fall.high:.3f} to {-fall.low:.3f})"
    if reward is not None and reward.falls:
        return f"the reward fell from {reward.before:.3g} to {reward.after:.3g}"
    return ""


def _ends(run: StoredRun, name: str) -> str:
    found = run.values(name)
    return f"{found[0]:.3g} at first, {found[-1]:.3g} at last" if found else "not measured"
