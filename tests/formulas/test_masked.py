from __future__ import annotations

import pytest
import torch
from hypothesis import given
from masked_arrays import FEW, JUNK, masks, normal, with_junk

from rung.formulas.masked import last_step, masked_mean, same_shape, zeroed


def test_same_shape_names_the_shapes_and_never_broadcasts() -> None:
    same_shape(torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"\(2, 3\), \(2, 1\)"):
        same_shape(torch.zeros(2, 3), torch.zeros(2, 1))


@FEW
@given(mask_BT=masks())
def test_mean_is_that_of_the_chosen_values(mask_BT: torch.Tensor) -> None:
    values_BT = normal(0, tuple(mask_BT.shape))
    for junk in JUNK:
        found = masked_mean(with_junk(values_BT, mask_BT, junk), mask_BT)
        if mask_BT.any():
            assert float(found) == pytest.approx(float(values_BT[mask_BT].mean()), abs=1e-12)
        else:
            assert found.isnan()


@FEW
@given(mask_BT=masks())
def test_zeroed_is_exactly_zero_and_passes_no_gradient_where_masked(mask_BT: torch.Tensor) -> None:
    for junk in JUNK:
        values_BT = with_junk(normal(0, tuple(mask_BT.shape)), mask_BT, junk).requires_grad_()
        result_BT = zeroed(values_BT, mask_BT)
        assert bool((result_BT[~mask_BT] == 0).all())
        assert torch.equal(result_BT[mask_BT], values_BT[mask_BT])
        (gradient_BT,) = torch.autograd.grad(result_BT.sum(), values_BT)
        assert torch.equal(gradient_BT, mask_BT.double())


@FEW
@given(mask_BT=masks())
def test_last_step_is_the_last_chosen_one(mask_BT: torch.Tensor) -> None:
    last_BT = last_step(mask_BT)
    for mask_T, last_T in zip(mask_BT.tolist(), last_BT.tolist(), strict=True):
        expected = [False] * len(mask_T)
        if any(mask_T):
            expected[max(t for t, chosen in enumerate(mask_T) if chosen)] = True
        assert last_T == expected


def test_last_step_of_nothing() -> None:
    assert last_step(torch.zeros(0, 3, dtype=torch.bool)).shape == (0, 3)
    assert last_step(torch.zeros(2, 0, dtype=torch.bool)).shape == (2, 0)
