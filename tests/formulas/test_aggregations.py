from __future__ import annotations

import pytest
import torch
from hypothesis import given
from masked_arrays import FEW, masks
from torch import Tensor

from rung.formulas.aggregations import constant_length, group_token_mean, sequence_mean, sequence_sum, token_mean


def all_weights(mask_BT: Tensor) -> dict[str, Tensor]:
    """Every aggregation of one batch whose rows are all of one group."""
    tokens, sequences = mask_BT.sum(), mask_BT.any(1).sum()
    one = (sequences > 0).long()
    return {
        "token": token_mean(mask_BT, tokens),
        "sequence": sequence_mean(mask_BT, sequences),
        "sum": sequence_sum(mask_BT, sequences),
        "constant": constant_length(mask_BT, sequences, length=5),
        "group": group_token_mean(mask_BT, tokens.expand(mask_BT.shape[0]), one),
    }


@FEW
@given(mask_BT=masks())
def test_weights_by_definition(mask_BT: Tensor) -> None:
    found = all_weights(mask_BT)
    lengths = mask_BT.sum(1).tolist()
    tokens, sequences = sum(lengths), sum(length > 0 for length in lengths)
    for row, length in enumerate(lengths):
        for t, chosen in enumerate(mask_BT[row].tolist()):
            expected = {"token": 0.0, "sequence": 0.0, "sum": 0.0, "constant": 0.0, "group": 0.0}
            if chosen:
                expected = {
                    "token": 1 / tokens,
                    "sequence": 1 / sequences / length,
                    "sum": 1 / sequences,
                    "constant": 1 / sequences / 5,
                    "group": 1 / tokens,
                }
            assert {name: float(weights_BT[row, t]) for name, weights_BT in found.items()} == pytest.approx(expected)


@FEW
@given(mask_BT=masks())
def test_means_sum_to_one_and_nothing_sums_to_zero(mask_BT: Tensor) -> None:
    found = all_weights(mask_BT)
    whole = 1.0 if mask_BT.any() else 0.0
    for name in ("token", "sequence", "group"):
        assert float(found[name].sum()) == pytest.approx(whole)
    assert all(bool(weights_BT.isfinite().all()) for weights_BT in found.values())
    assert all(weights_BT.dtype == torch.float64 for weights_BT in found.values())


@FEW
@given(mask_BT=masks())
def test_padding_changes_nothing(mask_BT: Tensor) -> None:
    padding = torch.zeros(mask_BT.shape[0], 3, dtype=torch.bool)
    for name, weights_BT in all_weights(mask_BT).items():
        right = all_weights(torch.cat([mask_BT, padding], 1))[name]
        left = all_weights(torch.cat([padding, mask_BT], 1))[name]
        assert torch.equal(right[:, :-3], weights_BT) and torch.equal(left[:, 3:], weights_BT)
        empty_rows = torch.cat([mask_BT, torch.zeros_like(mask_BT)])
        assert torch.equal(all_weights(empty_rows)[name][: len(mask_BT)], weights_BT)


def test_a_longer_answer_changes_the_sequence_mean_and_not_the_constant_one() -> None:
    short = torch.tensor([[True, True, False, False], [True, False, False, False]])
    long = torch.tensor([[True, True, True, True], [True, False, False, False]])
    before, after = all_weights(short), all_weights(long)
    assert float(before["sequence"][0, 0]) == 1 / 4 and float(after["sequence"][0, 0]) == 1 / 8
    assert float(before["token"][0, 0]) == 1 / 3 and float(after["token"][0, 0]) == 1 / 5
    assert torch.equal(before["sequence"][1], after["sequence"][1])
    for name in ("constant", "sum"):
        assert float(before[name][0, 0]) == float(after[name][0, 0])


def test_counts_of_a_larger_batch_are_the_callers() -> None:
    mask_BT = torch.ones(1, 2, dtype=torch.bool)
    assert token_mean(mask_BT, torch.tensor(8)).tolist() == [[1 / 8, 1 / 8]]
    assert sequence_mean(mask_BT, torch.tensor(4)).tolist() == [[1 / 8, 1 / 8]]


def test_nothing_at_all() -> None:
    for shape in ((0, 3), (2, 0), (2, 3)):
        for weights_BT in all_weights(torch.zeros(shape, dtype=torch.bool)).values():
            assert weights_BT.shape == shape and float(weights_BT.sum()) == 0
