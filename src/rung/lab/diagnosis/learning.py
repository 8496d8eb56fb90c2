"""Whether the policy learns: updates too small to move it or too large for it, a policy that stops trying or runs away
while the score does not rise, a critic that predicts nothing, and a run that is not whole or too short to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

from rung.lab.diagnosis.observed import ENOUGH_STEPS, FEW_STEPS, ObservedRun, Row, Seen, span, trend_of
from rung.lab.diagnosis.rewards import accuracy_at_ends, gamed_reward, held_out_falls
from rung.runs.metrics import METRICS

COLLAPSED = 0.1
"""Entropy as a share of its first value."""
KL_GROWTH = 3.0
"""KL as a multiple of its value ten steps before, while the reward did not rise."""
SMALL_KL = 0.2
"""KL to the start, nats a token, below which its growth is no trouble."""
FAR_AHEAD = 0.1
"""How far the accuracy on training prompts must be ahead of the held-out score."""


def entropy_collapse(run: ObservedRun) -> Seen | None:
    recent = run.values("entropy", run.steps[-3:])
    first = next((row for row in run.steps if row.get("entropy") is not None), None)
    if len(recent) < 3 or first is None or max(recent) >= COLLAPSED * (first["entropy"] or 0.0) or run.learned:
        return None
    now, before = f"{recent[-1]:.3g} nats a {run.words.token}", f"{first['entropy']:.3g}"
    return Seen(f"entropy is {now}, at step {first['step']:.0f} it was {before}")


def kl_runs_off(run: ObservedRun) -> Seen | None:
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
    steps = {int(row.get("step") or 0) for row in run.rows}
    missing = sorted(set(range(1, max(steps, default=0) + 1)) - steps)
    told = [*run.problems, *([f"no row for {len(missing)} steps, the first is {missing[0]}"] if missing else [])]
    return Seen("; ".join(told)) if told else None


def _reached(run: ObservedRun) -> str:
    wanted = run.setting("steps")
    last = max((int(row.get("step") or 0) for row in run.rows), default=0)
    return f"step {last}" + (f" of {wanted}" if wanted is not None else "")
