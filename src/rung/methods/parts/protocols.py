"""The slots' protocols: what a frozen dataclass must have to fill each slot of a method.

Beside what its protocol asks, a part may state **facts**, attributes or methods that have a default where they are
missing (`fact`). Of a part in any slot of a PolicyGradient:

    formula: str                what it computes, in one line; else its class name is shown
    needs_old_log_probs = True  the rollout's log-probs come before the first update, in `batch.old_log_probs_BT`
    needs_teacher = True        a teacher's log-probs come too, in `batch.teacher_log_probs_BT`
    measured(after)             -> numbers by metric name, taken after the updates of a rollout (`AfterUpdates`)
    adapted(measured)           -> the part for the next rollout, from all that was measured and `episodes`

Facts of one slot alone stand with its protocol. A part that compares rows of different groups asks `batch.processes`
for sums and values over all of them: a run may hold some rows in another process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from rung.batch import Batch

Total = Callable[[Tensor], Tensor]
"""Sums a count over all processes of the run; the identity in one process."""
Fact = TypeVar("Fact")


def fact(part: object, name: str, default: Fact) -> Fact:
    """A fact that a part declares; the default where it declares none, or the slot is empty.

    >>> fact(None, "needs_teacher", False)
    False
    """
    return getattr(part, name, default)


def stated_beside(part: object, name: str, beside: str) -> Any:
    """A fact about one of a part's functions; None where a class of its own has another such function and does not
    say that the fact still holds.

    Example: `stated_beside(objective, "slope", "losses")` is None for a subclass that has `losses` of its own alone.
    """
    for kind in type(part).__mro__:
        if name in vars(kind):
            return getattr(part, name)
        if beside in vars(kind):
            return None
    return None


class Formula:
    """A part's formula with the part's own numbers: `formula = Formula("1/(N·{length}) ∑_i ∑_t")`.

    Written like an f-string; in the class it is one line, on a part it is text.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __get__(self, part: object, cls: type[object]) -> str:
        return self.text if part is None else self.text.format_map(vars(part))


def formula_of(part: object) -> str:
    """The part's formula; its class name where it has none."""
    return fact(part, "formula", type(part).__name__)


class AfterUpdates(Protocol):
    """A rollout after its updates, from which parts measure what they adapt to. Example: `KLPenalty.measured`."""

    @property
    def batch(self) -> Batch:
        """As it was learnt from."""
        ...

    @property
    def log_probs_BT(self) -> Tensor:
        """Of the batch under the updated policy: one pass more, made when it is first asked for."""
        ...


class Advantage(Protocol):
    """Advantage estimator: [B,T] from the batch, after rewards were shaped.

    Facts: `needs_group = True`, it compares the samples of one prompt; `needs_critic = True`, it reads `values_BT`;
    `value_targets(batch)` -> [B,T], the critic's targets where they are not advantage + value; `learns_from_others =
    True`, right for answers that another model gave; `least_samples`, samples of a prompt that it needs;
    `reads_reward_parts = True`, it reads the rewards one by one, as the judge gave them; `needs_right_answers = True`,
    episodes are right or wrong; `needs_step_scores = True`, a reward judges the steps of an answer; `credit(steps)` ->
    γ and λ of the GAE that it is in rows of so many steps, or None.
    """

    def __call__(self, batch: Batch) -> Tensor: ...


class Baseline(Protocol):
    """Baseline: [B], taken off each episode's return. Facts: `needs_group`; `needs_others = True`, it compares with the
    step's other episodes."""

    def __call__(self, returns_B: Tensor, batch: Batch) -> Tensor: ...


