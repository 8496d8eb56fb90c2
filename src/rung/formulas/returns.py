"""Returns and advantages over time: the discounted rewards that followed an action."""

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
    own_first = _OwnFirst(mask_BT)
    rewards_BT, going_BT = own_first(rewards_BT), discount * own_first(discounts_BT)
    cut_BT = own_first(cut_BT)
    bootstrap_BT = zeroed(own_first(bootstrap_BT), cut_BT)
    sums_BT = _accumulated(rewards_BT + going_BT * bootstrap_BT, zeroed(going_BT, ~cut_BT))
    return own_first.back(sums_BT)


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
    own_first = _OwnFirst(mask_BT)
    rewards_BT, values_BT = own_first(rewards_BT), own_first(values_BT)
    going_BT, cut_BT = discount * own_first(discounts_BT), own_first(cut_BT)
    next_BT = torch.where(cut_BT, own_first(bootstrap_BT), _next(values_BT))
    errors_BT = rewards_BT + going_BT * next_BT - values_BT
    return own_first.back(_accumulated(errors_BT, zeroed(going_BT, ~cut_BT) * lambda_B[:, None]))


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
    own_first = _OwnFirst(mask_BT)
    rewards_BT, values_BT = own_first(rewards_BT), own_first(values_BT)
    going_BT, cut_BT, bootstrap_BT = discount * own_first(discounts_BT), own_first(cut_BT), own_first(bootstrap_BT)
    target_BT = values_BT
    for _ in range(steps):
        target_BT = rewards_BT + going_BT * torch.where(cut_BT, bootstrap_BT, _next(target_BT))
    return own_first.back(target_BT - values_BT)


class _OwnFirst:
    """Takes the holes out: a row's own steps move to its front, and 0 stands behind them; `back` puts them back."""

    def __init__(self, mask_BT: Tensor) -> None:
        self.mask_BT = mask_BT
        self.order_BT = None if bool(mask_BT.all()) else torch.argsort(~mask_BT, dim=1, stable=True)

    def __call__(self, values_BT: Tensor) -> Tensor:
        if self.order_BT is None:
            return values_BT
        return zeroed(values_BT, self.mask_BT).gather(1, self.order_BT)

    def back(self, values_BT: Tensor) -> Tensor:
        if self.order_BT is None:
            return values_BT
        return zeroed(torch.zeros_like(values_BT).scatter(1, self.order_BT, values_BT), self.mask_BT)


def _next(values_BT: Tensor) -> Tensor:
    """x_{t+1}, and 0 behind a row's end."""
    return torch.cat([values_BT[:, 1:], torch.zeros_like(values_BT[:, :1])], dim=1)


def _accumulated(terms_BT: Tensor, factors_BT: Tensor) -> Tensor:
    """S_t = x_t + c_t S_{t+1}, by doubling (Hillis and Steele 1986).

    After k rounds S_t holds 2^k terms and c_t the product of their factors: log₂ T operations on whole arrays in place
    of T on single steps. What lies 2^k ahead is added, if it is there; so zeros behind a row's end change no bit.
    """
    length, apart = terms_BT.shape[1], 1
    while apart < length:
        near_BT, far_BT = factors_BT[:, :-apart], terms_BT[:, apart:]
        terms_BT = torch.cat([terms_BT[:, :-apart] + near_BT * far_BT, terms_BT[:, -apart:]], dim=1)
        factors_BT = torch.cat([near_BT * factors_BT[:, apart:], torch.zeros_like(factors_BT[:, -apart:])], dim=1)
        apart *= 2
    return terms_BT
