"""Q-learning: the next state's value, the target and the error. N rows, K steps, V actions.

Order of events: reward `r_t` follows action `a_t` taken in `s_t`, and leads to `s_{t+1}`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rung.formulas.masked import same_shape


def chosen(values_NV: Tensor, actions_N: Tensor) -> Tensor:
    """Q(s, a) of the actions that were taken. [N,V], int64 [N] -> [N].

    >>> chosen(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    tensor([2., 3.])
    """
    same_shape(values_NV[:, 0], actions_N)
    return values_NV.gather(1, actions_N[:, None])[:, 0]


def max_value(values_NV: Tensor) -> Tensor:
    """max_a Q(s', a) (Watkins 1989; arXiv:1312.5602, eq. 1). [N,V] -> [N].

    >>> max_value(torch.tensor([[1.0, 2.0], [4.0, 3.0]]))
    tensor([2., 4.])
    """
    return values_NV.amax(1)


def double_value(values_NV: Tensor, judged_NV: Tensor) -> Tensor:
    """Q⁻(s', argmax_a Q(s', a)): one network chooses, the other judges (arXiv:1509.06461, eq. 4). [N,V] -> [N].

    The maximum of noisy estimates is too high on average; this is not, where the two networks' errors are independent.

    >>> double_value(torch.tensor([[1.0, 2.0]]), torch.tensor([[9.0, 5.0]]))
    tensor([5.])
    """
    same_shape(values_NV, judged_NV)
    return chosen(judged_NV, values_NV.argmax(1))


def n_step(rewards_NK: Tensor, discounts_NK: Tensor, cut_NK: Tensor, discount: float) -> tuple[Tensor, Tensor, Tensor]:
    """The first steps of y = r_t + γ r_{t+1} + ... + γᵏ V(s_{t+k}): their return, the factor before V, and k itself.

    k is K, or fewer: an episode that terminated (`discounts_NK` is 0 there) has factor 0, as nothing follows; one that
    was cut after a step (`cut_NK`) is followed by V of the observation that was cut off, with γ to the steps until
    there. What stands behind an end or a cut is not read, NaN included. [N,K] -> ([N], [N], int64 [N]).

    arXiv:1602.01783, section 4.1; truncation after Pardo et al. 2018 (arXiv:1712.00378).

    >>> rewards, no = torch.tensor([[1.0, 2.0, 4.0]]), torch.zeros(1, 3, dtype=torch.bool)
    >>> n_step(rewards, torch.ones(1, 3), no, discount=0.5)
    (tensor([3.]), tensor([0.1250]), tensor([3]))
    >>> n_step(rewards, torch.tensor([[1.0, 0.0, 1.0]]), no, discount=0.5)
    (tensor([2.]), tensor([0.]), tensor([2]))
    >>> n_step(rewards, torch.ones(1, 3), torch.tensor([[True, False, False]]), discount=0.5)
    (tensor([1.]), tensor([0.5000]), tensor([1]))
    """
    same_shape(rewards_NK, discounts_NK, cut_NK)
    if rewards_NK.shape[1] == 1:  # what follows, without the arithmetic: it is asked for at every update
        steps_N = torch.ones(len(rewards_NK), dtype=torch.int64)
        return rewards_NK[:, 0], discount * discounts_NK[:, 0], steps_N
    over_NK = cut_NK | (discounts_NK == 0)
    before_NK = over_NK.long().cumsum(1) - over_NK.long() > 0  # something had ended before this step
    own_NK = ~before_NK
    steps_N = own_NK.sum(1)
    powers_K = discount ** torch.arange(rewards_NK.shape[1] + 1, dtype=rewards_NK.dtype)
    returns_N = (torch.where(own_NK, rewards_NK, torch.zeros_like(rewards_NK)) * powers_K[:-1]).sum(1)
    last_N = discounts_NK.gather(1, steps_N[:, None] - 1)[:, 0]
    return returns_N, last_N * powers_K[steps_N], steps_N


def bootstrapped(returns_N: Tensor, factors_N: Tensor, next_values_N: Tensor) -> Tensor:
    """y = return + factor · V(s'), V not read where the factor is 0 (arXiv:1312.5602, eq. 2). [N] -> [N].

    >>> bootstrapped(torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0]), torch.tensor([4.0, float("nan")]))
    tensor([3., 1.])
    """
    same_shape(returns_N, factors_N, next_values_N)
    return torch.where(factors_N == 0, returns_N, returns_N + factors_N * next_values_N)


def squared(errors_N: Tensor) -> Tensor:
    """δ² of δ = y − Q, whose gradient in Q is −2δ (arXiv:1312.5602, eq. 2). [N] -> [N].

    >>> squared(torch.tensor([3.0, -1.0]))
    tensor([9., 1.])
    """
    return errors_N.square()


def clipped(errors_N: Tensor, limit: float) -> Tensor:
    """½δ² up to the limit, and a straight line beyond it: the gradient is −clip(δ, ±limit). Huber's loss. [N] -> [N].

    Mnih et al. 2015 (doi:10.1038/nature14236), methods: "clip the error term to be between −1 and 1".

    >>> clipped(torch.tensor([0.5, 3.0, -3.0]), limit=1.0)
    tensor([0.1250, 2.5000, 2.5000])
    """
    size_N = errors_N.abs()
    return torch.where(size_N <= limit, 0.5 * errors_N.square(), limit * (size_N - 0.5 * limit))


def squared_slope(errors_N: Tensor) -> Tensor:
    """d δ² / dQ = −2δ: the derivative of `squared`. [N] -> [N].

    >>> squared_slope(torch.tensor([3.0, -1.0]))
    tensor([-6.,  2.])
    """
    return -2 * errors_N


def clipped_slope(errors_N: Tensor, limit: float) -> Tensor:
    """−clip(δ, ±limit): the derivative of `clipped` in Q. [N] -> [N].

    >>> clipped_slope(torch.tensor([0.5, 3.0, -3.0]), limit=1.0)
    tensor([-0.5000, -1.0000,  1.0000])
    """
    return -errors_N.clamp(-limit, limit)


def duelling(value_N: Tensor, advantages_NV: Tensor) -> Tensor:
    """Q(s, a) = V(s) + A(s, a) − mean_a A(s, a) (arXiv:1511.06581, eq. 9). [N], [N,V] -> [N,V].

    >>> duelling(torch.tensor([1.0]), torch.tensor([[3.0, 5.0]]))
    tensor([[0., 2.]])
    """
    same_shape(value_N, advantages_NV[:, 0])
    return value_N[:, None] + advantages_NV - advantages_NV.mean(1, keepdim=True)


def priority(errors_N: Tensor, alpha: float, epsilon: float) -> Tensor:
    """p = (|δ| + ε)^α, in proportion to which a step is drawn again (arXiv:1511.05952, eq. 1). [N] -> [N].

    >>> priority(torch.tensor([-3.0, 0.0]), alpha=0.5, epsilon=1.0)
    tensor([2., 1.])
    """
    return (errors_N.abs() + epsilon) ** alpha


def importance(chances_N: Tensor, size: int, beta: float) -> Tensor:
    """w = (size · P)^−β, divided by the largest of the minibatch (arXiv:1511.05952, section 3.4). [N] -> [N].

    >>> importance(torch.tensor([0.5, 0.125]), size=4, beta=1.0)
    tensor([0.2500, 1.0000])
    """
    weights_N = (size * chances_N) ** -beta
    return weights_N / weights_N.max()
