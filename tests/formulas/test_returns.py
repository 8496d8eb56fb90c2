from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from masked_arrays import FEW, JUNK, masks, normal, value_and_gradients, with_junk
from torch import Tensor

from rung.formulas.returns import reward_to_go


def by_definition(
    rewards: list[float],
    discounts: list[float],
    cut: list[bool],
    bootstrap: list[float],
    mask: list[bool],
    gamma: float,
) -> list[float]:
    """G_t as a sum forward from t, in plain Python: until the episode ends, is cut, or the row stops."""
    own = [t for t, chosen in enumerate(mask) if chosen]
    found = [0.0] * len(mask)
    for place, start in enumerate(own):
        total, weight = 0.0, 1.0
        for t in own[place:]:
            total += weight * rewards[t]
            weight *= gamma * discounts[t]
            if weight == 0:
                break
            if cut[t]:
                total += weight * bootstrap[t]
                break
        found[start] = total
    return found


@st.composite
def rollouts(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Rewards, discounts, cuts, bootstrap values, mask: several episodes a row, ended, cut, both or neither."""
    mask_BT = draw(masks())
    seed = draw(st.integers(0, 1000))
    flags = [
        torch.tensor(draw(st.lists(st.booleans(), min_size=mask_BT.numel(), max_size=mask_BT.numel()))) for _ in "ec"
    ]
    ended_BT, cut_BT = (flag.reshape(mask_BT.shape) for flag in flags)
    rewards_BT, bootstrap_BT = normal(seed, (2, *mask_BT.shape))
    return rewards_BT, (~ended_BT).double(), cut_BT, bootstrap_BT, mask_BT


@FEW
@given(rollout=rollouts(), gamma=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_reward_to_go_by_definition(rollout, gamma: float) -> None:
    found_BT = reward_to_go(*rollout, discount=gamma)
    for row in range(found_BT.shape[0]):
        expected_T = by_definition(*(array[row].tolist() for array in rollout), gamma)
        assert found_BT[row].tolist() == pytest.approx(expected_T, abs=1e-12)


@FEW
@given(rollout=rollouts())
def test_holes_equal_the_compacted_row(rollout) -> None:
    *arrays, mask_BT = rollout
    found_BT = reward_to_go(*arrays, mask_BT, discount=0.9)
    assert bool((found_BT[~mask_BT] == 0).all())
    for row in range(mask_BT.shape[0]):
        own = [array[row][mask_BT[row]][None] for array in arrays]
        compact_1K = reward_to_go(*own, torch.ones_like(own[2]), discount=0.9)
        torch.testing.assert_close(found_BT[row][mask_BT[row]][None], compact_1K, rtol=0, atol=0)


@pytest.mark.parametrize("junk", JUNK)
@FEW
@given(rollout=rollouts())
def test_masked_slots_are_never_read(junk: float, rollout) -> None:
    *arrays, mask_BT = rollout

    def to_go(rewards_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT) -> Tensor:
        return reward_to_go(rewards_BT, discounts_BT, cut_BT, bootstrap_BT, mask_BT, discount=0.9)

    clean, clean_gradients = value_and_gradients(to_go, arrays, mask_BT)
    spoilt, spoilt_gradients = value_and_gradients(to_go, [with_junk(a, mask_BT, junk) for a in arrays], mask_BT)
    assert torch.equal(clean, spoilt)
    assert all(torch.equal(one, other) for one, other in zip(clean_gradients, spoilt_gradients, strict=True))


def test_a_bootstrap_value_is_read_only_where_cut() -> None:
    nan = float("nan")
    rewards_BT = torch.tensor([[1.0, 2.0, 4.0]])
    going_on_BT = torch.ones(1, 3)
    cut_BT = torch.tensor([[False, True, False]])
    bootstrap_BT = torch.tensor([[nan, 10.0, nan]])
    found = reward_to_go(
        rewards_BT, going_on_BT, cut_BT, bootstrap_BT, torch.ones(1, 3, dtype=torch.bool), discount=0.5
    )
    assert found.tolist() == [[1 + 0.5 * 7, 2 + 0.5 * 10, 4.0]]


def test_an_ended_episode_takes_nothing_from_what_follows() -> None:
    rewards_BT = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    discounts_BT = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    no_BT = torch.zeros(1, 4, dtype=torch.bool)
    both_BT = torch.tensor([[False, True, False, False]])
    for cut_BT in (no_BT, both_BT):  # an end that was also the limit is an end
        found = reward_to_go(rewards_BT, discounts_BT, cut_BT, rewards_BT * 100, ~no_BT, discount=1.0)
        assert found.tolist() == [[3.0, 2.0, 12.0, 8.0]]


def test_empty_rows_and_steps() -> None:
    for shape in ((0, 3), (2, 0), (0, 0)):
        nothing = torch.zeros(shape)
        assert reward_to_go(nothing, nothing, nothing.bool(), nothing, nothing.bool(), discount=1.0).shape == shape


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        reward_to_go(
            torch.zeros(2, 3),
            torch.zeros(2, 3),
            torch.zeros(2, 3).bool(),
            torch.zeros(2, 1),
            torch.ones(2, 3).bool(),
            1,
        )
