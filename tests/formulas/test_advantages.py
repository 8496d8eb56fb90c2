from __future__ import annotations

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masked_arrays import FEW, JUNK, normal
from torch import Tensor

from rung.formulas.advantages import (
    group_centred,
    group_count,
    group_differs,
    group_normalized,
    group_size,
    group_sum,
    leave_one_out,
    right_answers,
)

FORMULAS = (group_centred, group_normalized, leave_one_out)
LEVELS = st.sampled_from([0.0, 0.1, 0.3, 1.0, -2.5])


@st.composite
def samples(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Returns, group ids and counted rows: groups of different size, shuffled together, some rows excluded."""
    size = draw(st.integers(1, 12))
    returns_B = torch.tensor(draw(st.lists(LEVELS, min_size=size, max_size=size)), dtype=torch.float64)
    group_ids_B = torch.tensor(draw(st.lists(st.sampled_from([-3, 0, 7, 10**12]), min_size=size, max_size=size)))
    counted_B = torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    return returns_B, group_ids_B, counted_B


def groups_of(returns_B: Tensor, group_ids_B: Tensor, counted_B: Tensor) -> dict[int, list[float]]:
    groups: dict[int, list[float]] = {}
    for value, group, counted in zip(returns_B.tolist(), group_ids_B.tolist(), counted_B.tolist(), strict=True):
        if counted:
            groups.setdefault(group, []).append(value)
    return groups


@FEW
@given(sample=samples())
def test_advantages_by_definition(sample) -> None:
    returns_B, group_ids_B, counted_B = sample
    groups = groups_of(*sample)
    found = [formula(*sample).tolist() for formula in FORMULAS]
    wider = group_normalized(*sample, epsilon=0.5, ddof=1).tolist()
    for row, (value, group) in enumerate(zip(returns_B.tolist(), group_ids_B.tolist(), strict=True)):
        peers = groups.get(group, [])
        if not counted_B[row] or len(set(peers)) < 2:
            assert [f[row] for f in found] == [0, 0, 0] and wider[row] == 0
            continue
        mean = statistics.fmean(peers)
        assert found[0][row] == pytest.approx(value - mean, abs=1e-12)
        assert found[1][row] == pytest.approx((value - mean) / (statistics.pstdev(peers) + 1e-6), abs=1e-9)
        others = (sum(peers) - value) / (len(peers) - 1)
        assert found[2][row] == pytest.approx(value - others, abs=1e-12)
        assert wider[row] == pytest.approx((value - mean) / (statistics.stdev(peers) + 0.5), abs=1e-9)


@FEW
@given(sample=samples())
def test_sums_sizes_and_differences_by_definition(sample) -> None:
    groups = groups_of(*sample)
    ids = sample[1].tolist()
    assert group_sum(*sample).tolist() == pytest.approx([sum(groups.get(group, [])) for group in ids])
    assert group_size(*sample[1:]).tolist() == [len(groups.get(group, [])) for group in ids]
    assert group_differs(*sample).tolist() == [len(set(groups.get(group, []))) > 1 for group in ids]
    assert group_count(*sample[1:]) == len(groups)


@FEW
@given(sample=samples(), order_seed=st.integers(0, 100))
def test_shuffled_rows_have_the_same_advantages(sample, order_seed: int) -> None:
    order = normal(order_seed, (len(sample[0]),)).argsort()
    for formula in FORMULAS:
        torch.testing.assert_close(formula(*(x[order] for x in sample)), formula(*sample)[order], rtol=0, atol=1e-12)


@FEW
@given(sample=samples())
def test_excluded_rows_are_as_if_they_were_not_there(sample) -> None:
    returns_B, _, counted_B = sample
    for formula in FORMULAS:
        kept = formula(*(x[counted_B] for x in sample))
        for junk in JUNK:
            found = formula(torch.where(counted_B, returns_B, junk), *sample[1:])
            assert bool((found[~counted_B] == 0).all())
            torch.testing.assert_close(found[counted_B], kept, rtol=0, atol=1e-12)


@FEW
@given(
    value=st.floats(-1e6, 1e6, width=32), size=st.integers(1, 9), dtype=st.sampled_from([torch.float32, torch.float64])
)
def test_equal_rewards_give_exactly_zero(value: float, size: int, dtype: torch.dtype) -> None:
    returns_B = torch.full((size,), value, dtype=dtype)
    together_B = torch.zeros(size, dtype=torch.int64)
    for formula in FORMULAS:
        assert formula(returns_B, together_B, torch.ones(size, dtype=torch.bool)).tolist() == [0] * size


def test_a_tenth_three_times_gives_exactly_zero() -> None:
    """0.1 + 0.1 + 0.1 is not 3 · 0.1, and their mean is not 0.1."""
    tenths_B = torch.tensor([0.1, 0.1, 0.1], dtype=torch.float64)
    assert float(tenths_B.sum() / 3 - tenths_B[0]) != 0
    for formula in FORMULAS:
        assert formula(tenths_B, torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.bool)).tolist() == [
            0,
            0,
            0,
        ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [1e-45, 1e-30, 1e-9, 1e-7, 1e-3, 1e30])
@pytest.mark.parametrize("base", [0.0, 1.0, 1e6])
def test_near_equal_rewards_give_bounded_advantages(base: float, gap: float, dtype: torch.dtype) -> None:
    """At most (G-1)/√G with the sample deviation and √(G-1) with the population's, however small the gap."""
    returns_B = torch.tensor([base, base, base, base + gap], dtype=torch.float64).to(dtype)
    rest = (torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool))
    for epsilon in (0.0, 1e-6):
        for ddof, bound in ((0, 3**0.5), (1, 1.5)):
            found_B = group_normalized(returns_B, *rest, epsilon, ddof)
            assert bool(found_B.isfinite().all()) and float(found_B.abs().max()) <= bound * (1 + 1e-6)
            assert float(found_B.sum()) == pytest.approx(0, abs=1e-5)
    assert bool(leave_one_out(returns_B, *rest).isfinite().all())


