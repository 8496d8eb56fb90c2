"""GAE and n-step advantages against their definitions, summed forward in plain Python."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masked_arrays import FEW, JUNK, normal, with_junk
from test_returns import rollouts
from torch import Tensor

from rung.formulas.advantages import group_centred
from rung.formulas.returns import gae, n_step, reward_to_go


def by_definition(row: list[list], gamma: float, lam: float) -> list[float]:
    """∑_l (γλ)^l δ_{t+l} over the row's own steps, stopping where an episode ended or was cut."""
    rewards, values, discounts, cut, bootstrap, mask = row
    own = [t for t, chosen in enumerate(mask) if chosen]
    found = [0.0] * len(mask)
    for place, start in enumerate(own):
        total, weight = 0.0, 1.0
        for index in range(place, len(own)):
            t = own[index]
            ahead = bootstrap[t] if cut[t] else values[own[index + 1]] if index + 1 < len(own) else 0.0
            total += weight * (rewards[t] + gamma * discounts[t] * ahead - values[t])
            weight *= gamma * lam * discounts[t]
            if cut[t] or weight == 0:
                break
        found[start] = total
    return found


def arranged(rollout, seed: int = 3) -> list[Tensor]:
    rewards_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT = rollout
    values_BT = normal(seed, tuple(mask_BT.shape))
    return [rewards_BT, values_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT]


@FEW
@given(rollout=rollouts(), gamma=st.sampled_from([0.0, 0.9, 1.0]), lam=st.sampled_from([0.0, 0.5, 1.0]))
def test_gae_by_definition(rollout, gamma: float, lam: float) -> None:
    arrays = arranged(rollout)
    found_BT = gae(*arrays, gamma, torch.full((len(arrays[0]),), lam, dtype=torch.float64))
    for row in range(len(found_BT)):
        expected_T = by_definition([array[row].tolist() for array in arrays], gamma, lam)
        assert found_BT[row].tolist() == pytest.approx(expected_T, abs=1e-12)


@FEW
@given(rollout=rollouts())
def test_lambda_1_is_the_return_less_the_value_and_so_is_a_long_n_step(rollout) -> None:
    arrays = arranged(rollout)
    rewards_BT, values_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT = arrays
    one_B = torch.ones(len(rewards_BT), dtype=torch.float64)
    returns_BT = reward_to_go(rewards_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT, 0.9)
    wanted_BT = torch.where(mask_BT, returns_BT - values_BT, 0.0)
    torch.testing.assert_close(gae(*arrays, 0.9, one_B), wanted_BT, rtol=0, atol=1e-12)
    torch.testing.assert_close(n_step(*arrays, 0.9, mask_BT.shape[1]), wanted_BT, rtol=0, atol=1e-12)
    torch.testing.assert_close(n_step(*arrays, 0.9, 1), gae(*arrays, 0.9, 0 * one_B), rtol=0, atol=1e-12)


@pytest.mark.parametrize("junk", JUNK)
@FEW
@given(rollout=rollouts())
def test_masked_slots_are_never_read(junk: float, rollout) -> None:
    *arrays, mask_BT = arranged(rollout)
    one_B = torch.full((len(mask_BT),), 0.7, dtype=torch.float64)
    dirty = [with_junk(array, mask_BT, junk) for array in arrays]
    assert torch.equal(gae(*arrays, mask_BT, 0.9, one_B), gae(*dirty, mask_BT, 0.9, one_B))
    assert torch.equal(n_step(*arrays, mask_BT, 0.9, 2), n_step(*dirty, mask_BT, 0.9, 2))


def test_a_cut_takes_its_own_bootstrap_and_nothing_of_what_follows() -> None:
    rewards, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[0.5, 1.0, 3.0]])
    on, cut = torch.ones(1, 3), torch.tensor([[False, True, True]])
    bootstrap, own = torch.tensor([[9.0, 10.0, 20.0]]), torch.ones(1, 3, dtype=torch.bool)
    found = gae(rewards, values, on, cut, bootstrap, own, 0.5, torch.tensor([1.0]))
    assert found.tolist() == [[1 + 0.5 * (2 + 0.5 * 10) - 0.5, 2 + 0.5 * 10 - 1.0, 4 + 0.5 * 20 - 3.0]]


def test_group_centring_is_gae_with_no_critic_less_the_groups_mean() -> None:
    """γ = λ = 1, V = 0, the reward at the end: GAE is the return at every step, and centring takes off its mean."""
    totals_B = torch.tensor([1.0, 0.0, 0.0, 1.0])
    rewards_BT = torch.zeros(4, 3)
    rewards_BT[:, -1] = totals_B
    nothing, own = torch.zeros(4, 3), torch.ones(4, 3, dtype=torch.bool)
    ended = torch.ones(4, 3)
    ended[:, -1] = 0
    found_BT = gae(rewards_BT, nothing, ended, ~own, nothing, own, 1.0, torch.ones(4))
    centred_B = group_centred(totals_B, torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool))
    assert torch.equal(found_BT - totals_B.mean(), centred_B[:, None].expand(4, 3))
