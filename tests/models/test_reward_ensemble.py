"""The ensemble of reward predictors: networks that share nothing, normalised one by one and together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rung.errors import CheckpointError
from rung.models.small.observation_scale import ObservationScale
from rung.models.small.reward_ensemble import RewardEnsemble


def steps(count: int = 500, inputs: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, inputs, generator=torch.Generator().manual_seed(seed))


def test_each_predictor_is_two_layers_of_64_leaky_relu() -> None:
    ensemble, steps_ND = RewardEnsemble(inputs=4, members=3, seed=1), steps(10)
    own = ensemble.parameters()
    assert [tuple(own[f"{i}.weight"].shape) for i in range(3)] == [(3, 4, 64), (3, 64, 64), (3, 64, 1)]
    found_PN = ensemble(steps_ND)
    for p in range(3):
        hidden = steps_ND
        for i in range(3):
            hidden = hidden @ own[f"{i}.weight"][p] + own[f"{i}.bias"][p]
            hidden = hidden if i == 2 else torch.where(hidden > 0, hidden, 0.01 * hidden)
        torch.testing.assert_close(found_PN[p], hidden[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ensemble(steps_ND.expand(3, 10, 4)), found_PN)


def test_predictors_differ_and_one_s_gradient_leaves_the_others_alone() -> None:
    ensemble = RewardEnsemble(inputs=4, members=3, seed=1)
    found_PN = ensemble(steps())
    assert not torch.allclose(found_PN[0], found_PN[1])
    found_PN[1].sum().backward()
    for parameter in ensemble.parameters().values():
        assert parameter.grad is not None and not parameter.grad[0].any() and not parameter.grad[2].any()


def test_rewards_have_mean_0_and_std_1_over_the_steps_they_were_normalised_on() -> None:
    ensemble, steps_ND = RewardEnsemble(inputs=4, members=3, seed=1), steps()
    ensemble.normalise(steps_ND)
    rewards_N = ensemble.rewards(steps_ND)
    assert abs(float(rewards_N.mean())) < 1e-5 and float(rewards_N.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_each_predictor_is_normalised_by_itself_so_none_outweighs_the_others() -> None:
    ensemble, steps_ND = RewardEnsemble(inputs=4, members=3, seed=1), steps()
    ensemble.normalise(steps_ND)
    before_N = ensemble.rewards(steps_ND)
    with torch.no_grad():  # predictor 2 shouts: 1000 times as large, and 77 more
        ensemble.parameters()["2.weight"][2] *= 1000
        ensemble.parameters()["2.bias"][2] = ensemble.parameters()["2.bias"][2] * 1000 + 77
    assert not torch.allclose(ensemble.rewards(steps_ND), before_N, atol=0.1), "control: not yet measured again"
    ensemble.normalise(steps_ND)
    torch.testing.assert_close(ensemble.rewards(steps_ND), before_N, rtol=1e-3, atol=1e-3)


def test_a_constant_prediction_is_finite() -> None:
    ensemble = RewardEnsemble(inputs=4, members=2)
    with torch.no_grad():
        ensemble.parameters()["2.weight"].zero_()
    ensemble.normalise(steps())
    assert torch.isfinite(ensemble.rewards(steps())).all()


def test_its_state_restores_it() -> None:
    ensemble, other = RewardEnsemble(inputs=4, members=3, seed=1), RewardEnsemble(inputs=4, members=3, seed=2)
    ensemble.scale = ObservationScale(np.arange(4.0), np.ones(4) * 2)
    ensemble.normalise(steps())
    assert not torch.equal(other.rewards(steps()), ensemble.rewards(steps()))
    other.load_state({name: tensor.clone() for name, tensor in ensemble.state().items()})
    assert torch.equal(other.rewards(steps(seed=5)), ensemble.rewards(steps(seed=5)))
    with pytest.raises(CheckpointError, match=r"0\.weight: got"):
        RewardEnsemble(inputs=5, members=3).load_state(ensemble.state())