class Objective(Protocol):
    """Policy objective: the [B,T] loss of each token, from the batch (with `advantages_BT`) and current log-probs.

    Facts: `uses_ratio = True`, it corrects for samples of an older policy, so a rollout may have many updates, before
    which its log-probs are taken; `chosen(batch, log_probs_BT, total, key)` -> bool [B,T], tokens picked among all of
    an update's, in `batch.chosen_BT`; `chooses_by_entropy = True`, for that the policy's entropy stands in
    `batch.entropy_BT`; `zero_without_advantage = True`, no gradient where the advantage is 0, so such rows need no
    pass; `diagnostics(batch, log_probs_BT)` -> bool [B,T] by metric name; `ratio_to_sampler = True`, its ratio is to
    the sampler's log-probs; `to_teacher(log_probs_NV, teacher_NV)` -> [N], it compares the whole distribution at each
    token with a teacher's, and what comes of it stands in `batch.divergence_BT`; `unbounded = True`, it leaves the
    bound on the ratio to a trust-region step; `learns_from_others`, as Advantage's; `slope`, the numbers of its
    derivative (`formulas.slopes.Slope`), with which small networks learn without autograd; `scores = True`, it is
    −A log π(a).
    """

    def __call__(self, batch: Batch, log_probs_BT: Tensor) -> Tensor: ...


class Divergence(Protocol):
    """Divergence of the policy's distribution from a teacher's: [N] from the log-probs [N, V] of both."""

    def __call__(self, log_probs_NV: Tensor, teacher_NV: Tensor) -> Tensor: ...


class Aggregation(Protocol):
    """Aggregation: the [B,T] weights with which the tokens' losses are summed, from the whole batch.

    Fact: `mean_over_steps = True`, every step weighs the same, so the steps of an environment may be learnt apart.
    """

    def __call__(self, batch: Batch, total: Total) -> Tensor: ...


class Whitening(Protocol):
    """Whitening: advantages [B,T] brought to one scale.

    Fact: `numbers`, whether the mean is taken off, ε and the degrees of freedom, where `slopes.whitened_rows` is it.
    """

    @property
    def per_minibatch(self) -> bool: ...
    def __call__(self, values_BT: Tensor, mask_BT: Tensor, total: Total) -> Tensor: ...


class Imitation(Protocol):
    """Imitation: the [B,T] weights with which log-probs are raised beside the objective, from the whole update."""

    def __call__(self, batch: Batch, total: Total) -> Tensor: ...


class GroupFilter(Protocol):
    """Group filter: whether a prompt is kept, from the accuracies of its samples."""

    @property
    def refill(self) -> bool: ...
    @property
    def most_batches(self) -> int: ...
    def __call__(self, accuracies: Sequence[float]) -> bool: ...


class RewardShaping(Protocol):
    """Reward shaping: the [B,T] rewards that are learnt from."""

    def __call__(self, batch: Batch) -> Tensor: ...


class RowFilter(Protocol):
    """Row filter: the batch without rows that are not to be learnt from; it comes after the advantage."""

    def __call__(self, batch: Batch) -> Batch: ...


class Correction(Protocol):
    """Sampler correction: [B,T] factors of the loss that make up for the gap between learner and sampler.

    Fact: `of_current = True`, it is given the policy's log-probs in this update, not those before the rollout's first.
    """

    def __call__(self, batch: Batch, old_BT: Tensor) -> Tensor: ...


class Critic(Protocol):
    """Critic: the [B,T] loss of its values, with its coefficient; `separate`: a network of its own.

    Facts: `warmup_steps`, steps in which it learns alone; `slope`, the weight of (V - target) in its derivative, where
    that is all.
    """

    @property
    def separate(self) -> bool: ...
    def loss(self, batch: Batch, values_BT: Tensor) -> Tensor: ...


class Estimator(Protocol):
    """KL estimator: [B,T] from the log-probs of both policies."""

    def __call__(self, log_probs_BT: Tensor, reference_BT: Tensor) -> Tensor: ...


class ReferenceKL(Protocol):
    """Reference KL: what keeps the policy near a reference, in the rewards, in the advantages or in the loss.

    Facts: `in_loss = False`, its loss is always 0; `refresh_every`, steps after which the policy becomes the reference.
    """

    def rewards(self, batch: Batch) -> Tensor: ...
    def advantages(self, batch: Batch, advantages_BT: Tensor) -> Tensor: ...
    def loss(self, batch: Batch, log_probs_BT: Tensor) -> Tensor: ...


class Optimizer(Protocol):
    """Optimizer: how a gradient becomes an update.

    Facts: `anneal = True`, the rate falls to 0 over the run; `updates_allowed`, updates of a rollout at most;
    `trust_region = True`, the policy takes natural-gradient steps, as `NaturalGradient`, and all else is the
    critic's; `rule`, its equation in numbers (`formulas.optimizer_steps.Rule`), with `means`, the names of the running
    means in the state of what `build` gives and what they begin at.
    """

    @property
    def learning_rate(self) -> float: ...
    @property
    def max_grad_norm(self) -> float: ...
    def learning_rate_at(self, update: int, progress: float = 0.0) -> float: ...
    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer: ...


