"""Epochs of a small network's updates, one compiled call each, for methods whose parts have their slopes in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.faults import fault_point
from rung.formulas.slopes import Slope
from rung.methods import PolicyGradient
from rung.methods.parts.protocols import fact
from rung.models.outputs import Outputs
from rung.models.small.network import SmallPolicy, spread
from rung.trainers.optimizer import Optimized, compiled_step, require_finite_update, require_possible
from rung.trainers.policy_gradient.minibatches import minibatches
from rung.trainers.policy_gradient.policy import Policy
from rung.trainers.policy_gradient.record import UpdateRecord
from rung.trainers.ranks import Ranks


class LearnsInEpochs(Protocol):
    """What an epoch needs of the learner."""

    method: PolicyGradient
    policy: Policy
    optimized: Optimized
    optimizer: torch.optim.Optimizer | None
    ranks: Ranks
    temperature: float
    updates: int


class CompiledEpochs:
    """One batch, to be learnt from in as many epochs as are asked for.

    Example: `if (epochs := CompiledEpochs.of(learner, batch)) is not None: epochs.of_critic(4, key)`.
    """

    def __init__(self, learner: LearnsInEpochs, batch: Batch) -> None:
        self.learner, self.batch, self.mask_BT = learner, batch, batch.action_mask_BT
        self._whole = bool(self.mask_BT.all())
        self._own_B = self.mask_BT.sum(1).numpy()
        self._rows_N = np.repeat(np.arange(len(batch)), self._own_B)
        self._starts_B = np.cumsum(self._own_B) - self._own_B

    @staticmethod
    def of(learner: LearnsInEpochs, batch: Batch) -> CompiledEpochs | None:
        """None where autograd must do it: no small network on the CPU, several processes, weights that are no one row,
        observations that are not one tensor, no step to learn from, or parts as `beyond_slopes` names them."""
        policy = learner.policy
        known = (
            isinstance(policy, SmallPolicy)
            and policy.device.type == "cpu"
            and learner.ranks.size == 1
            and learner.optimized.row is not None
            and isinstance(batch.contexts, Tensor)
            and not learner.method.beyond_slopes()
            and bool(batch.action_mask_BT.any())
        )
        return CompiledEpochs(learner, batch) if known else None

    def of_policy(self, key: tuple[int, ...], rates_M: Sequence[float], record: UpdateRecord) -> None:
        """One pass over the batch, an update a minibatch, with the critic where there is one; the record sees it.

        Args:
            key: of the minibatches. rates_M: the learning rates of that many updates.

        Raises:
            NonFiniteError: a gradient is no number; the weights stay as they were before its update.
        """
        method, batch = self.learner.method, self.batch
        chosen = list(minibatches(batch, method.num_minibatches, key))
        order_N, ends_M, alike_N = self._order(chosen)
        weights_BT = critic_BT = spread(torch.from_numpy(alike_N), self.mask_BT)
        if not method.weighs_steps_alike():
            weights_BT = torch.zeros_like(critic_BT)
            for rows_B in chosen:
                weights_BT[rows_B] = method.weights(batch.rows(rows_B), batch.processes.total).to(weights_BT)
        which = (True, method.critic is not None)
        said = self._call((order_N, ends_M), (self._own(weights_BT), alike_N), rates_M, which)
        heard = (said.log_probs_N, said.entropy_N, *([said.values_N] if which[1] else []))
        seen = [spread(torch.from_numpy(one_N), self.mask_BT) for one_N in heard]
        learnt = batch.changed(advantages_BT=spread(torch.from_numpy(said.advantages_N), self.mask_BT))
        outputs = Outputs(*seen, *[None] * (3 - len(seen)))
        record.note(learnt, torch.arange(len(batch)), outputs, (weights_BT, critic_BT), updates=len(chosen))
        record.norms += said.norms_M.tolist()

    def of_critic(self, count: int, key: tuple[int, ...]) -> None:
        """The same of the critic alone, in `count` minibatches."""
        assert self.learner.optimizer is not None
        order_N, ends_M, alike_N = self._order(list(minibatches(self.batch, count, key)))
        rates_M = [float(self.learner.optimizer.param_groups[0]["lr"])] * len(ends_M)
        self._call((order_N, ends_M), (alike_N, alike_N), rates_M, (False, True))

    def _order(self, chosen: Sequence[Tensor]) -> tuple[Any, Any, Any]:
        """The own steps in the order of their use, where each update's end, and each step's weight in the mean over its
        update."""
        rows_B = np.concatenate([one_B.numpy() for one_B in chosen])
        own_B = self._own_B[rows_B]
        within_N = np.arange(own_B.sum()) - np.repeat(np.cumsum(own_B) - own_B, own_B)
        order_N = np.repeat(self._starts_B[rows_B], own_B) + within_N
        ends_M = np.cumsum(own_B)[np.cumsum([len(one_B) for one_B in chosen]) - 1]
        sizes_M = np.diff(ends_M, prepend=0)
        alike_N = np.empty(len(order_N))
        alike_N[order_N] = np.repeat(1.0 / sizes_M, sizes_M)
        return order_N, ends_M, alike_N

    def _own(self, values_BT: Tensor | None, kind: Any = np.float64) -> Any:
        """[N, ...] contiguous; empty where there are none."""
        if values_BT is None:
            return np.zeros(0, kind)
        taken_N = values_BT.flatten(0, 1) if self._whole else values_BT[self.mask_BT]
        return np.ascontiguousarray(taken_N.detach().numpy(), kind)

    @cached_property
    def _steps(self) -> dict[str, Any]:
        """The fields of `passes.Steps` that no epoch changes."""
        batch, policy, count = self.batch, self.learner.policy, len(self._rows_N)
        assert isinstance(policy, SmallPolicy) and isinstance(batch.contexts, Tensor)
        choices = policy.shape.choices is not None
        vectors_NA = np.zeros((count, 0), np.float32) if choices else self._own(batch.actions_BT, np.float32)
        return {
            "observations_NO": self._own(batch.contexts, np.float32).reshape(count, -1),
            "choices_N": self._own(batch.actions_BT if choices else None, np.int64),
            "vectors_NA": vectors_NA,
            "old_log_probs_N": self._own(batch.old_log_probs_BT),
            "advantages_N": self._own(batch.advantages_BT),
            "targets_N": self._own(batch.value_targets_BT),
        }

    def _call(
        self, order: tuple[Any, Any], weights: tuple[Any, Any], rates_M: Sequence[float], which: tuple[bool, bool]
    ) -> Any:
        from rung.models.small import passes

        steps = passes.Steps(**self._steps, policy_weights_N=weights[0], critic_weights_N=weights[1])
        aim = aim_of(self.learner.method, self.learner.temperature, policy=which[0])
        return moved(self.learner, steps, order, aim, rates_M, which)


def aim_of(method: PolicyGradient, temperature: float, *, policy: bool = True) -> Any:
    """What the method minimises, in numbers; `policy`: whether the policy learns."""
    from rung.models.small import passes

    shift, epsilon, ddof = fact(method.whiten, "numbers", (True, 0.0, 0))
    return passes.Aim(
        slope=Slope(*map(float, fact(method.objective, "slope", Slope()))),
        entropy_bonus=float(method.entropy_bonus),
        value_coefficient=float(fact(method.critic, "slope", 0.0)),
        temperature=float(temperature),
        whitens=policy and method.whiten is not None and method.whiten.per_minibatch,
        shift=shift,
        epsilon=float(epsilon),
        ddof=ddof,
    )


def moved(
    learner: LearnsInEpochs,
    steps: Any,
    order: tuple[Any, Any],
    aim: Any,
    rates_M: Sequence[float],
    which: tuple[bool, bool],
) -> Any:
    """The updates of one `passes.epoch`, which is told as it tells it. NonFiniteError as `of_policy`."""
    from rung.models.small import passes

    optimizer, row, policy = learner.optimizer, learner.optimized.row, learner.policy
    assert optimizer is not None and row is not None and isinstance(policy, SmallPolicy)
    require_possible(max(rates_M))
    learner.optimized.clear()
    moves = compiled_step(learner.method.optimizer, optimizer, row, learner.optimized.row_gradient, rates_M)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a norm that is none is looked at below
        said, made = passes.epoch(*policy.networks(which), steps, order, aim, moves, which)
    fault_point("update.backward")
    optimizer.state[row]["step"] += made
    if made < len(rates_M):
        norm = torch.tensor(said.norms_M[made])
        require_finite_update(None, norm, update=learner.updates + made + 1)
    optimizer.param_groups[0]["lr"] = rates_M[-1]
    for _ in range(made):
        fault_point("update.step")
    learner.updates += made if which[0] else 0
    return said
