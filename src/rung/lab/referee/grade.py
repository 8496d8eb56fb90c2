"""The grade of an estimator: how what it climbs, on average, stands to the true gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rung.batch import Batch
from rung.lab.referee.adapters.talk import loss_of
from rung.lab.referee.estimates import Comparison, compare, expected_gradient
from rung.lab.referee.world import Tree, expected_return, gradient, random_world
from rung.methods.parts.advantages import OthersInGroup


def numbers_of(batch: Batch, log_probs_BT: Tensor) -> dict[str, Any]:
    """A batch by the names that a loss asks for (`adapters.talk.MEANINGS`); 0 wherever nothing was drawn."""
    mask_BT = batch.action_mask_BT
    assert batch.old_log_probs_BT is not None and batch.reference_log_probs_BT is not None
    returns_B, lengths_B = batch.returns_B(), mask_BT.sum(1)
    advantages_B = returns_B - OthersInGroup()(returns_B, batch)

    def zeroed(values_BT: Tensor) -> Tensor:
        return torch.where(mask_BT, values_BT, torch.zeros_like(values_BT))

    return {
        "log_probs": zeroed(log_probs_BT),
        "old_log_probs": zeroed(batch.old_log_probs_BT),
        "sampler_log_probs": zeroed(batch.sampler_log_probs_BT),
        "reference_log_probs": zeroed(batch.reference_log_probs_BT),
        "advantages": zeroed(advantages_B[:, None].expand_as(batch.rewards_BT)),
        "sequence_advantages": advantages_B,
        "rewards": returns_B,
        "token_rewards": zeroed(batch.rewards_BT),
        "groups": batch.group_ids_B,
        "mask": mask_BT,
        "actions": torch.where(mask_BT, batch.actions_BT, 0),
        "lengths": lengths_B,
        "truncated": batch.truncated_B,
        "num_tokens": int(mask_BT.sum()),
        "num_sequences": len(batch),
        "samples_per_prompt": int(batch.group_ids_B.bincount().max()),
    }


def grade(
    estimator: Callable[..., Any], *, samples: int = 2, seed: int = 0, tree: Tree | None = None, rewards: str = "final"
) -> Comparison:
    """How the expected gradient of an estimator stands to the true gradient of the expected return.

    Args:
        estimator: `loss(log_probs, advantages, mask, ...) -> scalar` or `(rewards, groups) -> advantages`, whose
            arguments are given by their names; `adapters.talk.MEANINGS` lists them.
        samples: of each prompt.
        seed: of the policy and its rewards.
        rewards: `final`, `binary`, or `dense` (a reward at every step).

    Raises ValueError: it asks for what there is not, or returns what is neither a loss nor advantages.

    >>> def plain(rewards, groups):
    ...     return rewards
    >>> round(grade(plain).ratio, 9), round(grade(plain).cosine, 9)
    (1.0, 1.0)
    """
    world = random_world(seed, tree=tree, rewards=rewards)

    def loss(batch: Batch, log_probs_BT: Tensor, key: tuple[int, ...]) -> Tensor:
        return loss_of(estimator, numbers_of(batch, log_probs_BT)).double()

    return compare(expected_gradient(loss, world, samples), gradient(expected_return, world))
