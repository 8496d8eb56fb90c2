"""Parts of Q-learning: targets, replays, exploration, errors, networks and their optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from rung.formulas import value_targets
from rung.formulas.optimizer_steps import Rule
from rung.formulas.slopes import ErrorSlope
from rung.methods.parts.optimizers import AdamW, RMSpropUnderRoot
from rung.methods.parts.protocols import Formula
from rung.methods.ranges import ABOVE_0, ABOVE_0_TO_1, BELOW_1, FROM_1, SHARE


@dataclass(frozen=True)
class MaxTarget:
    """y = r + γ max_a Q(s', a): the network behind the targets both chooses and evaluates the next action."""

    discount: Annotated[float, SHARE] = 0.99
    steps: Annotated[int, FROM_1] = 1
    """Steps of true reward before the value of the next state (n-step)."""
    asks_twice: ClassVar[bool] = False
    """Whether the network being trained sees the next states too."""
    best: ClassVar[bool] = True

    def formula(self, copy: bool) -> str:
        """In words; `copy`: there is a target network."""
        return f"y = {_rewards(self.steps, self.discount)} max_a {'Q⁻' if copy else 'Q'}(s', a)"

    def next_values(self, values_NV: Tensor | None, judged_NV: Tensor) -> Tensor:
        """[N] value of the next states: `values_NV` by the network being trained, `judged_NV` by the targets' own."""
        return value_targets.max_value(judged_NV)


@dataclass(frozen=True)
class DoubleTarget(MaxTarget):
    """y = r + γ Q⁻(s', argmax_a Q(s', a)): Q chooses, its older copy evaluates (arXiv:1509.06461)."""

    asks_twice: ClassVar[bool] = True
    best: ClassVar[bool] = True

    def formula(self, copy: bool) -> str:
        return f"y = {_rewards(self.steps, self.discount)} Q⁻(s', argmax_a Q(s', a))"

    def next_values(self, values_NV: Tensor | None, judged_NV: Tensor) -> Tensor:
        assert values_NV is not None, "both networks see the next states"
        return value_targets.double_value(values_NV, judged_NV)


def _rewards(steps: int, discount: float) -> str:
    if steps == 1:
        return f"r + {discount:g}"
    return f"∑_(k<{steps}) {discount:g}ᵏ rₖ + {discount:g}^{steps}"


@dataclass(frozen=True)
class Uniform:
    """Every step that is kept is drawn with the same chance (Lin 1993; arXiv:1312.5602)."""

    capacity: Annotated[int, FROM_1] = 1_000_000
    """Steps that are kept; the oldest is dropped first."""
    starts: Annotated[int, FROM_1] = 50_000
    """Steps before the first update."""
    batch: Annotated[int, FROM_1] = 32
    """Steps per update: the minibatch size."""
    formula = Formula("{batch} steps of the last {capacity:,}, drawn uniformly")


@dataclass(frozen=True)
class Prioritised(Uniform):
    """Steps are drawn in proportion to Q's error on them, with importance weights (arXiv:1511.05952)."""

    alpha: Annotated[float, SHARE] = 0.6
    """0: uniform; 1: in proportion to the error."""
    beta: Annotated[float, SHARE] = 0.4
    """Exponent of the weights (size · P)^−β at the start; it rises linearly to 1."""
    beta_over: Annotated[int, FROM_1] = 12_500_000
    """Updates over which β rises to 1."""
    epsilon: Annotated[float, ABOVE_0] = 1e-6
    """Added to every error, so that every step can be drawn again."""
    weighted: ClassVar[bool] = True
    formula = Formula(
        "{batch} steps of the last {capacity:,}, drawn in proportion to (|δ| + {epsilon:g})^"
        "{alpha:g}, weighted by (size · P)^−β / max, β from {beta:g} to 1"
    )

    def priorities(self, errors_N: Tensor) -> Tensor:
        """[N] from the errors that the steps were learnt with."""
        return value_targets.priority(errors_N, self.alpha, self.epsilon)

    def weights(self, chances_N: Tensor, size: int, update: int) -> Tensor:
        """[N] of a minibatch drawn with these chances from `size` steps, at update 0, 1, 2, ..."""
        beta = min(1.0, self.beta + (1.0 - self.beta) * update / self.beta_over)
        return value_targets.importance(chances_N, size, beta)


@dataclass(frozen=True)
class EpsilonGreedy:
    """The best action by Q, and with probability ε a uniformly random one; ε falls linearly, then stays."""

    start: Annotated[float, SHARE] = 1.0
    end: Annotated[float, SHARE] = 0.1
    over: Annotated[int, FROM_1] = 1_000_000
    """Environment steps, or tokens, over which ε falls from `start` to `end`."""
    evaluation: Annotated[float, SHARE] = 0.05
    """ε when the policy is scored by drawn actions (`evaluation.temperature` above 0), in environments."""

    @property
    def temperature(self) -> None:
        """None: no Boltzmann distribution is drawn from."""

    formula = Formula("ε-greedy, ε from {start:g} to {end:g} over {over:,} steps; {evaluation:g} when scored")

    def epsilon_at(self, step: int) -> float:
        """ε of environment step, or token, 0, 1, 2, ...

        >>> [round(EpsilonGreedy(over=100).epsilon_at(step), 2) for step in (0, 50, 100, 1000)]
        [1.0, 0.55, 0.1, 0.1]
        """
        return self.start + (self.end - self.start) * min(1.0, step / self.over)


@dataclass(frozen=True)
class Boltzmann:
    """π(a|s) ∝ exp(Q(s, a) / τ): better actions are likelier, and none is ruled out (Watkins 1989)."""

    temperature: Annotated[float, ABOVE_0] = 1.0
    """τ, in the units of Q."""

    @property
    def evaluation(self) -> float:
        return 0.0

    formula = Formula("π(a|s) ∝ exp(Q(s, a) / {temperature:g})")

    def epsilon_at(self, step: int) -> None:
        """None: there is no ε."""


@dataclass(frozen=True)
class SquaredError:
    """(y − Q)²: the gradient grows with the error."""

    formula: ClassVar[str] = "(y − Q(s, a))²"
    slope: ClassVar[ErrorSlope] = ErrorSlope(2.0, math.inf)

    def losses(self, errors_N: Tensor) -> Tensor:
        """[N] of y − Q."""
        return value_targets.squared(errors_N)

    def slopes(self, errors_N: Tensor) -> Tensor:
        """[N] their derivatives in Q."""
        return value_targets.squared_slope(errors_N)


@dataclass(frozen=True)
class ClippedError:
    """½ (y − Q)² whose gradient is clipped, so that no single error moves Q far: Huber's loss."""

    limit: Annotated[float, ABOVE_0] = 1.0
    """The largest gradient."""
    formula = Formula("½ (y − Q(s, a))², its gradient clipped to ±{limit:g}")

    @property
    def slope(self) -> ErrorSlope:
        return ErrorSlope(1.0, self.limit)

    def losses(self, errors_N: Tensor) -> Tensor:
        """[N] of y − Q."""
        return value_targets.clipped(errors_N, self.limit)

    def slopes(self, errors_N: Tensor) -> Tensor:
        """[N] their derivatives in Q."""
        return value_targets.clipped_slope(errors_N, self.limit)


@dataclass(frozen=True)
class Layers2013:
    """Images: 16 8x8 stride 4, 32 4x4 stride 2, 256 units (arXiv:1312.5602). Vectors: two layers of ReLU.
    Text: not used, a language model's own outputs are Q."""

    first: Annotated[int, FROM_1] = 64
    """Units of the first hidden layer, for observations that are vectors."""
    second: Annotated[int, FROM_1] = 64
    duelling: bool = False
    """Q(s, a) = V(s) + A(s, a) − mean A(s, ·): two heads on one network (arXiv:1511.06581)."""
    convolutions: ClassVar[tuple[tuple[int, int, int], ...]] = ((16, 8, 4), (32, 4, 2))
    """Channels, width of the kernel, stride."""
    units: ClassVar[int] = 256

    @property
    def hidden(self) -> tuple[int, int]:
        return (self.first, self.second)


@dataclass(frozen=True)
class Layers2015(Layers2013):
    """Images: 32 8x8 stride 4, 64 4x4 stride 2, 64 3x3 stride 1, 512 units (Nature). Vectors: two layers of ReLU.
    Text: not used, a language model's own outputs are Q."""

    convolutions: ClassVar[tuple[tuple[int, int, int], ...]] = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
    units: ClassVar[int] = 512


@dataclass(frozen=True)
class Adam:
    """One Adam update a minibatch, with a bound on the gradient's global norm where one is set."""

    learning_rate: Annotated[float, ABOVE_0] = 1e-4
    beta1: Annotated[float, BELOW_1] = 0.9
    beta2: Annotated[float, BELOW_1] = 0.999
    epsilon: Annotated[float, ABOVE_0] = 1e-8
    max_grad_norm: Annotated[float, ABOVE_0] | None = None
    means: ClassVar[Mapping[str, float]] = AdamW.means

    @property
    def rule(self) -> Rule:
        return Rule(self.beta1, self.beta2, self.epsilon, False, True, 0.0)

    @property
    def formula(self) -> str:
        return f"Adam, learning rate {self.learning_rate:g}{_bound(self.max_grad_norm)}"

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            parameters, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True
        )


