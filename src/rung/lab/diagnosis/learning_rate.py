"""Updates that are too small to move the policy, or too large for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

from rung.lab.diagnosis.observed import ENOUGH_STEPS, ObservedRun, Row, Seen, span
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
SPIKE = 10.0
"""Gradient norm as a multiple of the median of the steps before."""
RATE = "method.optimizer.learning_rate"
USUAL: Mapping[str, float] = {"tiny": 2e-4, "small": 3e-4}
"""A rate that is known to move these models; for others, the methods' own."""
BILLIONS = 1e-6


def learning_rate_low(run: ObservedRun) -> Seen | None:
    """The policy has not moved although there was something to learn."""
    if len(run.steps) < ENOUGH_STEPS:
        return None
    far, told = _moved(run)
    flat = METRICS["groups/no_spread"].standing(run.mean("groups/no_spread")) == "high"
    if far is None or far >= HARDLY or run.learned or flat or not run.mean("advantage/size"):
        return None
    rewards = run.values("reward/mean")
    ends = f"; reward {rewards[0]:.3g} at first, {rewards[-1]:.3g} at last" if rewards else ""
    return Seen(
        f"{told} after {len(run.steps)} steps, though the rewards differed{ends}",
        severity="serious" if far < NOT_AT_ALL else None,
        remedy=run.changed_to(RATE, lambda now: max(10 * now, USUAL.get(str(run.setting("model")), BILLIONS))),
    )


def learning_rate_high(run: ObservedRun) -> Seen | None:
    """The policy moved far from its start within the first steps, or while the score fell."""
    limit = METRICS["kl/start"].high or 0.0
    leap = next((row for row in run.steps[:FIRST_STEPS] if (row.get("kl/start") or 0.0) > limit), None)
    farthest = max(run.values("kl/start", run.events), default=0.0)
    if (leap is None and farthest <= limit) or run.learned:
        return None
    worse = _worse(run)
    if leap is None and not worse:
        return None
    a_token = f"nats a {run.words.token}"
    kl = (
        f"KL to the start was {leap['kl/start']:.3g} {a_token} at step {leap['step']:.0f} already"
        if leap is not None
        else f"KL to the start reached {farthest:.3g} {a_token}"
    )
    return Seen(f"{kl} (useful runs mostly stay below {limit:g}){f'; {worse}' if worse else ''}")


def gradient_always_clipped(run: ObservedRun) -> Seen | None:
    """The gradient's bound, not the gradient, sets the length of every step."""
    bound, norms = run.setting("method.optimizer.max_grad_norm"), run.values("grad/norm")
    if not bound or len(norms) < ENOUGH_STEPS or run.learned:
        return None
    beyond = sum(norm > FAR_BEYOND * bound for norm in norms)
    if beyond < ALWAYS * len(norms):
        return None
    return Seen(
        f"its norm was more than {FAR_BEYOND:g} times max_grad_norm {bound:g} at {beyond} of {len(norms)} steps "
        f"(median {sorted(norms)[len(norms) // 2]:.3g})"
    )


def clipped_often(run: ObservedRun) -> Seen | None:
    """The trust region holds back many tokens: the updates are larger than the method is made for."""
    metric = METRICS["clip/share"]
    share = run.mean(metric.name, run.late)
    if metric.standing(share) != "high" or run.learned:
        return None
    epochs = run.setting("method.num_epochs")
    return Seen(
        f"{share:.0%} of the {run.words.tokens} in {span(run.late)}; at most {metric.high:.0%} is healthy",
        case="epochs" if isinstance(epochs, int) and epochs > 1 else "",
    )


def gradient_spikes(run: ObservedRun) -> Seen | None:
    """The gradient's norm jumps against the median of the steps before."""
    spikes = {row["step"]: usual for row, usual in _before(run) if (row.get("grad/norm") or 0.0) > SPIKE * usual}
    rows = [row for row in run.events if row.get("step") in spikes]
    again_and_again = len(rows) >= 3 and len(rows) * 20 >= len(run.steps)
    if not rows or not (run.live or again_and_again) or run.learned:
        return None
    last = rows[-1]
    how_many = "" if run.live else f"{len(rows)} of {len(run.steps)} steps, the last at step {last['step']:.0f}: "
    norms = f"its norm is {last['grad/norm']:.3g}, the median of the steps before is {spikes[last['step']]:.3g}"
    return Seen(how_many + norms, case="live" if run.live else "")


def _before(run: ObservedRun) -> Iterator[tuple[Row, float]]:
    """The steps that count, each with the median norm of up to twenty steps before it; at least five must be there."""
    for at in range(len(run.steps) - 1 if run.live else 0, len(run.steps)):
        norms = [norm for norm in run.values("grad/norm", run.steps[max(0, at - 20) : at]) if norm]
        if len(norms) >= 5:
            yield run.steps[at], median(norms)


def _moved(run: ObservedRun) -> tuple[float | None, str]:
    """How far the policy is from its start, in nats a token.

    Where KL was not measured it has not moved at all when the entropy stays and every held-out item scores as before.
    """
    kl = run.latest("kl/start")
    if kl is not None:
        return abs(kl), f"KL to the start is {kl:.2g} nats a {run.words.token}"
    gain = run.gain
    if gain is None or gain.value != 0 or gain.standard_error != 0:
        return None, ""
    entropy = run.values("entropy")
    change = max((abs(one / entropy[0] - 1) for one in entropy if entropy[0]), default=1.0)
    if change > STEADY:
        return None, ""
    return NOT_AT_ALL, f"every held-out item scores as before and the entropy stays within {change:.1%}"


def _worse(run: ObservedRun) -> str:
    """The score's or the reward's fall, in words; empty where there was none."""
    fall, reward = run.gain, run.trend("reward/mean")
    if fall is not None and fall.high < 0:
        return f"the held-out score fell by {-fall.value:.3f} ({-fall.high:.3f} to {-fall.low:.3f})"
    if reward is not None and reward.falls:
        return f"the reward fell from {reward.before:.3g} to {reward.after:.3g}"
    return ""
