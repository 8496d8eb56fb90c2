from __future__ import annotations

import math

import pytest
import torch
from masked_arrays import normal

from rung.formulas.divergences import categorical_kl, k1, k2, k3

ONE = torch.tensor([-1.0, -2.0, -0.5], dtype=torch.float64)
OTHER = torch.tensor([-1.5, -1.0, -0.5], dtype=torch.float64)


def test_closed_forms() -> None:
    assert k1(ONE, OTHER).tolist() == [0.5, -1.0, 0.0]
    assert k2(ONE, OTHER).tolist() == [0.125, 0.5, 0.0]
    assert k3(ONE, OTHER).tolist() == pytest.approx([math.exp(-0.5) - 0.5, math.e - 2, 0.0])


def test_all_are_exactly_zero_where_the_policies_agree() -> None:
    same = normal(0, (3, 4)) - 2
    for formula in (k1, k2, k3):
        assert formula(same, same.clone()).tolist() == [[0.0] * 4] * 3


def test_k3_is_accurate_for_small_differences() -> None:
    """exp(-d) - 1 + d, written out, loses every digit of d²/2 when d is small."""
    d = torch.tensor([1e-4], dtype=torch.float32)
    assert float(k3(d, torch.zeros(1))) == pytest.approx(float(k2(d, torch.zeros(1))), rel=1e-2)
    naive = float(torch.exp(-d) - 1 + d)
    assert abs(naive / 5e-9 - 1) > 0.5


@pytest.mark.parametrize("formula", [k1, k2, k3])
def test_gradients(formula) -> None:
    log_probs, reference = (normal(1, (2, 5)) - 2).requires_grad_(), (normal(2, (2, 5)) - 2).requires_grad_()
    assert torch.autograd.gradcheck(formula, (log_probs, reference))


def test_sampled_estimates_meet_the_exact_divergence() -> None:
    policy_V, reference_V = normal(3, (6,)).log_softmax(-1), normal(4, (6,)).log_softmax(-1)
    exact = float(categorical_kl(policy_V, reference_V))
    assert float((policy_V.exp() * k1(policy_V, reference_V)).sum()) == pytest.approx(exact, abs=1e-14)
    assert float((policy_V.exp() * k3(policy_V, reference_V)).sum()) == pytest.approx(exact, abs=1e-14)
    assert exact == pytest.approx(
        float(torch.nn.functional.kl_div(reference_V, policy_V, reduction="sum", log_target=True))
    )


def test_categorical_kl_is_zero_only_for_equals_and_not_symmetrical() -> None:
    p_V, q_V = torch.tensor([0.9, 0.1]).double().log(), torch.tensor([0.5, 0.5]).double().log()
    assert float(categorical_kl(p_V, p_V)) == 0
    assert float(categorical_kl(p_V, q_V)) == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert float(categorical_kl(q_V, p_V)) != pytest.approx(float(categorical_kl(p_V, q_V)))
    assert categorical_kl(p_V.expand(3, 2), q_V.expand(3, 2)).shape == (3,)


def test_shapes_are_checked() -> None:
    for formula in (k1, k2, k3, categorical_kl):
        with pytest.raises(ValueError, match="shapes differ"):
            formula(torch.zeros(2, 3), torch.zeros(3))
