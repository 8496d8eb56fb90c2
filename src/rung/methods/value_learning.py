"""Q-learning: Q(s, a) moves towards the reward plus the value of the next state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from rung.formulas.value_targets import bootstrapped, chosen
from rung.methods.kind import Method
from rung.methods.parts.protocols import (
    Exploration,
    QLayers,
    QOptimizer,
    Replay,
    TargetNetwork,
    TDError,
    ValueTarget,
    fact,
    formula_of,
    stated_beside,
)
from rung.methods.ranges import FROM_1


@dataclass(frozen=True, kw_only=True)
class ValueLearning(Method):
    """A method that learns Q from a replay: L = mean of error ( y − Q(s, a) ) over past steps, lowered by `optimizer`.

    Example: `DQN.changed(name="dqn-calm", target_network=Every(updates=500))` is DQN with a target network.
    """

    horizon: Annotated[int, FROM_1] = 1000
    """Environment steps per step of the run, which is one row of metrics. Learning does not depend on it. On a text
    task a step of the run is one completion of each of `prompts_per_step` prompts."""
    exploration: Exploration
    replay: Replay
    steps_between_updates: Annotated[int, FROM_1] = 1
    """Environment steps, or tokens, between two rounds of updates."""
    updates: Annotated[int, FROM_1] = 1
    """Updates a round."""
    clip_rewards: bool = False
    """Learn from the sign of the reward alone; scores are not clipped."""
    life_loss_ends: bool = False
    """A lost life ends the episode for learning, though the game goes on; for games that count lives."""
    network: QLayers
    """The Q network. On a text task the language model's own outputs are Q."""
    value_target: ValueTarget
    target_network: TargetNetwork | None = None
    """None: targets come from Q itself, as in 2013."""
    error: TDError
    sum_errors: bool = False
    """The gradient is the sum over a minibatch, not the mean: what DeepMind's released code does."""
    optimizer: QOptimizer

    def contradictions(self) -> Iterator[str]:
        replay = self.replay
        if replay.capacity < replay.batch + self.value_target.steps:
            yield (
                f"method.replay.capacity: got {replay.capacity}, but one update takes {replay.batch} steps of up to "
                f"{self.value_target.steps}; set {replay.batch + self.value_target.steps} or more"
            )
        if replay.starts < replay.batch:
            yield (
                f"method.replay.starts: got {replay.starts}, but one update takes {replay.batch} steps; set "
                f"{replay.batch} or more"
            )
        if self.value_target.asks_twice and self.target_network is None:
            yield (
                f"method.target_network: got none, but {type(self.value_target).__name__} needs two networks: with one "
                "it is MaxTarget; set Every, or value_target to MaxTarget"
            )

    def formula(self) -> str:
        """The loss, and the formulas of the parts inside it."""
        copy = self.target_network is not None
        over = "∑" if self.sum_errors else "mean"
        weight = "w " if fact(self.replay, "weighted", False) else ""
        lines = [f"L = {over} over a minibatch of {weight}{formula_of(self.error)}", self.value_target.formula(copy)]
        if self.network.duelling:
            lines.append("Q(s, a) = V(s) + A(s, a) − mean_a A(s, a)")
        lines += [formula_of(part) for part in (self.target_network, self.replay, self.exploration) if part is not None]
        every = "step" if self.steps_between_updates == 1 else f"{self.steps_between_updates:,} steps"
        rounds = f"{self.updates:,} update{'s' if self.updates > 1 else ''} every {every}"
        return "\n".join([*lines, f"{rounds}: {formula_of(self.optimizer)}"])

    def beyond_slopes(self) -> list[str]:
        """The slots whose parts a small network's compiled update does not know; torch learns with them."""
        known = {
            "replay": not fact(self.replay, "weighted", False),
            "network": not self.network.duelling,
            "value_target": stated_beside(self.value_target, "best", "next_values"),
            "error": stated_beside(self.error, "slope", "slopes") is not None,
            "optimizer": stated_beside(self.optimizer, "rule", "build") is not None,
        }
        return [slot for slot, is_known in known.items() if not is_known]

    def targets(self, returns_N: Tensor, factors_N: Tensor, values_NV: Tensor | None, judged_NV: Tensor) -> Tensor:
        """[N] y: `values_NV` is the trained network's Q of the next states, `judged_NV` the one that makes targets."""
        return bootstrapped(returns_N, factors_N, self.value_target.next_values(values_NV, judged_NV))

    def errors(self, values_NV: Tensor, actions_N: Tensor, targets_N: Tensor) -> Tensor:
        """[N] y − Q of the actions that were taken."""
        return targets_N - chosen(values_NV, actions_N)

    def loss_of(self, errors_N: Tensor, weights_N: Tensor | None) -> Tensor:
        """The loss of a minibatch [], or of several with their rows together [..., N] -> [...]."""
        losses_N = self.error.losses(errors_N)
        if weights_N is not None:
            losses_N = losses_N * weights_N
        return losses_N.sum(-1) if self.sum_errors else losses_N.mean(-1)

    def loss(
        self, values_NV: Tensor, actions_N: Tensor, targets_N: Tensor, weights_N: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The minibatch's loss [], and the errors y − Q [N] that it is made of."""
        errors_N = self.errors(values_NV, actions_N, targets_N)
        return self.loss_of(errors_N, weights_N), errors_N.detach()

    def gradient(self, values_NV: Tensor, actions_N: Tensor, errors_N: Tensor, weights_N: Tensor | None) -> Tensor:
        """[N,V] the derivative of `loss` in every value: what autograd finds, without the graph that it needs."""
        slopes_N = self.error.slopes(errors_N)
        if weights_N is not None:
            slopes_N = slopes_N * weights_N
        if not self.sum_errors:
            slopes_N = slopes_N / len(slopes_N)
        return torch.zeros_like(values_NV).scatter_(1, actions_N[:, None], slopes_N[:, None])
