"""Slopes by hand are autograd's, in all the places where a loss bends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from rung.formulas import policy_losses, slopes, value_losses
from rung.formulas.whitening import whitened

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
    "penalty": lambda logs, rho, a, mask: (
        policy_losses.surrogate(rho, a, mask) + 0.7 * policy_losses.kl_from_old(rho, mask)
    ),
}
BY_HAND = {
    "score": slopes.Slope(),
    "surrogate": slopes.Slope(),
    "clipped": slopes.Slope(0.2, 0.28),
    "penalty": slopes.Slope(kl=0.7),
}


@pytest.mark.parametrize("loss", list(BY_AUTOGRAD))
def test_a_policy_slope_is_autograds(loss: str) -> None:
    log_probs_1N, old_1N, advantages_1N = all_pairs()
    if loss == "score":  # one update alone, so that the ratio is 1
        log_probs_1N = old_1N.clone()
    log_probs_1N.requires_grad_()
    mask_1N = torch.ones_like(advantages_1N, dtype=torch.bool)
    ratio_1N = policy_losses.ratio(log_probs_1N, old_1N, mask_1N)
    BY_AUTOGRAD[loss](log_probs_1N, ratio_1N, advantages_1N, mask_1N).sum().backward()
    assert log_probs_1N.grad is not None
    ratio_N = slopes.own_ratio(log_probs_1N.detach().numpy()[0], old_1N.numpy()[0])
    np.testing.assert_allclose(ratio_N, ratio_1N.detach()[0], rtol=1e-6)
    found_N = slopes.surrogate_slope(ratio_N, advantages_1N.numpy()[0], BY_HAND[loss])
    np.testing.assert_allclose(found_N, log_probs_1N.grad[0], rtol=1e-6, atol=1e-30)


def test_the_clip_takes_the_slope_away_only_where_it_binds() -> None:
    ratio_N, advantages_N = np.array([0.5, 0.5, 1.5, 1.5, 1.0]), np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    assert slopes.surrogate_slope(ratio_N, advantages_N, slopes.Slope(0.2, 0.2)).tolist() == [-0.5, 0, 0, 1.5, -1.0]


def test_the_values_slope_is_autograds() -> None:
    values_1N = torch.tensor([[-1.0, 0.0, 3.0]], requires_grad=True)
    targets_1N = torch.tensor([[2.0, 0.0, -1.0]])
    value_losses.squared_error(values_1N, targets_1N, torch.ones(1, 3, dtype=torch.bool)).sum().backward()
    assert values_1N.grad is not None
    found_N = slopes.squared_error_slope(values_1N.detach().numpy()[0], targets_1N.numpy()[0])
    assert found_N.tolist() == values_1N.grad[0].tolist()


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("values", [[1.0, 3.0, -7.5, 2.0], [0.1, 0.1, 0.1]])
def test_whitened_rows_are_the_whitening(values: list[float], ddof: int, shift: bool) -> None:
    values_1N = torch.tensor([values], dtype=torch.float64)
    all_1N = torch.ones_like(values_1N, dtype=torch.bool)
    expected_1N = whitened(values_1N, all_1N, lambda count: count, shift=shift, epsilon=1e-8, ddof=ddof)
    np.testing.assert_allclose(
        slopes.whitened_rows(values_1N.numpy()[0], shift, 1e-8, ddof), expected_1N[0], rtol=1e-12, atol=1e-15
    )
