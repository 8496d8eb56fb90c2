"""Slopes by hand are autograd's, in all the places where a loss bends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rung.formulas import policy_losses, slopes, value_losses

LOG_RATIOS = [-90.0, -1.0, -0.3, -0.05, 0.0, 0.05, 0.3, 1.0, 5.0, 79.0, 81.0]
ADVANTAGES = [-2.0, -0.5, 0.0, 0.5, 2.0]
OLD = torch.tensor([-1.25])


def all_pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Log-probs, the old ones and advantages: every log ratio with every advantage, [1,N]."""
    pairs = torch.cartesian_prod(torch.tensor(LOG_RATIOS), torch.tensor(ADVANTAGES))
    old_1N = OLD.expand(1, len(pairs))
    return (old_1N + pairs[:, 0]).contiguous(), old_1N.contiguous(), pairs[:, 1][None].contiguous()


Losses = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
BY_AUTOGRAD: dict[str, Losses] = {
    "score": lambda logs, rho, a, mask: policy_losses.score_function(logs, a, mask),
    "surrogate": lambda logs, rho, a, mask: policy_losses.surrogate(rho, a, mask),
    "clipped": lambda logs, rho, a, mask: policy_losses.clipped_surrogate(rho, a, mask, 0.2, 0.28),
    "kl": lambda logs, rho, a, mask: policy_losses.kl_from_old(rho, mask),
}
BY_HAND: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "score": lambda rho, a: slopes.score_function_slope(a),
    "surrogate": slopes.surrogate_slope,
    "clipped": lambda rho, a: slopes.clipped_surrogate_slope(rho, a, 0.2, 0.28),
    "kl": lambda rho, a: slopes.kl_from_old_slope(rho),
}


@pytest.mark.parametrize("loss", list(BY_AUTOGRAD))
def test_a_policy_slope_is_autograds(loss: str) -> None:
    log_probs_1N, old_1N, advantages_1N = all_pairs()
    log_probs_1N.requires_grad_()
    mask_1N = torch.ones_like(advantages_1N, dtype=torch.bool)
    ratio_1N = policy_losses.ratio(log_probs_1N, old_1N, mask_1N)
    BY_AUTOGRAD[loss](log_probs_1N, ratio_1N, advantages_1N, mask_1N).sum().backward()
    assert log_probs_1N.grad is not None
    ratio_N = slopes.own_ratio(log_probs_1N.detach()[0], old_1N[0])
    torch.testing.assert_close(ratio_N, ratio_1N.detach()[0], rtol=1e-6, atol=0)
    found_N = BY_HAND[loss](ratio_N, advantages_1N[0])
    torch.testing.assert_close(found_N, log_probs_1N.grad[0], rtol=1e-6, atol=1e-30)


def test_the_clip_takes_the_slope_away_only_where_it_binds() -> None:
    ratio_N, advantages_N = torch.tensor([0.5, 0.5, 1.5, 1.5, 1.0]), torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    assert slopes.clipped_surrogate_slope(ratio_N, advantages_N, 0.2, 0.2).tolist() == [-0.5, 0.0, 0.0, 1.5, -1.0]


def test_the_values_slope_is_autograds() -> None:
    values_1N = torch.tensor([[-1.0, 0.0, 3.0]], requires_grad=True)
    targets_1N = torch.tensor([[2.0, 0.0, -1.0]])
    value_losses.squared_error(values_1N, targets_1N, torch.ones(1, 3, dtype=torch.bool)).sum().backward()
    assert values_1N.grad is not None
    assert torch.equal(slopes.squared_error_slope(values_1N.detach()[0], targets_1N[0]), values_1N.grad[0])
