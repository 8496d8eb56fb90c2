"""Credit by turn: what an episode of several turns earned in each, and how its turns compare with others.

K is the number of a turn within its episode; a row has its turns from 0 without a gap. `turns_BT` says which turn an
own action is of. All in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rung.formulas.advantages import group_centred, group_normalized
from rung.formulas.masked import same_shape, zeroed


def turn_rewards(rewards_BT: Tensor, turns_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """r_k = ∑ r_t over the turn's own actions, [B,K], and where a row has that turn, bool [B,K].

    >>> turn_rewards(torch.tensor([[1.0, 2.0, 9.0, 4.0]]), torch.tensor([[0, 0, 0, 1]]),
    ...              torch.tensor([[True, True, False, True]]))
    (tensor([[3., 4.]], dtype=torch.float64), tensor([[True, True]]))
    """
    same_shape(rewards_BT, turns_BT, mask_BT)
    most = int(turns_BT.max()) + 1 if turns_BT.numel() else 1
    rewards_BK = rewards_BT.new_zeros((len(rewards_BT), most), dtype=torch.float64)
    rewards_BK.scatter_add_(1, turns_BT, zeroed(rewards_BT, mask_BT).double())
    has_BK = torch.zeros_like(rewards_BK).scatter_add_(1, turns_BT, mask_BT.double()) > 0
    return rewards_BK, has_BK


def turn_to_go(rewards_BK: Tensor, discount: float) -> Tensor:
    """G_k = r_k + γ G_{k+1}: discounted by turns, however many tokens each has. [B,K] -> [B,K].

    >>> turn_to_go(torch.tensor([[1.0, 2.0, 4.0]]), 0.5)
    tensor([[3., 4., 4.]])
    """
    later_B, found = torch.zeros_like(rewards_BK[:, 0]), list[Tensor]()
    for reward_B in reversed(rewards_BK.unbind(1)):
        later_B = reward_B + discount * later_B
        found.append(later_B)
    return torch.stack(found[::-1], 1)


def at_tokens(values_BK: Tensor, turns_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """A turn's value at each of its own actions, 0 elsewhere. [B,K] -> [B,T]."""
    return zeroed(values_BK.gather(1, turns_BT), mask_BT)


def turns_normalized(
    rewards_BK: Tensor, has_BK: Tensor, group_ids_B: Tensor, outcome_weight: float, epsilon: float, ddof: int
) -> Tensor:
    """A_k = Â(r_k) + α Â(r_last) for each turn but the last, and Â(r_last) for that (MT-GRPO, arXiv:2505.11821v1).

    Â is `group_normalized`: of a turn over the turns of the same number of the prompt's other samples, where they are
    not the last; of the outcome, the last turn's reward, over all samples. [B,K].
    """
    numbers_BK = torch.arange(has_BK.shape[1], device=has_BK.device).expand_as(has_BK)
    last_BK = has_BK & (numbers_BK == has_BK.sum(1, keepdim=True) - 1)
    outcomes_B = torch.where(last_BK, rewards_BK, 0.0).sum(1)
    outcome_B = group_normalized(outcomes_B, group_ids_B, has_BK.any(1), epsilon, ddof)
    before_BK = has_BK & ~last_BK
    same_BK = group_ids_B[:, None] * has_BK.shape[1] + numbers_BK
    flat = rewards_BK.flatten(), same_BK.flatten(), before_BK.flatten()
    turn_BK = group_normalized(*flat, epsilon, ddof).reshape(has_BK.shape)
    both_BK = turn_BK + outcome_weight * outcome_B[:, None]
    return torch.where(before_BK, both_BK, torch.where(last_BK, outcome_B[:, None], 0.0))


def states_normalized(
    returns_BK: Tensor, has_BK: Tensor, states_BK: Tensor, epsilon: float, ddof: int, scale: bool = True
) -> Tensor:
    """Â(G_k) over all turns that began in the same state, 0 for a turn that has no equal (GiGPO, arXiv:2505.10978).

    `scale` False leaves the deviation out. [B,K].
    """
    flat = returns_BK.flatten(), states_BK.flatten(), has_BK.flatten()
    found = group_normalized(*flat, epsilon, ddof) if scale else group_centred(*flat)
    return found.reshape(has_BK.shape)
