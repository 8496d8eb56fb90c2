"""Q-learning's targets against closed forms, a chain whose values are known, and an MDP solved by value iteration."""

from __future__ import annotations

import itertools

import pytest
import torch

from rung.formulas.value_targets import (
    bootstrapped,
    chosen,
    clipped,
    clipped_slope,
    double_value,
    duelling,
    importance,
    max_value,
    n_step,
    priority,
    squared,
    squared_slope,
)

NAN = float("nan")


def by_hand(rewards: list[float], ends: list[str], values: list[float], discount: float, steps: int) -> float:
    """y of the first step, walked one step at a time: `ends[t]` says what happened after step t; `values[t]` is V of
    the state that followed step t."""
    total = 0.0
    for t in range(steps):
        total += discount**t * rewards[t]
        if ends[t] == "terminated":
            return total
        if ends[t] == "cut" or t == steps - 1:
            return total + discount ** (t + 1) * values[t]
    raise AssertionError


@pytest.mark.parametrize("ends", list(itertools.product(["goes on", "terminated", "cut"], repeat=3)))
def test_n_step_equals_walking(ends: tuple[str, ...]) -> None:
    rewards, values, discount = [1.0, -2.0, 5.0], [10.0, 20.0, 40.0], 0.9
    returns_N, factors_N, steps_N = n_step(
        torch.tensor([rewards]).double(),
        torch.tensor([[0.0 if end == "terminated" else 1.0 for end in ends]]).double(),
        torch.tensor([[end == "cut" for end in ends]]),
        discount,
    )
    next_value_N = torch.tensor(values).double()[steps_N - 1]
    expected = by_hand(rewards, list(ends), values, discount, 3)
    assert float(bootstrapped(returns_N, factors_N, next_value_N)) == pytest.approx(expected, abs=1e-12)


def test_terminated_and_cut_at_once_is_terminated() -> None:
    """A pole that falls at the very step at which the time is up: nothing follows."""
    returns_N, factors_N, steps_N = n_step(
        torch.ones(1, 2), torch.tensor([[0.0, 1.0]]), torch.tensor([[True, False]]), 0.9
    )
    assert (float(returns_N), float(factors_N), int(steps_N)) == (1.0, 0.0, 1)


def test_what_stands_behind_an_end_is_not_read() -> None:
    rewards_NK = torch.tensor([[1.0, NAN, NAN], [1.0, 1.0, NAN]])
    discounts_NK = torch.tensor([[0.0, NAN, 1.0], [1.0, 1.0, NAN]])
    cut_NK = torch.tensor([[False, False, False], [False, True, False]])
    returns_N, factors_N, steps_N = n_step(rewards_NK, discounts_NK, cut_NK, 0.5)
    torch.testing.assert_close(returns_N, torch.tensor([1.0, 1.5]))
    torch.testing.assert_close(factors_N, torch.tensor([0.0, 0.25]))
    assert steps_N.tolist() == [1, 2]


def test_a_chain_has_its_known_values() -> None:
    """s0 -> s1 -> s2 -> end with reward 1 at the last step: Q* is γ², γ, 1, for any number of steps of the target."""
    discount = 0.8
    value = {0: discount**2, 1: discount, 2: 1.0}
    for start, steps in itertools.product(range(3), (1, 2, 3)):
        path = [min(start + k, 2) for k in range(steps)]
        ended = [start + k >= 2 for k in range(steps)]
        returns_N, factors_N, used_N = n_step(
            torch.tensor([[1.0 if state == 2 else 0.0 for state in path]]),
            torch.tensor([[0.0 if end else 1.0 for end in ended]]),
            torch.zeros(1, steps, dtype=torch.bool),
            discount,
        )
        after = start + int(used_N)
        next_value_N = torch.tensor([value[after] if after < 3 else NAN])
        assert float(bootstrapped(returns_N, factors_N, next_value_N)) == pytest.approx(value[start])


def test_the_chain_with_a_cut_in_place_of_an_end_is_another_number() -> None:
    """Negative control: truncated is not terminated."""
    one, go, end, no = torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool)
    next_value_N = torch.tensor([5.0])
    cut = bootstrapped(*n_step(one, go, ~no, 0.9)[:2], next_value_N)
    terminated = bootstrapped(*n_step(one, end, no, 0.9)[:2], next_value_N)
    assert float(cut) == pytest.approx(1 + 0.9 * 5) and float(terminated) == 1.0


