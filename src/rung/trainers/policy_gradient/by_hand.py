"""Gradients by hand: a pass of a small network without autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rung.batch import Batch
from rung.methods import PolicyGradient
from rung.methods.parts.protocols import Critic, fact
from rung.models.outputs import Outputs
from rung.models.small.network import SmallPolicy, spread


def by_hand(
    policy: Any,
    method: PolicyGradient,
    batch: Batch,
    weights: tuple[Tensor, Tensor],
    *,
    temperature: float,
    with_entropy: bool,
) -> Outputs | None:
    """What the policy says of the batch, without a graph; the gradient of the loss is put into its weights' gradients.

    None where autograd must do it: another kind of network, a part of the method whose slope is not known by hand,
    observations that are not one tensor, and what `SmallPolicy.to_learn` leaves to it.

    Args:
        weights: of the objective's losses and of the critic's, [B,T].
    """
    objective, small = method.by_hand(), _small(policy, batch)
    if objective is None or small is None:
        return None
    # A number that is none makes the gradient's norm one, which is looked at before anything is changed.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        given = small.to_learn(batch, temperature=temperature, with_values=method.critic is not None)
        if given is None:
            return None
        own = _Own(batch.action_mask_BT)
        log_probs_N = torch.from_numpy(given.head.log_probs_N)
        old_N = log_probs_N if batch.old_log_probs_BT is None else own(batch.old_log_probs_BT)
        policy_N, critic_N = own(weights[0]), own(weights[1])
        slope_N = policy_N * objective.slope(log_probs_N, old_N, own(batch.advantages_BT))
        entropy_N = -method.entropy_bonus * policy_N if method.entropy_bonus else None
        value_N = values_N = None
        if method.critic is not None:
            values_N = torch.from_numpy(given.values_N)
            value_N = critic_N * method.critic.slope(values_N, own(batch.value_targets_BT))
        given.back(*(None if one_N is None else one_N.float().numpy() for one_N in (slope_N, entropy_N, value_N)))
        return Outputs(
            own.spread(log_probs_N),
            own.spread(torch.from_numpy(given.head.entropy_N)) if with_entropy else None,
            None if values_N is None else own.spread(values_N),
        )


def critic_by_hand(policy: Any, critic: Critic, batch: Batch, weights_BT: Tensor) -> Tensor | None:
    """[B,T] the critic's values alone, without a graph; the gradient of its loss is put into its weights' gradients.

    None where autograd must do it, as in `by_hand`.
    """
    small = _small(policy, batch)
    if small is None or not fact(critic, "has_slope", False):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        given = small.critic_to_learn(batch)
        if given is None:
            return None
        own, values_N = _Own(batch.action_mask_BT), torch.from_numpy(given.out_N[:, 0])
        slope_N = own(weights_BT) * critic.slope(values_N, own(batch.value_targets_BT))
        given.back(slope_N.float().numpy()[:, None])
        return own.spread(values_N)


def _small(policy: Any, batch: Batch) -> SmallPolicy | None:
    """The policy, where it is a small network and its observations are one tensor."""
    return policy if isinstance(policy, SmallPolicy) and isinstance(batch.contexts, Tensor) else None


class _Own:
    """[B,T] to the own steps' [N], and back."""

    def __init__(self, mask_BT: Tensor) -> None:
        self.mask_BT, self.whole = mask_BT, bool(mask_BT.all())

    def __call__(self, values_BT: Tensor | None) -> Tensor:
        assert values_BT is not None
        return values_BT.reshape(-1) if self.whole else values_BT[self.mask_BT]

    def spread(self, values_N: Tensor) -> Tensor:
        return spread(values_N, self.mask_BT)
