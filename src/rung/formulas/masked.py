"""Masked sums and means: they skip what the policy did not choose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_ZERO = torch.zeros(())
"""One number of no dimension takes on any floating type beside it; made once, because making it takes longer than the
sum that it stands in."""


def same_shape(*arrays: Tensor) -> None:
    """Every array has the first one's shape; formulas never broadcast."""
    shape = arrays[0].shape
    for array in arrays:
        if array.shape != shape:
            raise ValueError(f"shapes differ: got {[tuple(a.shape) for a in arrays]}, expected all alike")


def zeroed(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """x where the mask is True, exactly 0 elsewhere, whatever stood there (NaN included).

    >>> zeroed(torch.tensor([[1.0, float("nan")]]), torch.tensor([[True, False]]))
    tensor([[1., 0.]])
    """
    same_shape(values_BT, mask_BT)
    return torch.where(mask_BT, values_BT, _ZERO if values_BT.is_floating_point() else values_BT.new_zeros(()))


def masked_mean(values_BT: Tensor, mask_BT: Tensor, total: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """∑ m x / ∑ m over the whole array; NaN when nothing is selected (a mean of nothing is not 0).

    `total` sums a number over all processes; None: the array is all there is.
    """
    sums = zeroed(values_BT, mask_BT).sum(), mask_BT.sum()
    top, count = sums if total is None else (total(one) for one in sums)
    return top / count


def last_step(mask_BT: Tensor) -> Tensor:
    """bool [B,T]: True at each row's last own action, False everywhere in a row that has none.

    >>> last_step(torch.tensor([[True, False, True, False]]))
    tensor([[False, False,  True, False]])
    """
    later = mask_BT.flip(1).cumsum(1).flip(1)
    return mask_BT & (later == 1)
