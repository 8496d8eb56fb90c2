"""Losses on preferences: closed forms, gradients by finite differences, symmetries, and what stays finite."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rung.formulas import preference_losses as losses

X = torch.linspace(-6.0, 6.0, 13, dtype=torch.float64)
NUMBERS = st.floats(-50, 50)
BETAS = st.floats(0.01, 10)


def one(number: float) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.float64)


@given(h=NUMBERS, beta=BETAS)
def test_dpo_is_the_log_likelihood_of_the_label(h: float, beta: float) -> None:
    loss = float(losses.dpo(one(h), beta))
    assert loss >= 0 and (abs(beta * h) > 30 or math.exp(-loss) == pytest.approx(1 / (1 + math.exp(-beta * h))))
    assert float(losses.dpo(one(h), beta) - losses.dpo(one(-h), beta)) == pytest.approx(-beta * h, abs=1e-9)


@given(h=NUMBERS, beta=BETAS, flipped=st.floats(0, 0.49))
def test_cdpo_and_rdpo_with_no_flips_are_dpo_and_both_are_its_mixtures(h: float, beta: float, flipped: float) -> None:
    right, wrong = float(losses.dpo(one(h), beta)), float(losses.dpo(one(-h), beta))
    assert float(losses.cdpo(one(h), beta, 0.0)) == pytest.approx(right) == float(losses.rdpo(one(h), beta, 0.0))
    assert float(losses.cdpo(one(h), beta, flipped)) == pytest.approx((1 - flipped) * right + flipped * wrong)
    mixed = (1 - flipped) * losses.rdpo(one(h), beta, flipped) + flipped * losses.rdpo(one(-h), beta, flipped)
    assert float(mixed) == pytest.approx(right, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("flipped", [-0.1, 0.5, 0.9])
def test_a_share_of_flips_of_a_half_or_more_is_refused(flipped: float) -> None:
    with pytest.raises(ValueError, match=r"flipped: got .*expected at least 0 and below 0.5"):
        losses.rdpo(X, 0.1, flipped)


def test_cdpo_is_least_where_its_share_of_flips_says() -> None:
    h = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    best = float(h[losses.cdpo(h, 0.5, 0.1).argmin()])
    assert best == pytest.approx(math.log(9) / 0.5, abs=1e-3)


def test_ipo_is_a_parabola_around_its_target() -> None:
    assert float(losses.ipo(one(2.5), 0.2)) == 0.0
    assert float(losses.ipo(one(3.5), 0.2)) == pytest.approx(1.0) == float(losses.ipo(one(1.5), 0.2))


def test_the_odds_ratio_by_hand() -> None:
    p, q = 0.8, 0.3
    odds = (p / (1 - p)) / (q / (1 - q))
    found = float(losses.odds_ratio(one(math.log(p)), one(math.log(q))))
    assert found == pytest.approx(-math.log(odds / (1 + odds)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certain_answers_have_finite_odds_and_gradients(dtype: torch.dtype) -> None:
    mean_M = torch.tensor([0.0, -1e-12, -200.0], dtype=dtype, requires_grad=True)
    loss = losses.odds_ratio(mean_M, mean_M.detach().flip(0)).sum()
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(mean_M.grad).all()


@given(ratio=NUMBERS, anchor=st.floats(0, 20), beta=BETAS)
def test_kto_of_a_good_and_a_bad_answer_add_to_one(ratio: float, anchor: float, beta: float) -> None:
    good, bad = (losses.kto(one(ratio), torch.tensor([label]), anchor, beta) for label in (True, False))
    assert float(good + bad) == pytest.approx(1.0) and 0 <= float(good) <= 1


def test_ktos_anchor_is_never_below_zero_and_has_no_gradient() -> None:
    ratios_B = torch.tensor([-3.0, 1.0], requires_grad=True)
    assert float(losses.kto_anchor(ratios_B)) == 0.0 and not losses.kto_anchor(ratios_B + 5).requires_grad
    assert float(losses.kto_anchor(ratios_B + 5)) == 4.0


def test_apo_pushes_as_its_name_says() -> None:
    chosen_M, rejected_M = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    up, down = torch.autograd.grad(losses.apo_zero(chosen_M, rejected_M, 0.4).sum(), (chosen_M, rejected_M))
    assert float(up) < 0 < float(down)
    down_less, down_more = torch.autograd.grad(losses.apo_down(chosen_M, rejected_M, 0.4).sum(), (chosen_M, rejected_M))
    assert float(down_less) == 0.0 and float(down_more) == pytest.approx(
        0.1
    )  # the chosen one's two pulls are equal at 0
    chosen_M = torch.full((1,), 2.0, dtype=torch.float64, requires_grad=True)
    late, _ = torch.autograd.grad(losses.apo_down(chosen_M, rejected_M - 3.0, 0.4).sum(), (chosen_M, rejected_M))
    assert float(late) > 0


def test_a_margin_asks_the_scores_for_more() -> None:
    plain = losses.bradley_terry(one(2.0), one(1.0), one(0.0))
    torch.testing.assert_close(plain, losses.dpo(one(1.0), 1.0))
    torch.testing.assert_close(losses.bradley_terry(one(2.0), one(1.0), one(1.0)), one(math.log(2)))


def test_unlikelihood_without_alpha_is_fine_tuning() -> None:
    torch.testing.assert_close(losses.unlikelihood(X, X.flip(0), 0.0), -X)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: losses.dpo(a - b, 0.3),
        lambda a, b: losses.cdpo(a - b, 0.3, 0.1),
        lambda a, b: losses.rdpo(a - b, 0.3, 0.1),
        lambda a, b: losses.ipo(a - b, 0.3),
        lambda a, b: losses.simpo(a, b, 2.0, 0.5),
        lambda a, b: losses.odds_ratio(-a.exp(), -b.exp()),
        lambda a, b: losses.apo_zero(a, b, 0.3),
        lambda a, b: losses.apo_down(a, b, 0.3),
        lambda a, b: losses.bradley_terry(a, b, torch.ones_like(a)),
        lambda a, b: losses.unlikelihood(a, b, 0.3),
        lambda a, b: losses.kto(a + b, torch.arange(len(a)) % 2 == 0, 0.5, 0.3),
    ],
)
def test_gradients_equal_finite_differences(loss) -> None:
    a, b = X[::3].clone().requires_grad_(), (X.flip(0)[::3] / 2).clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (a, b), rtol=1e-5)


def test_far_margins_stay_finite() -> None:
    far = torch.tensor([-1e4, 1e4], dtype=torch.float32, requires_grad=True)
    for loss in (losses.dpo(far, 1.0), losses.cdpo(far, 1.0, 0.1), losses.rdpo(far, 1.0, 0.1)):
        (gradient,) = torch.autograd.grad(loss.sum(), far)
        assert torch.isfinite(loss).all() and torch.isfinite(gradient).all()


def test_sums_skip_holes_and_do_not_depend_on_padding() -> None:
    mask_BT = torch.tensor([[True, False, True, False]])
    log_probs_BT = torch.tensor([[-1.0, float("nan"), -2.0, 1e6]])
    assert losses.summed_log_probs(log_probs_BT, mask_BT).tolist() == [-3.0]


def test_shapes_never_broadcast() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        losses.simpo(torch.zeros(2), torch.zeros(1), 1.0, 0.0)
    with pytest.raises(ValueError, match="shapes differ"):
        losses.log_ratio_margin(torch.zeros(2), torch.zeros(2), torch.zeros(2), torch.zeros(1))
