"""Small policies and batches for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rung.batch import Batch
from rung.models.small.network import SmallPolicy, SmallShape

CHOICE = SmallShape(observations=3, choices=4)
VECTOR = SmallShape(observations=3, dimensions=2)
SHAPES = pytest.mark.parametrize("shape", [CHOICE, VECTOR], ids=["choice", "vector"])


def loud(shape: SmallShape, seed: int = 0) -> SmallPolicy:
    """A policy whose distribution depends strongly on the state."""
    policy = SmallPolicy(shape, seed=seed)
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return policy


def batch_of(
    shape: SmallShape, mask: list[list[bool]] | None = None, junk: float = 0.0, as_tuple: bool = False
) -> Batch:
    generator = torch.Generator().manual_seed(7)
    mask_BT = torch.ones(2, 5, dtype=torch.bool) if mask is None else torch.tensor(mask)
    observations_BTO = torch.randn(2, 5, 3, generator=generator)
    if shape.choices:
        actions_BT = torch.randint(0, 4, (2, 5), generator=generator)
        actions_BT[~mask_BT] = -7 if junk else 0
    else:
        actions_BT = torch.randn(2, 5, 2, generator=generator)
        actions_BT[~mask_BT] = junk
    observations_BTO[~mask_BT] = junk
    nothing_BT = torch.full((2, 5), torch.nan)
    contexts: Any = tuple(observations_BTO) if as_tuple else observations_BTO
    return Batch(
        contexts=contexts,
        actions_BT=actions_BT,
        action_mask_BT=mask_BT,
        sampler_log_probs_BT=nothing_BT,
        rewards_BT=nothing_BT,
        discounts_BT=nothing_BT,
        cut_BT=torch.zeros(2, 5, dtype=torch.bool),
        bootstrap_BT=nothing_BT,
        group_ids_B=torch.arange(2),
        scores_B=torch.zeros(2),
        truncated_B=torch.zeros(2, dtype=torch.bool),
    )


HOLES = [[True, False, True, True, False], [False, True, True, False, False]]
