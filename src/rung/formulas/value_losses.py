"""The critic's losses, one value a step. To be minimised; [B,T] in, [B,T] out, 0 where masked."""

from __future__ import annotations

import torch
from torch import Tensor

from rung.formulas.masked import same_shape, zeroed


def squared_error(values_BT: Tensor, targets_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """½ (V - target)².

    >>> squared_error(torch.tensor([[1.0]]), torch.tensor([[3.0]]), torch.tensor([[True]]))
    tensor([[2.]])
    """
    same_shape(values_BT, targets_BT, mask_BT)
    return (zeroed(values_BT, mask_BT) - zeroed(targets_BT, mask_BT)).square() / 2


def explained_variance(values_BT: Tensor, targets_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """1 - Var(target - V) / Var(target): 1 when the critic is right, 0 when a constant would do as well. [].

    NaN where the targets are all equal: there is nothing to explain.

    >>> explained_variance(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 3.0]]), torch.tensor([[True, True]]))
    tensor(0.7500)
    """
    same_shape(values_BT, targets_BT, mask_BT)
    targets_N, errors_N = targets_BT[mask_BT], (targets_BT - values_BT)[mask_BT]
    return 1 - errors_N.var(correction=0) / targets_N.var(correction=0)


def clipped_squared_error(
    values_BT: Tensor, old_values_BT: Tensor, targets_BT: Tensor, mask_BT: Tensor, clip: float
) -> Tensor:
    """½ max((V - target)², (V_old + clip(V - V_old, ±clip) - target)²): PPO's released code, not its paper.

    Once V has moved further than `clip` from V_old towards the target, it is no longer pulled.

    >>> mask = torch.tensor([[True]])
    >>> clipped_squared_error(torch.tensor([[1.0]]), torch.tensor([[0.0]]), torch.tensor([[3.0]]), mask, clip=0.5)
    tensor([[3.1250]])
    """
    same_shape(values_BT, old_values_BT, targets_BT, mask_BT)
    old_BT = zeroed(old_values_BT, mask_BT)
    moved_BT = (zeroed(values_BT, mask_BT) - old_BT).clamp(-clip, clip)
    near_BT = squared_error(old_BT + moved_BT, targets_BT, mask_BT)
    return torch.maximum(squared_error(values_BT, targets_BT, mask_BT), near_BT)
