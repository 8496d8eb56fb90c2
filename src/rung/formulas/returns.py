"""From rewards to returns and advantages over time: what followed an action, discounted."""

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


def gae(
    rewards_BT: Tensor,
    values_BT: Tensor,
    discounts_BT: Tensor,
    cut_BT: Tensor,
    bootstrap_BT: Tensor,
    mask_BT: Tensor,
    discount: float,
    lambda_B: Tensor,
) -> Tensor:
    """A_t = δ_t + γλ d_t A_{t+1} with δ_t = r_t + γ d_t V_{t+1} - V_t (arXiv:1506.02438, eq. 16).

    d_t is 0 where the episode truly ended. At a cut, and where a row simply stops, V_{t+1} is the bootstrap value
    (0 where `cut_BT` is False) and nothing of a later step is added. Holes are skipped as if they were taken out.
    `lambda_B` [B] is one λ a row, because VAPO's depends on the row's length; the others [B,T] -> [B,T].

    >>> one, no = torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool)
    >>> gae(one, one * 0.5, torch.tensor([[1.0, 0.0]]), no, one * 0, ~no, 1.0, torch.tensor([1.0]))
    tensor([[1.5000, 0.5000]])
    """
    same_shape(rewards_BT, values_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT)
    same_shape(lambda_B, rewards_BT.sum(1))
    rewards_BT, values_BT = zeroed(rewards_BT, mask_BT), zeroed(values_BT, mask_BT)
    discounts_BT = zeroed(discounts_BT, mask_BT)
    cut_BT = cut_BT & mask_BT
    bootstrap_BT = zeroed(bootstrap_BT, cut_BT)
    advantages_BT = torch.zeros_like(rewards_BT)
    value_B = torch.zeros_like(lambda_B, dtype=rewards_BT.dtype)
    advantage_B = torch.zeros_like(value_B)
    for t in reversed(range(rewards_BT.shape[1])):
        going_B = discount * discounts_BT[:, t]
        next_B = torch.where(cut_BT[:, t], bootstrap_BT[:, t], value_B)
        after_B = torch.where(cut_BT[:, t], torch.zeros_like(advantage_B), advantage_B)
        here_B = rewards_BT[:, t] + going_B * next_B - values_BT[:, t] + going_B * lambda_B * after_B
        own_B = mask_BT[:, t]
        advantages_BT[:, t] = torch.where(own_B, here_B, advantages_BT[:, t])
        advantage_B = torch.where(own_B, here_B, advantage_B)
        value_B = torch.where(own_B, values_BT[:, t], value_B)
    return advantages_BT


def n_step(
    rewards_BT: Tensor,
    values_BT: Tensor,
    discounts_BT: Tensor,
    cut_BT: Tensor,
    bootstrap_BT: Tensor,
    mask_BT: Tensor,
    discount: float,
    steps: int,
) -> Tensor:
    """A_t = r_t + γ r_{t+1} + ... + γⁿ V_{t+n} - V_t (arXiv:1602.01783, section 4), shorter where the episode is.

    With n at least as long as the row it is `gae` with λ = 1, with n = 1 it is `gae` with λ = 0. [B,T] -> [B,T].

    >>> one, no = torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.bool)
    >>> n_step(one, one * 0.5, torch.tensor([[1.0, 1.0, 0.0]]), no, one * 0, ~no, 1.0, 2)
    tensor([[2.0000, 1.5000, 0.5000]])
    """
    same_shape(rewards_BT, values_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT)
    if steps < 1:
        raise ValueError(f"steps: got {steps}, expected at least 1")
    cut_BT = cut_BT & mask_BT
    bootstrap_BT = zeroed(bootstrap_BT, cut_BT)
    rewards_BT, values_BT = zeroed(rewards_BT, mask_BT), zeroed(values_BT, mask_BT)
    going_BT = discount * zeroed(discounts_BT, mask_BT)
    following_BT = _next_own(mask_BT)
    last_BT = following_BT < 0
    target_BT = values_BT
    for _ in range(steps):
        ahead_BT = target_BT.gather(1, following_BT.clamp(min=0))
        ahead_BT = torch.where(cut_BT, bootstrap_BT, torch.where(last_BT, torch.zeros_like(ahead_BT), ahead_BT))
        target_BT = rewards_BT + going_BT * ahead_BT
    return zeroed(target_BT - values_BT, mask_BT)


def _next_own(mask_BT: Tensor) -> Tensor:
    """int64 [B,T]: where each step's next own step stands, -1 when there is none."""
    following_BT = torch.full(mask_BT.shape, -1, dtype=torch.int64, device=mask_BT.device)
    next_B = following_BT[:, 0].clone() if mask_BT.shape[1] else following_BT.new_zeros(0)
    for t in reversed(range(mask_BT.shape[1])):
        following_BT[:, t] = next_B
        next_B = torch.where(mask_BT[:, t], torch.full_like(next_B, t), next_B)
    return following_BT
