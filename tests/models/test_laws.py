from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Independent, Normal, kl_divergence

from rung.models.language.distributions import Categorical, Gaussian

ALMOST_ONE = 1 - 2.0**-53
"""The largest number a stream gives."""


def categorical(seed: int, n: int = 5, v: int = 4) -> Categorical:
    generator = torch.Generator().manual_seed(seed)
    return Categorical.of_logits(torch.randn(n, v, generator=generator, dtype=torch.float64) * 2)


def gaussian(seed: int, n: int = 5, a: int = 3, *, shared: bool = False) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean_NA = torch.randn(n, a, generator=generator, dtype=torch.float64)
    log_std = torch.randn(*((a,) if shared else (n, a)), generator=generator, dtype=torch.float64) * 0.5
    return Gaussian(mean_NA, log_std)


def theirs(distribution: Gaussian) -> Independent:
    return Independent(Normal(distribution.mean_NA, distribution.log_std_NA.exp().expand_as(distribution.mean_NA)), 1)


def test_categorical_agrees_with_torch_distributions() -> None:
    distribution, other = categorical(0), categorical(1)
    their, their_other = TorchCategorical(logits=distribution.log_probs_NV), TorchCategorical(logits=other.log_probs_NV)
    actions_N = torch.tensor([0, 3, 1, 2, 2])
    torch.testing.assert_close(distribution.log_prob(actions_N), their.log_prob(actions_N))
    torch.testing.assert_close(distribution.entropy(), their.entropy())
    torch.testing.assert_close(distribution.kl(other), kl_divergence(their, their_other))
    assert (distribution.kl(distribution) == 0).all() and (distribution.kl(other) > 0.01).all()
    assert not torch.allclose(distribution.kl(other), other.kl(distribution)), "the direction matters"


@pytest.mark.parametrize("shared", [False, True])
def test_gaussian_agrees_with_torch_distributions(shared: bool) -> None:
    distribution, other = gaussian(0, shared=shared), gaussian(1, shared=shared)
    actions_NA = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(distribution.log_prob(actions_NA), theirs(distribution).log_prob(actions_NA))
    torch.testing.assert_close(distribution.entropy(), theirs(distribution).entropy())
    torch.testing.assert_close(distribution.kl(other), kl_divergence(theirs(distribution), theirs(other)))
    assert distribution.entropy().shape == distribution.kl(other).shape == (5,)
    assert distribution.kl(distribution).abs().max() < 1e-15 and not torch.allclose(
        distribution.kl(other), other.kl(distribution)
    )


def test_what_is_never_chosen_adds_nothing_to_entropy_kl_or_their_gradients() -> None:
    logits_NV = torch.tensor([[0.3, -math.inf, 1.0]], dtype=torch.float64, requires_grad=True)
    distribution = Categorical.of_logits(logits_NV)
    pair = Categorical.of_logits(logits_NV.detach()[:, [0, 2]])
    open_law = Categorical.of_logits(torch.zeros(1, 3, dtype=torch.float64))
    shut = Categorical.of_logits(torch.tensor([[0.0, -math.inf, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(distribution.entropy(), pair.entropy())
    torch.testing.assert_close(
        distribution.kl(shut), pair.kl(Categorical.of_logits(torch.zeros(1, 2, dtype=torch.float64)))
    )
    assert torch.isfinite(distribution.kl(open_law)).all()
    assert open_law.kl(shut).isinf().all(), "what is chosen here and never there is infinitely far"
    (distribution.entropy() + distribution.kl(shut) + distribution.kl(open_law)).sum().backward()
    assert logits_NV.grad is not None and torch.isfinite(logits_NV.grad).all() and logits_NV.grad.abs().max() > 1e-3


def test_detached_is_the_same_law_without_gradient() -> None:
    logits_NV = torch.zeros(1, 2, requires_grad=True)
    distribution = Categorical.of_logits(logits_NV)
    assert distribution.log_probs_NV.requires_grad and not distribution.detached().log_probs_NV.requires_grad
    normal = Gaussian(logits_NV * 1, logits_NV * 1)
    assert not normal.detached().mean_NA.requires_grad and not normal.detached().log_std_NA.requires_grad
    assert (distribution.detached().log_probs_NV == distribution.log_probs_NV).all()


def test_choices_are_drawn_as_often_as_their_probability_says() -> None:
    distribution = Categorical.of_logits(torch.tensor([[0.1, 0.2, 0.0, 0.7]], dtype=torch.float64).log())
    n = 10_000
    grid_N = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    drawn_N = Categorical(distribution.log_probs_NV.expand(n, 4)).draw(grid_N)
    assert torch.bincount(drawn_N, minlength=4).tolist() == [1000, 2000, 0, 7000]
    assert drawn_N.dtype == torch.int64


@pytest.mark.parametrize("u", [0.0, 1e-18, 0.5, ALMOST_ONE])
def test_what_has_no_probability_is_never_drawn(u: float) -> None:
    uniforms_N = torch.tensor([u], dtype=torch.float64)
    for weights, allowed in (([0.0, 1.0, 0.0], {1}), ([0.0, 0.3, 0.7, 0.0, 0.0], {1, 2}), ([1.0, 0.0], {0})):
        distribution = Categorical.of_logits(torch.tensor([weights]).log())
        assert int(distribution.draw(uniforms_N)) in allowed


def test_the_last_choice_is_reached_though_float32_probabilities_do_not_sum_to_one() -> None:
    distribution = Categorical.of_logits(torch.randn(200, 7, generator=torch.Generator().manual_seed(3)))
    assert (distribution.draw(torch.full((200,), ALMOST_ONE, dtype=torch.float64)) == 6).all()
    assert (distribution.draw(torch.zeros(200, dtype=torch.float64)) == 0).all()


def test_normal_numbers_come_from_the_inverse_of_their_distribution() -> None:
    distribution = gaussian(2, n=400, a=2, shared=True)
    uniforms_NA = torch.rand(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn_NA = distribution.draw(uniforms_NA)
    expected_NA = Normal(distribution.mean_NA, distribution.log_std_NA.exp()).icdf(uniforms_NA)
    torch.testing.assert_close(drawn_NA, expected_NA.float())
    extremes = Gaussian(torch.zeros(1, 2), torch.zeros(2)).draw(torch.tensor([[0.0, ALMOST_ONE]]).double())
    assert torch.isfinite(extremes).all() and extremes[0, 0] < -8 and extremes[0, 1] > 8


def test_batching_changes_no_draw() -> None:
    uniforms_N = torch.rand(5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    distribution, normal = categorical(4), gaussian(4)
    for i in range(5):
        one = Categorical(distribution.log_probs_NV[i : i + 1])
        assert one.draw(uniforms_N[i : i + 1])[0] == distribution.draw(uniforms_N)[i]
        single = Gaussian(normal.mean_NA[i : i + 1], normal.log_std_NA[i : i + 1])
        uniforms_NA = uniforms_N[:, None].expand(5, 3)
        assert (single.draw(uniforms_NA[i : i + 1])[0] == normal.draw(uniforms_NA)[i]).all()
