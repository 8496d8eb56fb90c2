"""From rewards to returns: what followed an action, discounted."""

from __future__ import annotations

import torch
from torch import Tensor

from rung.formulas.masked import same_shape, zeroed


def reward_to_go(
    rewards_BT: Tensor,
    discounts_BT: Tensor,
    cut_BT: Tensor,
    bootstrap_BT: Tensor,
    mask_BT: Tensor,
    discount: float,
) -> Tensor:
    """G_t = r_t + γ d_t (G_{t+1}, or the bootstrap value where the episode was cut).

    d_t is 0 where the episode truly ended. Holes are skipped: the result equals computing on the sequence with the
    holes taken out, and is 0 in them. A row that simply stops bootstraps only where `cut_BT` says so, else from 0.

    Sutton and Barto 2018, eq. 3.9; truncation after Pardo et al. 2018 (arXiv:1712.00378). All [B,T] -> [B,T].

    >>> one = torch.ones(1, 3)
    >>> end = torch.tensor([[1.0, 1.0, 0.0]])
    >>> no = torch.zeros(1, 3, dtype=torch.bool)
    >>> reward_to_go(one, end, no, one * 0, ~no, discount=0.5)
    tensor([[1.7500, 1.5000, 1.0000]])
    """
    same_shape(rewards_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT)
    rewards_BT = zeroed(rewards_BT, mask_BT)
    discounts_BT = zeroed(discounts_BT, mask_BT)
    cut_BT = cut_BT & mask_BT
    bootstrap_BT = zeroed(bootstrap_BT, cut_BT)
    steps: list[Tensor] = []
    following_B = torch.zeros_like(rewards_BT[:, 0]) if rewards_BT.shape[1] else rewards_BT.new_zeros(0)
    for t in reversed(range(rewards_BT.shape[1])):
        next_B = torch.where(cut_BT[:, t], bootstrap_BT[:, t], following_B)
        here_B = rewards_BT[:, t] + discount * discounts_BT[:, t] * next_B
        following_B = torch.where(mask_BT[:, t], here_B, following_B)
        steps.append(here_B)
    if not steps:
        return rewards_BT
    return zeroed(torch.stack(steps[::-1], dim=1), mask_BT)
