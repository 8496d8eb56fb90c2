"""One update from one rollout, in numbers: an update of a few steps takes less than torch's account of them.

Advantages, targets, the update and what is told of it are three compiled calls. A batch is made only for who looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.methods import PolicyGradient
from rung.models.small.network import SmallPolicy
from rung.trainers.policy_gradient.compiled_epoch import LearnsInEpochs, aim_of, moved
from rung.trainers.trainer import Metrics

_Credit = tuple[float, float] | None


@dataclass(frozen=True)
class InNumbers:
    """What was learnt: the metrics of `Update`, and its batch once somebody asks for it."""

    numbers: Metrics
    rollout: Batch
    learnt: dict[str, Any]
    """By field of a batch, each [N]: what the update added to the rollout."""

    def metrics(self) -> Metrics:
        return self.numbers

    @cached_property
    def batch(self) -> Batch:
        shape = self.rollout.rewards_BT.shape
        fields = {name: torch.from_numpy(found_N).view(shape) for name, found_N in self.learnt.items()}
        return self.rollout.changed(**fields)


class OneUpdate:
    """A learner's updates in numbers, for methods and rollouts that they know. The others go the general way.

    Example: `if (learnt := OneUpdate(learner)(batch, rate)) is None: ...`.
    """

    def __init__(self, learner: LearnsInEpochs) -> None:
        self.learner = learner
        self._asked: tuple[PolicyGradient, int, _Credit] | None = None

    def _credit(self, steps: int) -> _Credit:
        """γ and λ of the method as it is now; it is asked once, because to ask takes longer than an update."""
        method = self.learner.method
        if self._asked is None or self._asked[0] is not method or self._asked[1] != steps:
            self._asked = method, steps, method.in_numbers(steps)
        return self._asked[2]

    def __call__(self, batch: Batch, rate: float) -> InNumbers | None:
        """None where autograd or `CompiledEpochs` must do it, with nothing changed."""
        learner, policy, row = self.learner, self.learner.policy, self.learner.optimized.row
        whole = isinstance(policy, SmallPolicy) and isinstance(batch.contexts, Tensor) and row is not None
        if not whole or learner.ranks.size > 1 or policy.device.type != "cpu" or batch.values_BT is None:
            return None
        count = batch.actions_BT.shape[:2].numel()
        if not count or (credit := self._credit(batch.actions_BT.shape[1])) is None:
            return None
        if not batch.action_mask_BT.numpy().all():
            return None
        from rung.models.small import credit as crediting
        from rung.models.small import passes

        ends = (batch.rewards_BT, batch.values_BT, batch.discounts_BT, batch.bootstrap_BT)
        given = [np.ascontiguousarray(one_BT.numpy(), np.float64) for one_BT in ends]
        advantages_N, targets_N = crediting.credited(*given, batch.cut_BT.contiguous().numpy(), *credit)
        if not np.isfinite(advantages_N.sum()):
            return None  # the general way says what is wrong
        assert isinstance(policy, SmallPolicy) and isinstance(batch.contexts, Tensor)
        choices, alike_N = policy.shape.choices is not None, np.full(count, 1.0 / count)
        actions = batch.actions_BT.numpy()
        steps = passes.Steps(
            observations_NO=np.ascontiguousarray(batch.contexts.numpy(), np.float32).reshape(count, -1),
            choices_N=np.ascontiguousarray(actions, np.int64).reshape(-1) if choices else np.zeros(0, np.int64),
            vectors_NA=np.ascontiguousarray(actions if not choices else np.zeros(0), np.float32).reshape(
                count, policy.shape.dimensions or 0
            ),
            old_log_probs_N=np.zeros(0),
            advantages_N=advantages_N,
            targets_N=targets_N,
            policy_weights_N=alike_N,
            critic_weights_N=alike_N,
        )
        aim, order = aim_of(learner.method, learner.temperature), (np.arange(count), np.array([count]))
        said = moved(learner, steps, order, aim, [rate], (True, True))
        sampled_N = np.ascontiguousarray(batch.sampler_log_probs_BT.numpy()).reshape(-1)
        told = crediting.told(steps, said, given[1].reshape(-1), sampled_N, aim).tolist()
        return InNumbers(_metrics(told, said, rate, batch), batch, _learnt(said, targets_N))


def _learnt(said: Any, targets_N: Any) -> dict[str, Any]:
    return {
        "advantages_BT": said.advantages_N,
        "value_targets_BT": targets_N,
        "old_log_probs_BT": said.log_probs_N,
        "entropy_BT": said.entropy_N,
    }


def _metrics(told: list[float], said: Any, rate: float, batch: Batch) -> Metrics:
    loss, entropy, gap, largest_gap, size, explained = told
    numbers: Metrics = {
        "entropy": entropy,
        "sampler_gap/mean": gap,
        "sampler_gap/max": largest_gap,
        "advantage/size": size,
        "loss": loss,
        "grad/norm": float(said.norms_M[0]),
        "learning_rate": rate,
        **dict.fromkeys(("clip/share", "clip/low", "clip/high")),
        "episodes/trained": float(len(batch)),
        "tokens/trained": float(len(said.log_probs_N)),
    }
    return numbers | ({"critic/explained_variance": explained} if np.isfinite(explained) else {})
