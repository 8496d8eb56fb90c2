"""Whitening: centring and scaling by all real steps of a batch. The caller sums over all processes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rung.formulas.masked import same_shape, zeroed


def whitened(
    values_BT: Tensor, mask_BT: Tensor, total: Callable[[Tensor], Tensor], *, shift: bool, epsilon: float, ddof: int
) -> Tensor:
    """(x - mean) / (std + ε) over the masked-in entries of the whole batch; with `shift` False the mean is put back.

    `total` sums a number over all processes. Where all entries are equal there is nothing to scale: the result is 0
    (the mean itself with `shift` False). Taken in float64. [B,T] -> [B,T], 0 where masked.

    >>> x, all = torch.tensor([[1.0, 3.0]]), torch.tensor([[True, True]])
    >>> whitened(x, all, lambda count: count, shift=True, epsilon=0.0, ddof=0)
    tensor([[-1.,  1.]])
    """
    same_shape(values_BT, mask_BT)
    exact_BT = zeroed(values_BT, mask_BT).double()
    count = float(total(mask_BT.sum()))
    mean = float(total(exact_BT.sum())) / max(count, 1.0)
    centred_BT = zeroed(exact_BT - mean, mask_BT)
    variance = float(total(centred_BT.square().sum())) / max(count - ddof, 1.0)
    flat = variance <= (mean * 1e-12) ** 2
    scaled_BT = torch.zeros_like(centred_BT) if flat else centred_BT / (math.sqrt(variance) + epsilon)
    if not shift:
        scaled_BT = zeroed(scaled_BT + mean, mask_BT)
    return scaled_BT.to(values_BT.dtype)