class GradientOptimizer(Optimizer, Protocol):
    """Optimizer of a preference loss: one step a gradient, never a trust region."""


class PreferenceLoss(Protocol):
    """Preference loss: one number a pair [M], or an answer [B] where `paired` is false.

    `reads`: `LOG_PROBS` of the answers, or a reward model's `SCORES`. Fact: `inside`, what its formula's letters mean.
    """

    reads: ClassVar[str]
    has_reference: ClassVar[bool]
    paired: ClassVar[bool]

    def __call__(self, answers: Any) -> Tensor: ...


class ValueTarget(Protocol):
    """Value target: the number that Q moves to. `asks_twice`: the network being trained sees the next states too.

    Fact: `best = True`, `next_values` is the judging network's value of the best action, which that network chooses
    or, where it is asked, the one being trained.
    """

    asks_twice: ClassVar[bool]

    @property
    def discount(self) -> float: ...
    @property
    def steps(self) -> int: ...
    def formula(self, copy: bool) -> str: ...
    def next_values(self, values_NV: Tensor | None, judged_NV: Tensor) -> Tensor: ...


class Replay(Protocol):
    """Replay: the past steps that are kept and how they are drawn.

    Fact: `weighted = True`, steps are drawn by `priorities(errors_N)` and count by `weights(chances_N, size, update)`.
    """

    @property
    def capacity(self) -> int: ...
    @property
    def starts(self) -> int: ...
    @property
    def batch(self) -> int: ...


class WeightedReplay(Protocol):
    """A replay with `weighted = True`."""

    def priorities(self, errors_N: Tensor) -> Tensor: ...
    def weights(self, chances_N: Tensor, size: int, update: int) -> Tensor: ...


class Exploration(Protocol):
    """Exploration: how an action is drawn from Q: the best one but for ε, or by a Boltzmann distribution.

    Fact: `end`, the ε that it stays at, for the words of a plan.
    """

    @property
    def temperature(self) -> float | None:
        """Of the Boltzmann distribution; None: the best action, but for ε."""
        ...

    @property
    def evaluation(self) -> float:
        """ε when the policy is scored."""
        ...

    def epsilon_at(self, step: int) -> float | None: ...


class TDError(Protocol):
    """TD error: the loss of y − Q, and its derivative in Q.

    Fact: `slope`, the numbers of that derivative (`formulas.slopes.ErrorSlope`).
    """

    def losses(self, errors_N: Tensor) -> Tensor: ...
    def slopes(self, errors_N: Tensor) -> Tensor: ...


class TargetNetwork(Protocol):
    """Target network: how often the copy of Q that makes the targets follows, and how far."""

    @property
    def updates(self) -> int: ...
    @property
    def share(self) -> float: ...


class QLayers(Protocol):
    """Layers of the Q network: for images and for vectors."""

    convolutions: ClassVar[tuple[tuple[int, int, int], ...]]
    units: ClassVar[int]

    @property
    def duelling(self) -> bool: ...
    @property
    def hidden(self) -> tuple[int, int]: ...


class QOptimizer(Protocol):
    """Optimizer of Q."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def max_grad_norm(self) -> float | None: ...
    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer: ...


class Queries(Protocol):
    """Queries: which pairs of segments a learned reward asks about. Of `candidates` pairs for each question, drawn at
    random, those of the highest `worth` are asked: [N] from the returns that P predictors give to both segments, [P,N].
    """

    @property
    def candidates(self) -> int: ...
    def worth(self, first_PN: Tensor, second_PN: Tensor) -> Tensor: ...


class Actor(Protocol):
    """Actor of a box: `tables`, what is kept of each box.

    Fact: `reads_critic = False`, it learns at a failure, from whole lifetimes, and has the numbers of Lifetimes. Else
    it learns at every time step, from r̂, and has those of SearchElement.
    """

    tables: ClassVar[tuple[str, ...]]
