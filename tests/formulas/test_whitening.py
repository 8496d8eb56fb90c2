from __future__ import annotations

import pytest
import torch
from hypothesis import given
from masked_arrays import FEW, JUNK, masks, normal, with_junk

from rung.formulas.value_losses import clipped_squared_error, explained_variance, squared_error
from rung.formulas.whitening import whitened


def one(count: torch.Tensor) -> torch.Tensor:
    return count


@pytest.mark.parametrize("junk", JUNK)
@FEW
@given(mask_BT=masks())
def test_only_real_steps_count(junk: float, mask_BT: torch.Tensor) -> None:
    x_BT = normal(1, tuple(mask_BT.shape))
    found_BT = whitened(with_junk(x_BT, mask_BT, junk), mask_BT, one, shift=True, epsilon=0.0, ddof=0)
    own = x_BT[mask_BT]
    if len(own) > 1:
        torch.testing.assert_close(found_BT[mask_BT], (own - own.mean()) / own.std(correction=0))
    assert bool((found_BT[~mask_BT] == 0).all())


def test_twice_the_padding_changes_nothing() -> None:
    x_BT, mask_BT = normal(0, (3, 4)), torch.ones(3, 4, dtype=torch.bool)
    wide = torch.nn.functional.pad(x_BT, (0, 4), value=7.0), torch.nn.functional.pad(mask_BT, (0, 4))
    kept = whitened(*wide, one, shift=False, epsilon=1e-8, ddof=1)[:, :4]
    torch.testing.assert_close(kept, whitened(x_BT, mask_BT, one, shift=False, epsilon=1e-8, ddof=1))
    assert float(kept.mean()) == pytest.approx(float(x_BT.mean()))


def test_equal_values_become_exactly_0() -> None:
    mask_BT = torch.tensor([[True, True, False]])
    x_BT = torch.tensor([[0.3, 0.3, 9.0]])
    assert whitened(x_BT, mask_BT, one, shift=True, epsilon=0.0, ddof=0).tolist() == [[0.0, 0.0, 0.0]]


def test_two_processes_whiten_as_one() -> None:
    x_BT, mask_BT = normal(2, (4, 5)), torch.ones(4, 5, dtype=torch.bool)
    whole = whitened(x_BT, mask_BT, one, shift=True, epsilon=1e-8, ddof=0)
    sums = [
        torch.tensor(20),
        x_BT.sum(),
        (x_BT - x_BT.mean()).square().sum(),
    ]
    for rows in (slice(0, 1), slice(1, 4)):
        given_sums = iter(sums)
        found = whitened(
            x_BT[rows], mask_BT[rows], lambda _, totals=given_sums: next(totals), shift=True, epsilon=1e-8, ddof=0
        )
        torch.testing.assert_close(found, whole[rows])


def test_a_clipped_value_that_moved_too_far_is_no_longer_pulled() -> None:
    values = torch.tensor([[1.0, 0.2]], requires_grad=True)
    old, targets, mask = torch.zeros(1, 2), torch.tensor([[3.0, 3.0]]), torch.ones(1, 2, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(clipped_squared_error(values, old, targets, mask, clip=0.5).sum(), values)
    assert gradient.tolist() == [[0.0, pytest.approx(-2.8)]]
    (plain,) = torch.autograd.grad(squared_error(values, targets, mask).sum(), values)
    assert plain.tolist() == [[pytest.approx(-2.0), pytest.approx(-2.8)]]


def test_explained_variance() -> None:
    targets, mask = torch.tensor([[1.0, 2.0, 3.0, 99.0]]), torch.tensor([[True, True, True, False]])
    assert float(explained_variance(targets, targets, mask)) == 1.0
    assert float(explained_variance(torch.full_like(targets, 2.0), targets, mask)) == 0.0
    assert float(explained_variance(-targets, targets, mask)) < 0
