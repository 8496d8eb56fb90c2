"""Log-ratios of whole sequences, from those of their tokens; [B,T] in, [B,T] out, alike at every token of a row."""

from __future__ import annotations

from torch import Tensor

from rung.formulas.masked import same_shape, zeroed


def log_ratio(log_probs_BT: Tensor, other_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """log π(o)/μ(o) = ∑_t log π(o_t)/μ(o_t).

    >>> import torch
    >>> log_ratio(torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.0, -3.0]]), torch.tensor([[True, True]]))
    tensor([[1., 1.]])
    """
    same_shape(log_probs_BT, other_BT, mask_BT)
    gap_BT = zeroed(log_probs_BT, mask_BT) - zeroed(other_BT, mask_BT)
    return gap_BT.sum(1, keepdim=True).expand_as(gap_BT)


def mean_log_ratio(log_probs_BT: Tensor, other_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """1/|o| log π(o)/μ(o), the logarithm of the ratios' geometric mean; 0 in a row without tokens.

    >>> import torch
    >>> mean_log_ratio(torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.0, -3.0]]), torch.tensor([[True, True]]))
    tensor([[0.5000, 0.5000]])
    """
    return log_ratio(log_probs_BT, other_BT, mask_BT) / mask_BT.sum(1, keepdim=True).clamp(min=1)
