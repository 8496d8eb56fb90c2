"""Numbers of a definition that cannot work at a run's sizes, and what takes their place where nobody has set them.

A definition has its paper's numbers: PPO's are for stretches of 2,048 steps of an environment, DAPO's for answers of
20,480 tokens. What is changed is told in the plan, with the reason.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rung.methods import METHODS, PolicyGradient
from rung.methods.data import as_data
from rung.settings import Settings

SMALL_NETWORKS_RATE = 1e-4
"""Learning rates above this are made for small networks; a language model is ruined by them."""
LEFT = 0.5
"""A discount that leaves less than this of the reward at an answer's first token is adapted."""


@dataclass(frozen=True)
class Adapted:
    """Settings by dotted key, and why they are not the definition's.

    Example: `Adapted({"method.shape_reward.limit": 16}, "an answer has at most 16 tokens").words()` is
    "method.shape_reward.limit = 16, because an answer has at most 16 tokens".
    """

    values: Mapping[str, Any]
    because: str

    def words(self) -> str:
        said = ", ".join(f"{key} = {value:g}" for key, value in self.values.items())
        return f"{said}, because {self.because}"


def adapted_to_text(settings: Settings, method: PolicyGradient, written: Container[str]) -> Iterator[Adapted]:
    """What these sizes of a text run ask for in place of the method's own numbers. Nothing that is `written`."""
    longest, episodes = settings.max_new_tokens, settings.prompts_per_step * method.samples_per_prompt
    sizes = _Sizes(as_data(method), written)
    if method.horizon is not None:
        yield from _of_stretches(settings, method, sizes)
    if sizes.get("method.num_minibatches") > episodes:
        yield from sizes.changed({"method.num_minibatches": episodes}, f"a step has {episodes} episodes")
    limit = {"method.shape_reward.limit": longest, "method.shape_reward.cache": max(1, longest // 5)}
    yield from sizes.changed(limit, f"an answer has at most {longest:,} tokens")
    yield from sizes.changed({"method.aggregation.length": longest}, f"an answer has at most {longest:,} tokens")
    if settings.budget.limits() or not settings.steps:
        return
    updates = settings.steps * sizes.get("method.num_epochs") * sizes.get("method.num_minibatches")
    if 2 * sizes.get("method.optimizer.warmup_steps") > updates:
        yield from sizes.changed({"method.optimizer.warmup_steps": updates // 10}, f"the run makes {updates:,} updates")
    if 2 * sizes.get("method.critic.warmup_steps") > settings.steps:
        steps = f"the run has {settings.steps:,} steps, and the policy is to learn too"
        yield from sizes.changed({"method.critic.warmup_steps": settings.steps // 5}, steps)


def _of_stretches(settings: Settings, method: PolicyGradient, sizes: _Sizes) -> Iterator[Adapted]:
    """For methods whose numbers are an environment's: many updates of many steps, by a small network."""
    for_text = METHODS["ppo@lm-human-preferences"]
    longest, most = settings.max_new_tokens, for_text.updates_per_rollout()
    why = (
        f"'{method.name}' is made for stretches of steps in an environment; {for_text.name} is the preset for text, and"
    )
    if method.updates_per_rollout() > most:
        passes = {"method.num_epochs": min(method.num_epochs, most), "method.num_minibatches": 1}
        yield from sizes.changed(passes, f"{why} makes {most} updates of a rollout")
    yield from sizes.changed({"method.optimizer.num_critic_minibatches": 1}, f"{why} does not cut a rollout")
    discount = sizes.get("method.advantage.discount")
    if discount and discount**longest < LEFT:
        left = (
            f"the reward stands at an answer's end, and {discount:g} leaves {discount**longest:.0%} of it at the first"
        )
        yield from sizes.changed({"method.advantage.discount": 1.0}, f"{left} of {longest:,} tokens")
    rate = as_data(for_text)["optimizer"]["learning_rate"]
    for key in ("method.optimizer.learning_rate", "method.optimizer.critic_learning_rate"):
        if settings.model != "tiny" and sizes.get(key) > SMALL_NETWORKS_RATE:
            yield from sizes.changed({key: rate}, f"{sizes.get(key):g} is for small networks, and {why} has {rate:g}")


class _Sizes:
    """A method's numbers as data, changed as they are adapted."""

    def __init__(self, data: dict[str, Any], written: Container[str]) -> None:
        self.data, self.written = data, written

    def get(self, key: str) -> Any:
        """The number at a dotted key; 0 where the method has none."""
        found: Any = self.data
        for name in key.split(".")[1:]:
            found = found.get(name) if isinstance(found, dict) else None
        return found or 0

    def changed(self, values: Mapping[str, Any], because: str) -> Iterator[Adapted]:
        """Of these values those that the method has otherwise and nobody has written."""
        free = {key: new for key, new in values.items() if self.get(key) not in (0, new) and key not in self.written}
        for key, value in free.items():
            *slots, name = key.split(".")[1:]
            inside = self.data
            for slot in slots:
                inside = inside[slot]
            inside[name] = value
        if free:
            yield Adapted(free, because)
