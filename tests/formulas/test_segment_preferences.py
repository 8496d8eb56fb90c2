"""Preferences between segments: by hand, by brute force over steps, and where they are pushed to their limits."""

from __future__ import annotations

import math

import pytest
import torch

from rung.formulas.segment_preferences import adapted_l2, cross_entropy, disagreement, labels_by, preference


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_preference_by_hand() -> None:
    assert preference(doubles(math.log(3)), doubles(0.0)).item() == pytest.approx(0.75)
    assert preference(doubles(math.log(3)), doubles(0.0), error=0.1).item() == pytest.approx(0.9 * 0.75 + 0.05)
    assert preference(doubles(1000.0), doubles(-1000.0), error=0.1).item() == pytest.approx(0.95)
    assert preference(doubles(5.0), doubles(-5.0), error=1.0).item() == 0.5


def test_preference_against_the_paper_s_equation_step_by_step() -> None:
    generator = torch.Generator().manual_seed(0)
    first_NK, second_NK = torch.randn(2, 20, 7, generator=generator, dtype=torch.float64)
    for one_K, two_K, found in zip(first_NK, second_NK, preference(first_NK.sum(1), second_NK.sum(1)), strict=True):
        one = math.exp(sum(float(r) for r in one_K))
        two = math.exp(sum(float(r) for r in two_K))
        assert found.item() == pytest.approx(one / (one + two), rel=1e-12)


def test_both_preferences_sum_to_1_and_a_constant_on_every_step_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    first_N, second_N = torch.randn(2, 50, generator=generator, dtype=torch.float64) * 4
    there, back = preference(first_N, second_N, 0.1), preference(second_N, first_N, 0.1)
    torch.testing.assert_close(there + back, torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(preference(first_N + 25 * 3.0, second_N + 25 * 3.0, 0.1), there)


@pytest.mark.parametrize("error", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("preferred", [0.0, 0.5, 1.0])
def test_cross_entropy_is_minus_the_log_of_the_preference(error: float, preferred: float) -> None:
    first_N, second_N = doubles(-3.0, 0.0, 2.5), doubles(1.0, 0.0, -4.0)
    p_N = preference(first_N, second_N, error)
    brute_N = -(preferred * p_N.log() + (1 - preferred) * (1 - p_N).log())
    torch.testing.assert_close(cross_entropy(first_N, second_N, torch.full_like(p_N, preferred), error), brute_N)


def test_cross_entropy_is_finite_far_out_and_the_error_term_bounds_it() -> None:
    first_N, second_N, preferred_N = doubles(1e4), doubles(-1e4), doubles(0.0)
    assert cross_entropy(first_N, second_N, preferred_N).item() == pytest.approx(2e4)
    assert cross_entropy(first_N, second_N, preferred_N, 0.1).item() == pytest.approx(-math.log(0.05))
    first_N.requires_grad_()
    cross_entropy(first_N, second_N, preferred_N, 0.1).sum().backward()
    assert first_N.grad is not None and abs(first_N.grad.item()) < 1e-9, "one absurd answer does not pull for ever"


def test_a_tie_pulls_the_two_together() -> None:
    first_N = doubles(2.0).requires_grad_()
    cross_entropy(first_N, doubles(0.0), doubles(0.5), 0.1).sum().backward()
    assert first_N.grad is not None and first_N.grad.item() > 0
    assert cross_entropy(doubles(0.0), doubles(0.0), doubles(0.5), 0.1).item() == pytest.approx(math.log(2))


def test_disagreement_by_brute_force_and_zero_where_all_agree() -> None:
    generator = torch.Generator().manual_seed(2)
    first_PN, second_PN = torch.randn(2, 3, 10, generator=generator, dtype=torch.float64)
    for n, found in enumerate(disagreement(first_PN, second_PN)):
        p = [1 / (1 + math.exp(float(b - a))) for a, b in zip(first_PN[:, n], second_PN[:, n], strict=True)]
        mean = sum(p) / 3
        assert found.item() == pytest.approx(sum((one - mean) ** 2 for one in p) / 3)
    assert disagreement(first_PN[:1].expand(3, 10), second_PN[:1].expand(3, 10)).abs().max() < 1e-15


@pytest.mark.parametrize("halves_at", [100, 5_000, 2_000_000])
@pytest.mark.parametrize("first", [1, 175, 700])
def test_the_schedule_sums_to_the_budget_and_its_rate_falls_as_the_paper_s(halves_at: int, first: int) -> None:
    def asked(step: float) -> float:
        return labels_by(step, steps=10_000, labels=700, first=first, rate_halves_at=halves_at)

    assert asked(0) == first and asked(10_000) == pytest.approx(700)
    steps = range(0, 10_001, 100)
    assert all(before <= after for before, after in zip(map(asked, steps), map(asked, steps[1:]), strict=False))
    if first < 700:
        rates = [asked(step + 0.01) - asked(step) for step in (0, 4_000)]
        assert rates[1] / rates[0] == pytest.approx(halves_at / (4_000 + halves_at), rel=1e-3)
    else:
        assert asked(5_000) == 700


def test_the_schedule_never_passes_the_budget() -> None:
    """A resumed run may be given more steps, or fewer, than those its labels were planned for."""
    assert labels_by(20_000, steps=10_000, labels=70, first=7, rate_halves_at=100) == 70
    assert labels_by(0, steps=0, labels=70, first=7, rate_halves_at=100) == 70


def test_l2_follows_the_gap_between_the_losses() -> None:
    train_P = doubles(0.2, 0.2, 0.2, 0.2)
    validation_P = doubles(0.21, 0.25, 0.31, math.nan)
    found = adapted_l2(torch.full((4,), 1e-3, dtype=torch.float64), train_P, validation_P, 1.1, 1.5)
    torch.testing.assert_close(found, doubles(5e-4, 1e-3, 2e-3, 1e-3))
    assert adapted_l2(doubles(1.0), doubles(0.1), doubles(9.0), 1.1, 1.5).item() == 1.0
    assert adapted_l2(doubles(1e-8), doubles(0.1), doubles(0.1), 1.1, 1.5).item() == 1e-8
