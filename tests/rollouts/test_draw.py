from __future__ import annotations

import numpy as np
import pytest
import torch

from rung.rollouts.sampler import BLOCK, draw, draw_epsilon_greedy


def _reference(logits: np.ndarray, u: float, temperature: float) -> int:
    """All in float64, one cumulative sum over the whole vocabulary."""
    z = logits.astype(np.float64) / temperature
    weights = np.exp(z - z.max())
    return int(np.searchsorted(np.cumsum(weights / weights.sum()), u, side="right"))


@pytest.mark.parametrize("size", [1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_it_is_the_inverse_of_the_cumulative_sum(size: int, temperature: float) -> None:
    drawn = np.random.default_rng(size)
    logits = drawn.normal(0, 3, (200, size)).astype(np.float32)
    uniforms = drawn.random(200)
    tokens, log_probs = draw(torch.from_numpy(logits), torch.from_numpy(uniforms), temperature)
    assert tokens.tolist() == [_reference(row, u, temperature) for row, u in zip(logits, uniforms, strict=True)]
    exact = (torch.from_numpy(logits).double() / temperature).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.double(), exact, rtol=0, atol=2e-6)


def test_the_layout_of_the_logits_does_not_matter() -> None:
    logits = torch.randn(7, 700, generator=torch.Generator().manual_seed(0))
    uniforms = torch.rand(7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    other_way = logits.t().contiguous().t()
    kept = logits.clone()
    for a, b in zip(draw(logits, uniforms, 0.7), draw(other_way, uniforms, 0.7), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert torch.equal(kept, logits)


def test_what_has_no_probability_is_never_drawn() -> None:
    """Not at u = 0, not at the largest u below 1, and not where rounding puts the goal at the end of the sum."""
    logits = torch.full((4, 3 * BLOCK), -torch.inf)
    logits[:, [5, BLOCK + 3, BLOCK + 4]] = torch.tensor([0.0, 1.0, -2.0])
    uniforms = torch.tensor([0.0, np.nextafter(1.0, 0.0), 0.5, 1e-300], dtype=torch.float64)
    tokens, log_probs = draw(logits, uniforms, 1.0)
    assert tokens.tolist() == [5, BLOCK + 4, BLOCK + 3, 5]
    assert log_probs.isfinite().all()


def test_many_goals_near_every_edge_stay_inside() -> None:
    drawn = np.random.default_rng(0)
    logits = torch.from_numpy(drawn.normal(0, 1, (1, 1000)).astype(np.float32))
    ends = logits[0].double().softmax(0).cumsum(0)
    goals = torch.cat([ends - 1e-16, ends, ends + 1e-16]).clamp(0, np.nextafter(1.0, 0.0))
    tokens, log_probs = draw(logits.expand(len(goals), -1).contiguous(), goals, 1.0)
    assert tokens.min() >= 0 and tokens.max() < 1000 and log_probs.isfinite().all()


def test_temperature_zero_takes_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0], [3.0, -torch.inf, 0.0, 0.0]])
    tokens, log_probs = draw(logits, torch.tensor([0.9, 0.9], dtype=torch.float64), 0.0)
    assert tokens.tolist() == [1, 0] and log_probs.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_give_nan_to_their_row_alone(bad: float, temperature: float) -> None:
    uniforms = torch.tensor([0.5, 0.0, 0.99], dtype=torch.float64)
    for size in (5, 3 * BLOCK + 5):
        logits = torch.zeros(3, size)
        logits[1] = bad
        one = torch.zeros(3, size)
        one[1, 3] = bad
        for given in (logits, *([one] if bad != -torch.inf else [])):
            tokens, log_probs = draw(given, uniforms, temperature)
            assert log_probs.isnan().tolist() == [False, True, False]
            assert tokens.min() >= 0 and tokens.max() < size  # the model can be fed with it


def test_epsilon_greedy_draws_every_token_with_its_chance_and_says_it() -> None:
    """Over a fine grid of uniform numbers the shares are the distribution's: ε/V each, and 1 − ε more for the
    likeliest."""
    size, epsilon, count = 5, 0.3, 20_000
    logits_RV = torch.tensor([[0.0, 1.0, 7.0, -2.0, 7.0]]).expand(count, size)
    uniforms_R = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens_R, log_probs_R = draw_epsilon_greedy(logits_RV, uniforms_R, epsilon)
    shares_V = torch.bincount(tokens_R, minlength=size) / count
    wanted_V = torch.full((size,), epsilon / size)
    wanted_V[2] += 1 - epsilon  # the first of equals
    assert torch.allclose(shares_V, wanted_V, atol=1e-4)
    assert torch.allclose(log_probs_R.exp(), wanted_V[tokens_R])
    assert (draw_epsilon_greedy(logits_RV, uniforms_R, 0.0)[0] == 2).all()
    assert torch.allclose(torch.bincount(draw_epsilon_greedy(logits_RV, uniforms_R, 1.0)[0]) / count, torch.tensor(0.2))


def test_epsilon_greedy_gives_nan_for_what_is_not_finite() -> None:
    logits = torch.tensor([[0.0, torch.nan], [0.0, 1.0]])
    assert draw_epsilon_greedy(logits, torch.zeros(2, dtype=torch.float64), 1.0)[1].isnan().tolist() == [True, False]
