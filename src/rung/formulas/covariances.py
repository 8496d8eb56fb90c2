"""Token covariances: each token's share of the covariance of advantage and log-probability, which lowers entropy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rung.formulas.masked import same_shape, zeroed


def token_covariance(
    log_probs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, total: Callable[[Tensor], Tensor]
) -> Tensor:
    """c_t = (A_t - mean A) (log π(a_t) - mean log π) (Cui et al. 2025, arXiv:2505.22617). float64 [B,T].

    Means are over all own tokens of the whole batch; `total` sums a number over all processes. The mean of c is the
    covariance itself, which is how fast a policy-gradient step lowers the entropy. 0 where masked.

    >>> log_probs, advantages = torch.tensor([[-1.0, -3.0]]), torch.tensor([[1.0, -1.0]])
    >>> token_covariance(log_probs, advantages, torch.tensor([[True, True]]), lambda count: count)
    tensor([[1., 1.]], dtype=torch.float64)
    """
    same_shape(log_probs_BT, advantages_BT, mask_BT)
    count = total(mask_BT.sum()).clamp(min=1)

    def centred(values_BT: Tensor) -> Tensor:
        exact_BT = zeroed(values_BT, mask_BT).double()
        return zeroed(exact_BT - total(exact_BT.sum()) / count, mask_BT)

    return centred(advantages_BT) * centred(log_probs_BT)


def largest(values_N: Tensor, candidates_N: Tensor, count: int) -> Tensor:
    """bool, of the values' shape: the `count` largest values among the candidates, all of them where there are fewer.

    Of equal values the earlier.

    >>> largest(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([True, True, False]), 1)
    tensor([False,  True, False])
    """
    same_shape(values_N, candidates_N)
    found_N = torch.nonzero(candidates_N.flatten())[:, 0]
    order_N = values_N.flatten()[found_N].argsort(descending=True, stable=True)
    chosen_N = torch.zeros_like(candidates_N).flatten()
    chosen_N[found_N[order_N[:count]]] = True
    return chosen_N.view_as(candidates_N)
