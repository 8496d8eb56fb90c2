from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masked_arrays import FEW, JUNK, compacted, masks, normal, value_and_gradients, with_junk
from torch import Tensor

from rung.formulas.policy_losses import (
    clip_binds,
    clipped_surrogate,
    clipped_weight,
    dual_clipped,
    kl_from_old,
    ratio,
    score_function,
    sequence_ratio,
    surrogate,
)

CLIPPED = partial(clipped_surrogate, low=0.2, high=0.28)
TOKEN_FORMULAS = {
    "score_function": score_function,
    "ratio": ratio,
    "clipped_surrogate": CLIPPED,
    "surrogate": surrogate,
    "dual_clipped": partial(dual_clipped, low=0.2, high=0.28, bound=3.0),
    "sequence_ratio": sequence_ratio,
    "clipped_weight": lambda log_probs_BT, advantages_BT, mask_BT: clipped_weight(
        ratio(log_probs_BT, log_probs_BT.detach() * 0.5, mask_BT), log_probs_BT, advantages_BT, mask_BT, 2.0
    ),
}
ONE_WHERE_MASKED = ("ratio", "sequence_ratio")


def whole_loss(log_probs_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return CLIPPED(ratio(log_probs_BT, old_BT, mask_BT), advantages_BT, mask_BT)


def arrays_for(mask_BT: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    first_BT, second_BT = normal(seed, (2, *mask_BT.shape))
    return first_BT.abs() + 0.1, second_BT


@pytest.mark.parametrize("name", TOKEN_FORMULAS)
@FEW
@given(mask_BT=masks())
def test_holes_equal_the_compacted_row(name: str, mask_BT: Tensor) -> None:
    formula, arrays = TOKEN_FORMULAS[name], arrays_for(mask_BT)
    found_BT = formula(*arrays, mask_BT)
    assert bool((found_BT[~mask_BT] == (1 if name in ONE_WHERE_MASKED else 0)).all())
    for row in range(mask_BT.shape[0]):
        own = [compacted(array, mask_BT, row) for array in arrays]
        compact_1K = formula(*own, torch.ones(own[0].shape, dtype=torch.bool))
        torch.testing.assert_close(found_BT[row][mask_BT[row]][None], compact_1K, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", TOKEN_FORMULAS)
@pytest.mark.parametrize("junk", JUNK)
@FEW
@given(mask_BT=masks())
def test_masked_slots_change_neither_value_nor_gradient(junk: float, name: str, mask_BT: Tensor) -> None:
    formula, arrays = TOKEN_FORMULAS[name], arrays_for(mask_BT)
    clean, clean_gradients = value_and_gradients(formula, arrays, mask_BT)
    spoilt, spoilt_gradients = value_and_gradients(formula, [with_junk(a, mask_BT, junk) for a in arrays], mask_BT)
    assert torch.equal(clean, spoilt)
    for one, other in zip(clean_gradients, spoilt_gradients, strict=True):
        assert torch.equal(one, other) and bool((other[~mask_BT] == 0).all())


@pytest.mark.parametrize("junk", JUNK)
@FEW
@given(mask_BT=masks())
def test_masked_slots_do_not_bind_a_clip(junk: float, mask_BT: Tensor) -> None:
    arrays = arrays_for(mask_BT)
    clean = clip_binds(*arrays, mask_BT, low=0.2, high=0.28)
    spoilt = clip_binds(*(with_junk(a, mask_BT, junk) for a in arrays), mask_BT, low=0.2, high=0.28)
    for one, other in zip(clean, spoilt, strict=True):
        assert torch.equal(one, other) and not bool(other[~mask_BT].any())


def test_closed_forms() -> None:
    mask_BT = torch.ones(1, 4, dtype=torch.bool)
    ratio_BT = torch.tensor([[1.5, 1.5, 0.5, 0.5]], dtype=torch.float64)
    advantages_BT = torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
    expected = [[-1.28, 1.5, -0.5, 0.8]]
    torch.testing.assert_close(CLIPPED(ratio_BT, advantages_BT, mask_BT).tolist(), expected)
    assert score_function(ratio_BT, advantages_BT, mask_BT).tolist() == [[-1.5, 1.5, -0.5, 0.5]]
    found = ratio(ratio_BT.log(), torch.zeros_like(ratio_BT), mask_BT)
    torch.testing.assert_close(found, ratio_BT, rtol=1e-14, atol=0)


@FEW
@given(mask_BT=masks(), seed=st.integers(0, 1000))
def test_gradients_agree_with_finite_differences(mask_BT: Tensor, seed: int) -> None:
    log_probs_BT, old_BT = normal(seed, (2, *mask_BT.shape)) * 0.4
    advantages_BT = normal(seed + 1, tuple(mask_BT.shape))
    log_ratio_BT = log_probs_BT - old_BT
    for edge in (0.8, 1.28):  # a difference taken across a corner means nothing
        near_BT = (log_ratio_BT.exp() - edge).abs() < 1e-3
        log_probs_BT = torch.where(near_BT, log_probs_BT + 0.01, log_probs_BT)
    assert torch.autograd.gradcheck(
        lambda x: whole_loss(x, old_BT, advantages_BT, mask_BT), log_probs_BT.requires_grad_()
    )
    assert torch.autograd.gradcheck(lambda x: score_function(x, advantages_BT, mask_BT), log_probs_BT)


@FEW
@given(mask_BT=masks(), seed=st.integers(0, 1000))
def test_a_clip_binds_exactly_where_the_gradient_is_gone(mask_BT: Tensor, seed: int) -> None:
    log_probs_BT, old_BT = normal(seed, (2, *mask_BT.shape)) * 0.4
    advantages_BT = normal(seed + 1, tuple(mask_BT.shape)).round(decimals=0)
    log_probs_BT.requires_grad_()
    (gradient_BT,) = torch.autograd.grad(whole_loss(log_probs_BT, old_BT, advantages_BT, mask_BT).sum(), log_probs_BT)
    ratio_BT = ratio(log_probs_BT, old_BT, mask_BT).detach()
    low_BT, high_BT = clip_binds(ratio_BT, advantages_BT, mask_BT, low=0.2, high=0.28)
    assert not bool((low_BT & high_BT).any())
    assert torch.equal(low_BT | high_BT, mask_BT & (gradient_BT == 0) & (advantages_BT != 0))
    assert bool((advantages_BT[low_BT] < 0).all()) and bool((advantages_BT[high_BT] > 0).all())


def test_on_the_bound_itself_the_gradient_is_whole() -> None:
    mask_BT = torch.ones(1, 2, dtype=torch.bool)
    ratio_BT = torch.tensor([[1.28, 0.8]], dtype=torch.float64, requires_grad=True)
    advantages_BT = torch.tensor([[2.0, -2.0]], dtype=torch.float64)
    (gradient_BT,) = torch.autograd.grad(CLIPPED(ratio_BT, advantages_BT, mask_BT).sum(), ratio_BT)
    assert gradient_BT.tolist() == [[-2.0, 2.0]]
    assert not any(bool(binds.any()) for binds in clip_binds(ratio_BT, advantages_BT, mask_BT, low=0.2, high=0.28))


def test_at_ratio_one_the_gradient_is_the_score_functions() -> None:
    mask_BT = torch.ones(3, 4, dtype=torch.bool)
    log_probs_BT, advantages_BT = normal(0, (2, 3, 4))
    log_probs_BT.requires_grad_()
    clipped = whole_loss(log_probs_BT, log_probs_BT.detach(), advantages_BT, mask_BT)
    assert torch.equal(clipped.detach(), -advantages_BT)
    plain = score_function(log_probs_BT, advantages_BT, mask_BT)
    (clipped_gradient_BT,) = torch.autograd.grad(clipped.sum(), log_probs_BT)
    (plain_gradient_BT,) = torch.autograd.grad(plain.sum(), log_probs_BT)
    assert torch.equal(clipped_gradient_BT, plain_gradient_BT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_enormous_log_ratios(dtype: torch.dtype) -> None:
    """±1e4: where a clip binds the gradient is exactly 0, not 0 · ∞; where none does it stays enormous and is seen. The
    fourth has no clip: its ratio is the smallest there is, e^-80."""
    log_probs_BT = torch.tensor([[1e4, 1e4, 1e4, -1e4, -1e4]], dtype=dtype, requires_grad=True)
    advantages_BT = torch.tensor([[1.0, 0.0, -1.0, 1.0, -1.0]], dtype=dtype)
    mask_BT = torch.ones(1, 5, dtype=torch.bool)
    loss_BT = whole_loss(log_probs_BT, torch.zeros(1, 5, dtype=dtype), advantages_BT, mask_BT)
    (gradient_BT,) = torch.autograd.grad(loss_BT.sum(), log_probs_BT)
    losses, gradients = loss_BT.tolist()[0], gradient_BT.tolist()[0]
    assert losses[:2] + losses[3:] == pytest.approx([-1.28, 0, 0, 0.8])
    assert gradients[:2] + gradients[4:] == [0, 0, 0]
    assert gradients[3] == pytest.approx(-math.exp(-80))
    assert losses[2] > 1e34 and gradients[2] > 1e34


def test_the_smallest_ratio_keeps_the_penaltys_gradient_finite() -> None:
    """-log ρ of a ρ that fell to 0 would be infinite, and so its gradient; e^-80 still says how far away it is."""
    log_probs_BT, mask_BT = torch.tensor([[-1e4, -79.0]], requires_grad=True), torch.ones(1, 2, dtype=torch.bool)
    kl_BT = kl_from_old(ratio(log_probs_BT, torch.zeros(1, 2), mask_BT), mask_BT)
    assert kl_BT.tolist()[0] == pytest.approx([79.0, 78.0])
    assert torch.autograd.grad(kl_BT.sum(), log_probs_BT)[0].tolist()[0] == pytest.approx([-1.0, -1.0])


def test_shapes_are_checked() -> None:
    wrong = (torch.zeros(2, 3), torch.zeros(2, 1), torch.ones(2, 3, dtype=torch.bool))
    for formula in (*TOKEN_FORMULAS.values(), partial(clip_binds, low=0.2, high=0.2)):
        with pytest.raises(ValueError, match="shapes differ"):
            formula(*wrong)


def test_a_sequences_ratio_is_the_geometric_mean_of_its_tokens() -> None:
    log_probs_BT, old_BT = normal(0, (2, 3, 5))
    mask_BT = torch.ones(3, 5, dtype=torch.bool)
    tokens_BT = ratio(log_probs_BT, old_BT, mask_BT)
    geometric_B1 = tokens_BT.prod(1, keepdim=True) ** (1 / 5)
    torch.testing.assert_close(sequence_ratio(log_probs_BT, old_BT, mask_BT), geometric_B1.expand(3, 5))


def test_a_dual_clip_bounds_the_loss_where_the_advantage_is_negative_and_nowhere_else() -> None:
    ratio_BT, mask_BT = torch.tensor([[9.0, 9.0, 0.5]]), torch.ones(1, 3, dtype=torch.bool)
    advantages_BT = torch.tensor([[-1.0, 1.0, -1.0]])
    found = dual_clipped(ratio_BT, advantages_BT, mask_BT, 0.2, 0.2, 3.0)
    torch.testing.assert_close(found, torch.tensor([[3.0, -1.2, 0.8]]))
    plain = clipped_surrogate(ratio_BT, advantages_BT, mask_BT, 0.2, 0.2)
    torch.testing.assert_close(plain, torch.tensor([[9.0, -1.2, 0.8]]))


def test_a_clipped_weight_keeps_every_tokens_gradient() -> None:
    log_probs_BT = torch.tensor([[-0.1, -2.0]], requires_grad=True)
    old_BT, mask_BT = torch.tensor([[-3.0, -2.0]]), torch.ones(1, 2, dtype=torch.bool)
    ratio_BT = ratio(log_probs_BT, old_BT, mask_BT)
    advantages_BT = torch.ones(1, 2)
    (kept,) = torch.autograd.grad(
        clipped_weight(ratio_BT, log_probs_BT, advantages_BT, mask_BT, 5.0).sum(), log_probs_BT, retain_graph=True
    )
    (lost,) = torch.autograd.grad(clipped_surrogate(ratio_BT, advantages_BT, mask_BT, 0.2, 0.2).sum(), log_probs_BT)
    assert kept.tolist() == [[-5.0, -1.0]] and lost[0, 0] == 0


def test_the_old_policys_kl_is_unbiased_in_value_and_gradient() -> None:
    old_V = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    logits_V = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    log_probs_V = logits_V.log_softmax(0)
    mask = torch.ones(1, 3, dtype=torch.bool)
    sampled = kl_from_old(ratio(log_probs_V[None], old_V.log()[None], mask), mask)[0]
    exact = (old_V * (old_V.log() - log_probs_V)).sum()
    mean = (old_V * sampled).sum()
    assert mean.item() == pytest.approx(exact.item(), abs=1e-12)
    (found,) = torch.autograd.grad(mean, logits_V, retain_graph=True)
    (true,) = torch.autograd.grad(exact, logits_V)
    torch.testing.assert_close(found, true, rtol=0, atol=1e-12)
