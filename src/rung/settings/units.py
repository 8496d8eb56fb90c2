"""What one step of a run is, counted: each kind of method in its own units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rung.methods import AdaptiveElements, Method, PolicyGradient, PreferenceLearning, ValueLearning
from rung.methods.parts.optimizers import NaturalGradient
from rung.methods.parts.q_learning import EpsilonGreedy
from rung.settings.pair_source import draws_pairs
from rung.settings.schema import Settings


@dataclass(frozen=True, kw_only=True)
class Units:
    """One step.

    Example: 8 prompts x 8 samples are `episodes=64`, of at most `new_tokens=1024` together.
    """

    episodes: int
    """Completions that the model draws; 0 for a method that learns from stored ones."""
    new_tokens: int
    """At most, of all of them."""
    items: int
    """Of the task's items, how many it takes: prompts, or pairs."""
    lines: tuple[str, ...]
    """The step in words."""
    data: Mapping[str, int]
    """The step for `rung check --json`."""


def units_of(settings: Settings, method: Method, *, environment: bool) -> Units:
    """The step that these settings and this method make."""
    if isinstance(method, ValueLearning):
        return _value_units(settings, method) if environment else _token_value_units(settings, method)
    if isinstance(method, PreferenceLearning):
        return _drawn_pair_units(settings, method) if draws_pairs(settings, method) else _pair_units(method)
    if isinstance(method, AdaptiveElements):
        return Units(
            episodes=1,
            new_tokens=0,
            items=1,
            lines=("1 trial, until it fails; an update at every time step, or for BOXES at the failure",),
            data={"trials": 1},
        )
    assert isinstance(method, PolicyGradient), type(method)
    return _rollout_units(settings, method, environment=environment)


def _rollout_units(settings: Settings, method: PolicyGradient, *, environment: bool) -> Units:
    episodes = settings.prompts_per_step * method.samples_per_prompt
    new_tokens = episodes * settings.max_new_tokens
    updates, step = method.updates_per_rollout(), method.optimizer
    size = (
        f"KL at most {step.max_kl:g}" if isinstance(step, NaturalGradient) else f"learning rate {step.learning_rate:g}"
    )
    return Units(
        episodes=episodes,
        new_tokens=new_tokens,
        items=settings.prompts_per_step,
        lines=(
            _steps(settings, method) if environment else _completions(settings, method, episodes, new_tokens),
            f"{count(updates, 'update')}, {size}, sampled at temperature {settings.temperature:g}",
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


def _value_units(settings: Settings, method: ValueLearning) -> Units:
    updates = method.horizon // method.steps_between_updates * method.updates
    return Units(
        episodes=0,
        new_tokens=0,
        items=0,
        lines=(
            f"{count(method.horizon, 'step')} of {count(settings.num_environments, 'environment')} together, "
            f"{count(updates, 'update')} of {method.replay.batch:,} past steps each, learning rate "
            f"{method.optimizer.learning_rate:g}",
            f"learning begins after {count(method.replay.starts, 'step')}",
        ),
        data={
            "environment_steps": method.horizon,
            "updates": updates,
            "steps_an_update_learns_from": method.replay.batch,
        },
    )


def _token_value_units(settings: Settings, method: ValueLearning) -> Units:
    """Tokens are the steps of a method that learns the value of them."""
    completions, longest = settings.prompts_per_step, settings.max_new_tokens
    updates = completions * longest // method.steps_between_updates * method.updates
    lines = [
        f"{count(completions, 'prompt')}, one completion each, at most {completions * longest:,} new tokens "
        f"({longest:,} each); a step of the method is a token",
        f"at most {count(updates, 'update')} of about {method.replay.batch:,} past tokens each, learning rate "
        f"{method.optimizer.learning_rate:g}; learning begins after {method.replay.starts:,} tokens",
    ]
    if isinstance(method.exploration, EpsilonGreedy):
        whole = (1 - method.exploration.end) ** longest
        lines.append(
            f"ε is a token's: at {method.exploration.end:g}, {whole:.0%} of completions of {longest:,} tokens have no "
            "random one"
        )
    lines.append(f"a completion cut at {longest:,} tokens is judged as it stands: no value is added for what was cut")
    return Units(
        episodes=completions,
        new_tokens=completions * longest,
        items=completions,
        lines=tuple(lines),
        data={
            "prompts": completions,
            "episodes": completions,
            "new_tokens_at_most": completions * longest,
            "updates_at_most": updates,
            "tokens_an_update_learns_from": method.replay.batch,
        },
    )


def _pair_units(method: PreferenceLearning) -> Units:
    pairs = method.pairs_per_step
    learnt = "pairs" if method.loss.paired else "pairs, or answers that were labelled alone"
    return Units(
        episodes=0,
        new_tokens=0,
        items=pairs,
        lines=(
            f"{pairs:,} {learnt}; nothing is sampled",
            f"1 update, learning rate {method.optimizer.learning_rate:g}",
        ),
        data={"pairs": pairs, "updates": 1},
    )


def _drawn_pair_units(settings: Settings, method: PreferenceLearning) -> Units:
    """A step learns from pairs; drawing goes by rounds of prompts, which decide the memory."""
    asked, pairs = settings.pairs, method.pairs_per_step
    passes = "1 pass" if asked.passes == 1 else f"{asked.passes:,} passes"
    return Units(
        episodes=settings.prompts_per_step * asked.k,
        new_tokens=0,
        items=0,
        lines=(
            f"the first draws pairs: {asked.k} answers to each train prompt, {settings.prompts_per_step:,} prompts at "
            f"a time, until they and {passes} over them take the budget",
            f"each other one learns from {pairs:,} pairs: 1 update, learning rate {method.optimizer.learning_rate:g}",
        ),
        data={
            "prompts_a_round": settings.prompts_per_step,
            "samples_per_prompt": asked.k,
            "pairs": pairs,
            "updates": 1,
        },
    )


def _completions(settings: Settings, method: PolicyGradient, episodes: int, new_tokens: int) -> str:
    return (
        f"{settings.prompts_per_step:,} prompts x {method.samples_per_prompt:,} samples = {episodes:,} episodes, "
        f"at most {new_tokens:,} new tokens ({settings.max_new_tokens:,} each)"
    )


def _steps(settings: Settings, method: PolicyGradient) -> str:
    if method.horizon is None:
        episodes = settings.prompts_per_step * method.samples_per_prompt
        return (
            f"{settings.prompts_per_step:,} start states x {method.samples_per_prompt:,} episodes = "
            f"{episodes:,} whole episodes"
        )
    steps = settings.num_environments * method.horizon
    return f"{count(settings.num_environments, 'environment')} x {method.horizon:,} steps = {steps:,} steps"


def count(number: int, word: str) -> str:
    """`1 step`, `2,000 steps`."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
