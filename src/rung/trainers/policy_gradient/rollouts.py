"""Checks and descriptions that all policy gradients share: minibatches, learning rates, the step in words."""

from __future__ import annotations

from collections.abc import Iterator

from rung.methods import PolicyGradient
from rung.methods.parts.protocols import fact
from rung.settings import Settings
from rung.trainers.fits import doubtful_rate
from rung.trainers.units import Units, count


def rollout_units(settings: Settings, method: PolicyGradient, drawn: str) -> Units:
    """The step; `drawn` says in words what it draws."""
    episodes = settings.prompts_per_step * method.samples_per_prompt
    new_tokens = episodes * settings.max_new_tokens
    updates, trust = method.updates_per_rollout(), method.trust_region()
    rate = f"learning rate {method.optimizer.learning_rate:g}" if trust is None else f"KL at most {trust.max_kl:g}"
    return Units(
        episodes=episodes,
        new_tokens=new_tokens,
        items=settings.prompts_per_step,
        lines=(
            drawn,
            f"{count(updates, 'update')}, {rate}, sampled at temperature {settings.temperature:g}",
            *_alone(method),
        ),
        data={
            "prompts": settings.prompts_per_step,
            "samples_per_prompt": method.samples_per_prompt,
            "episodes": episodes,
            "new_tokens_at_most": new_tokens,
            "updates": updates,
        },
    )


def _alone(method: PolicyGradient) -> Iterator[str]:
    if method.critic is not None and method.critic.warmup_steps:
        steps = count(method.critic.warmup_steps, "step")
        yield f"the first {steps}: the critic alone learns, the policy stays as it is"


def too_many_minibatches(method: PolicyGradient, most: int, because: str) -> Iterator[str]:
    """Of each setting that cuts a rollout."""
    counts = {"method.num_minibatches": method.num_minibatches}
    trust = method.trust_region()
    if trust is not None and method.critic is not None:
        counts["method.optimizer.num_critic_minibatches"] = trust.num_critic_minibatches
    for name, cuts in counts.items():
        if cuts > most:
            yield f"{name}: got {cuts}, but {because}; set {most} or fewer"


def too_few_to_compare(settings: Settings, method: PolicyGradient) -> Iterator[str]:
    """More minibatches than episodes, or one episode alone where episodes are compared."""
    episodes = settings.prompts_per_step * method.samples_per_prompt
    product = f"{settings.prompts_per_step} prompts x {method.samples_per_prompt} samples = {episodes} episodes"
    yield from too_many_minibatches(method, episodes, f"a step has {product}")
    if episodes == 1 and fact(fact(method.advantage, "baseline", None), "needs_others", False):
        yield (
            "prompts_per_step: got 1 prompt with 1 sample, but OthersInBatch compares with the step's other episodes; "
            "set 2 or more"
        )


def doubtful_slots(settings: Settings, method: PolicyGradient) -> Iterator[str]:
    if method.trust_region() is None:
        yield from doubtful_rate(method.optimizer.learning_rate)
    alone = method.critic.warmup_steps if method.critic is not None else 0
    if 0 < settings.steps <= alone:
        yield (
            f"method.critic.warmup_steps: the critic learns alone for {alone} steps and the run has {settings.steps}, "
            "so the policy is never trained"
        )
    length: int | None = fact(method.aggregation, "length", None)
    if length is not None and length != settings.max_new_tokens:
        yield (
            f"method.aggregation.length: {length} is not max_new_tokens {settings.max_new_tokens}; "
            f"the step is then {settings.max_new_tokens / length:g} times as large as with the same length"
        )
    shaping = method.shape_reward
    if shaping is not None and shaping.limit != settings.max_new_tokens:
        yield (
            f"method.shape_reward.limit: {shaping.limit} is not max_new_tokens {settings.max_new_tokens}; set limit "
            f"{settings.max_new_tokens} and cache to about a fifth of it, or no answer is ever penalised as meant"
        )
