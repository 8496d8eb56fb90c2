"""What a run has spent, on every axis at once, and whether that is as much as it may.

All of it is a sum over the rows of metrics.jsonl and timings.jsonl, so a resumed run knows what it has spent.
Evaluations and checkpoints cost nothing here: they are how a run is looked at, not how it learns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from rung.methods import Method, PolicyGradient, ValueLearning
from rung.methods.parts.steps import NaturalGradient
from rung.training.natural_step import is_critics

AXES = {
    "tokens": "generated tokens",
    "trained": "trained tokens",
    "steps": "environment steps",
    "seconds": "seconds of training",
    "flops": "floating-point operations (estimated)",
}
"""What can be limited (`budget.tokens`, ...), in words."""
PHASES = ("sample", "reward", "learn")
"""The phases of a step whose seconds count."""
FISHER = 12.0
"""Operations a token and weight of a Fisher-vector product: it differentiates twice, as much as two gradients."""

Row = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Floating-point operations a token, by what is done with it.

    Example: `Work(generated=78_336.0, trained=235_008.0)` for 39,168 weights and one update a rollout.
    """

    generated: float
    trained: float


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What was spent, by axis.

    Example: `Spent(tokens=2_000_640, trained=1_730_112, steps=0, seconds=61.4, flops=6e11)`.
    """

    tokens: float = 0.0
    trained: float = 0.0
    steps: float = 0.0
    seconds: float = 0.0
    flops: float = 0.0

    def after(self, metrics: Row, seconds: float, work: Work) -> Spent:
        """With one step more: its row of metrics, and the seconds of its phases."""
        generated, trained = (metrics.get(f"tokens/{name}") or 0.0 for name in ("generated", "trained"))
        return replace(
            self,
            tokens=self.tokens + generated,
            trained=self.trained + trained,
            steps=metrics.get("environment/steps") or self.steps,  # the row has the sum already
            seconds=self.seconds + seconds,
            flops=self.flops + work.generated * generated + work.trained * trained,
        )

    def reached(self, limits: Mapping[str, float]) -> list[str]:
        """The axes on which as much as the limit is spent.

        >>> Spent(tokens=2048.0).reached({"tokens": 2000, "seconds": 60.0})
        ['tokens']
        """
        return [axis for axis, limit in limits.items() if getattr(self, axis) >= limit]


def seconds_of(timings: Row) -> float:
    """The seconds of a row of timings.jsonl that count."""
    return sum(timings.get(f"seconds/{phase}") or 0.0 for phase in PHASES)


def spent_on(metrics: Iterable[Row], timings: Iterable[Row], work: Work) -> Spent:
    """What the rows of a run add up to; row 0 is the model before training."""
    seconds = {row.get("step"): seconds_of(row) for row in timings}
    spent = Spent()
    for row in metrics:
        spent = spent.after(row, seconds.get(row.get("step"), 0.0), work)
    return spent


def work(method: PolicyGradient, *, policy: int, critic: int, trained: int) -> Work:
    """Estimated operations a token, N the weights a token goes through: 2N forward (Kaplan et al. 2020,
    arXiv:2001.08361), as much again for the gradient of the inputs and for that of the weights that are trained.

    A generated token: one forward pass of the policy. A trained token: for each epoch forward and backward of policy
    and critic; once more forward for the log-probs and values before the first update, and for the reference; for a
    natural gradient also the Fisher-vector products on their share of the rows, the line search's first try (the new
    loss and KL) and the critic's own epochs. Left out: prompts, attention over the context, evaluations, the metric
    kl/start; rows that cannot teach are counted as if they got their backward pass.

    Args:
        policy, critic: weights that a token goes through.
        trained: of both together, those that get a gradient (fewer than all with LoRA).

    >>> from rung.methods import METHODS
    >>> work(METHODS["reinforce"], policy=100, critic=0, trained=100)
    Work(generated=200.0, trained=600.0)
    """
    both = policy + critic
    learning = 4.0 * both + 2.0 * trained
    before = 2.0 * both if method.needs_old_log_probs() or critic else 0.0
    reference = 2.0 * policy if method.reference_kl is not None else 0.0
    once = before + reference
    if isinstance(method.step, NaturalGradient):
        products = method.step.iterations + 1  # the last one measures the step's length
        fisher = products * method.step.fisher_share * FISHER * policy
        search = 2 * 2.0 * policy
        critics = method.step.critic_epochs * 6.0 * critic
        return Work(generated=2.0 * policy, trained=once + 6.0 * policy + fisher + search + critics)
    return Work(generated=2.0 * policy, trained=once + method.epochs * learning)


class Weights(Protocol):
    """A policy, as far as its weights can be counted."""

    def trainable(self) -> dict[str, torch.nn.Parameter]: ...


def work_of(method: Method, policy: Weights) -> Work:
    """`work` for a policy as it is: all weights of its model, and of its critic. For a method of another kind: one
    forward and backward pass of each trained token, and for one that learns values the passes that make its target
    too. Convolutions are counted as if each of their weights were used once, which is too little."""
    sizes = {name: parameter.numel() for name, parameter in policy.trainable().items()}
    critic = sum(size for name, size in sizes.items() if is_critics(name))
    trained = sum(sizes.values())
    model = getattr(policy, "model", None)  # a language model; with LoRA most of it is frozen
    whole = sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else trained - critic
    if isinstance(method, ValueLearning):
        asked = 2 if method.value_target.asks_twice else 1
        return Work(generated=2.0 * whole, trained=(6.0 + 2.0 * asked) * whole)
    if not isinstance(method, PolicyGradient):
        return Work(generated=2.0 * whole, trained=4.0 * (whole + critic) + 2.0 * trained)
    return work(method, policy=whole, critic=critic, trained=trained)


class Purse:
    """What one run has spent so far, and whether it may go on.

    >>> purse = Purse({"tokens": 100}, Work(generated=2.0, trained=6.0))
    >>> purse.pay({"step": 1, "tokens/generated": 120.0}, 0.5)
    >>> purse.empty, purse.spent.flops
    (['tokens'], 240.0)
    """

    def __init__(self, limits: Mapping[str, float], work: Work, spent: Spent | None = None) -> None:
        self.limits, self.work = dict(limits), work
        self.spent = spent or Spent()

    def pay(self, metrics: Row, seconds: float) -> None:
        """Counts one step."""
        self.spent = self.spent.after(metrics, seconds, self.work)

    @property
    def empty(self) -> list[str]:
        """The axes on which the limit is reached; none while the run may go on."""
        return self.spent.reached(self.limits)