def test_the_maximum_of_noise_is_too_high_and_double_is_not() -> None:
    """True values are all 0; noise of standard deviation 1 on 8 actions has an expected maximum of 1.42."""
    noise = torch.Generator().manual_seed(0)
    one_NV, other_NV = torch.randn(20_000, 8, generator=noise), torch.randn(20_000, 8, generator=noise)
    error = 4 * float(other_NV.std()) / 20_000**0.5
    assert float(max_value(one_NV).mean()) == pytest.approx(1.4236, abs=error)
    assert float(double_value(one_NV, other_NV).mean()) == pytest.approx(0.0, abs=error)
    assert torch.equal(double_value(one_NV, one_NV), max_value(one_NV)), "one network alone cannot be double"


def test_the_clipped_errors_gradient_is_the_clipped_error() -> None:
    errors_N = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    (gradient_N,) = torch.autograd.grad(clipped(errors_N, 1.0).sum(), errors_N)
    torch.testing.assert_close(gradient_N, errors_N.detach().clamp(-1, 1))
    torch.testing.assert_close(-gradient_N, clipped_slope(errors_N.detach(), 1.0))  # Q stands in δ with a minus
    (gradient_N,) = torch.autograd.grad(squared(errors_N).sum(), errors_N)
    torch.testing.assert_close(gradient_N, 2 * errors_N.detach())
    torch.testing.assert_close(-gradient_N, squared_slope(errors_N.detach()))


def test_the_clipped_error_is_torchs_smooth_l1() -> None:
    errors_N = torch.linspace(-5, 5, 101, dtype=torch.float64)
    expected_N = torch.nn.functional.smooth_l1_loss(errors_N, torch.zeros_like(errors_N), reduction="none")
    torch.testing.assert_close(clipped(errors_N, 1.0), expected_N)


def test_duelling_keeps_the_mean_and_the_order() -> None:
    value_N, advantages_NV = torch.tensor([2.0, -1.0]), torch.tensor([[1.0, 4.0, 1.0], [0.0, 0.0, 9.0]])
    found_NV = duelling(value_N, advantages_NV)
    torch.testing.assert_close(found_NV.mean(1), value_N)
    assert torch.equal(found_NV.argmax(1), advantages_NV.argmax(1))
    torch.testing.assert_close(duelling(value_N, advantages_NV + 100), found_NV)


def test_importance_weights_make_a_prioritised_mean_unbiased() -> None:
    """With β 1, ∑ P w x ∝ ∑ x / N: enumerated over four steps."""
    chances_N, values_N = torch.tensor([0.1, 0.2, 0.3, 0.4]).double(), torch.tensor([5.0, -1.0, 2.0, 7.0]).double()
    weights_N = importance(chances_N, 4, beta=1.0)
    assert float((chances_N * weights_N * values_N).sum() / (chances_N * weights_N).sum()) == pytest.approx(3.25)
    assert float(weights_N.max()) == 1.0
    assert torch.equal(importance(chances_N, 4, beta=0.0), torch.ones(4).double())


def test_alpha_0_makes_priorities_equal() -> None:
    assert torch.equal(priority(torch.tensor([0.1, -9.0]), alpha=0.0, epsilon=1e-6), torch.ones(2))


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        bootstrapped(torch.zeros(2), torch.zeros(2), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="shapes differ"):
        chosen(torch.zeros(2, 3), torch.zeros(2, 1).long())
    with pytest.raises(ValueError, match="shapes differ"):
        double_value(torch.zeros(2, 3), torch.zeros(2, 4))


def test_value_iteration_with_these_targets_finds_the_optimum() -> None:
    """A 4-state, 2-action MDP: sweeps of y = r + γ max Q reach Q*, which is its own target."""
    generator = torch.Generator().manual_seed(3)
    next_state = torch.randint(0, 4, (4, 2), generator=generator)
    rewards = torch.rand(4, 2, generator=generator, dtype=torch.float64)
    terminal = torch.zeros(4, 2, dtype=torch.bool)
    terminal[2, 1] = True
    values = torch.zeros(4, 2, dtype=torch.float64)
    discounts_NK, no_NK = (~terminal).double().reshape(-1, 1), torch.zeros(8, 1, dtype=torch.bool)
    for _ in range(400):
        returns_N, factors_N, _ = n_step(rewards.reshape(-1, 1), discounts_NK, no_NK, 0.9)
        values = bootstrapped(returns_N, factors_N, max_value(values[next_state.reshape(-1)])).reshape(4, 2)
    best = rewards + 0.9 * (~terminal) * values.amax(1)[next_state]
    torch.testing.assert_close(values, best)
    assert float(values[2, 1]) == pytest.approx(float(rewards[2, 1]))