@dataclass(frozen=True)
class CentredRMSprop:
    """θ ← θ − rate · g / √(mean of g² − (mean of g)² + ε), as DeepMind trained DQN (Graves 2013, arXiv:1308.0850)."""

    learning_rate: Annotated[float, ABOVE_0] = 2.5e-4
    decay: Annotated[float, BELOW_1] = 0.95
    """Decay of both running means; the paper calls them gradient momentum and squared gradient momentum."""
    epsilon: Annotated[float, ABOVE_0] = 0.01
    """Under the root: the paper's minimum squared gradient."""
    max_grad_norm: Annotated[float, ABOVE_0] | None = None

    @property
    def formula(self) -> str:
        rate = f"{self.learning_rate:g}{_bound(self.max_grad_norm)}"
        return f"centred RMSProp, learning rate {rate}, {self.epsilon:g} under the root"

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return RMSpropUnderRoot(
            parameters, lr=self.learning_rate, decay=self.decay, eps=self.epsilon, first=0.0, centred=True
        )


def _bound(max_grad_norm: float | None) -> str:
    return "" if max_grad_norm is None else f", gradient norm at most {max_grad_norm:g}"


@dataclass(frozen=True)
class Every:
    """A copy of Q makes the targets; it is updated from Q at intervals (doi:10.1038/nature14236)."""

    updates: Annotated[int, FROM_1] = 10_000
    """Updates of Q between two updates of the copy."""
    share: Annotated[float, ABOVE_0_TO_1] = 1.0
    """1: the copy becomes Q; less: it moves this share of the way."""

    @property
    def formula(self) -> str:
        way = "θ⁻ ← θ" if self.share == 1 else f"θ⁻ ← {self.share:g} θ + {1 - self.share:g} θ⁻"
        return f"{way} every {self.updates:,} updates"