def test_rewards_as_large_as_float32_holds_are_not_turned_into_zero() -> None:
    returns_B = torch.tensor([3e38, -3e38, 0.0, 0.0])
    found_B = group_normalized(returns_B, torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool))
    assert found_B.tolist() == pytest.approx([2**0.5, -(2**0.5), 0, 0], abs=1e-6)


def test_groups_of_different_spread_are_normalised_each_by_its_own() -> None:
    returns_B = torch.tensor([0.0, 1.0, 0.0, 100.0], dtype=torch.float64)
    ids_B, counted_B = torch.tensor([1, 1, 2, 2]), torch.ones(4, dtype=torch.bool)
    assert group_normalized(returns_B, ids_B, counted_B, epsilon=0.0).tolist() == pytest.approx([-1, 1, -1, 1])


def test_leave_one_out_is_centring_by_g_over_g_minus_one() -> None:
    returns_B = normal(0, (6,))
    ids_B, counted_B = torch.tensor([1, 1, 1, 1, 2, 2]), torch.ones(6, dtype=torch.bool)
    size_B = torch.tensor([4, 4, 4, 4, 2, 2])
    expected_B = group_centred(returns_B, ids_B, counted_B) * size_B / (size_B - 1)
    torch.testing.assert_close(leave_one_out(returns_B, ids_B, counted_B), expected_B)


def test_a_group_of_one_and_an_empty_batch() -> None:
    for formula in FORMULAS:
        assert formula(torch.tensor([5.0]), torch.tensor([3]), torch.tensor([True])).tolist() == [0]
        nothing = (torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool))
        assert formula(*nothing).shape == (0,)
    assert group_count(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool)) == 0


def test_results_keep_the_type_of_the_returns() -> None:
    for dtype in (torch.float32, torch.float64):
        for formula in FORMULAS:
            found = formula(torch.tensor([0, 1], dtype=dtype), torch.tensor([0, 0]), torch.tensor([True, True]))
            assert found.dtype == dtype


def test_shapes_are_checked() -> None:
    for formula in FORMULAS:
        with pytest.raises(ValueError, match="shapes differ"):
            formula(torch.zeros(4), torch.zeros(4, dtype=torch.int64), torch.ones(2, 2, dtype=torch.bool))


def test_right_is_an_accuracy_of_one_among_those_that_count() -> None:
    scores_B = torch.tensor([1.0, 0.999, 0.0, torch.nan, torch.nan, 1.0, 2.0])
    counted_B = torch.tensor([True, True, True, True, False, False, True])
    found_B = right_answers(scores_B, counted_B)
    assert found_B.tolist() == [1, 0, 0, 0, 0, 0, 1] and found_B.dtype == torch.float64
    with pytest.raises(ValueError, match="shapes differ"):
        right_answers(torch.zeros(4), torch.ones(2, 2, dtype=torch.bool))
