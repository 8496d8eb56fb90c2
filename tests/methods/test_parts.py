from __future__ import annotations

import dataclasses

import pytest
import torch
from method_batches import log_probs_of, mixed_batch, mixed_mask, normal, one
from transformers import get_inverse_sqrt_schedule

from rung.batch import Batch
from rung.formulas.masked import zeroed
from rung.methods.parts.advantages import (
    EpisodeReturn,
    GroupCentred,
    GroupNormalized,
    OthersInBatch,
    OthersInGroup,
    RewardToGo,
    RightAnswers,
)
from rung.methods.parts.aggregations import PerPrompt, PerToken
from rung.methods.parts.objectives import ClippedSurrogate, ScoreFunction
from rung.methods.parts.optimizers import AdamW, RMSprop
from rung.methods.parts.protocols import fact
from rung.methods.parts.reference_kl import K1, K2, K3, KLInLoss, KLInReward
from rung.methods.reinforce import REINFORCE


def returns_of(batch: Batch) -> torch.Tensor:
    return torch.where(batch.action_mask_BT, batch.rewards_BT, 0.0).sum(1)


def test_an_episodes_advantage_stands_at_each_of_its_own_steps() -> None:
    batch = mixed_batch()
    returns_B = returns_of(batch)
    for part in (EpisodeReturn(), EpisodeReturn(OthersInBatch()), GroupCentred(), GroupNormalized(), RightAnswers()):
        found_BT = part(batch)
        assert bool((found_BT[~batch.action_mask_BT] == 0).all())
        for row in range(8):
            assert len(set(found_BT[row][batch.action_mask_BT[row]].tolist())) <= 1
    assert torch.equal(EpisodeReturn()(batch), zeroed(returns_B[:, None].expand(8, 6), batch.action_mask_BT))


def test_others_in_batch_by_hand() -> None:
    batch = mixed_batch()
    returns_B, counted_B = returns_of(batch), batch.counted_B()
    baseline_B = OthersInBatch()(returns_B, batch)
    for row in torch.nonzero(counted_B)[:, 0].tolist():
        others = [float(returns_B[j]) for j in range(8) if j != row and counted_B[j]]
        assert float(baseline_B[row]) == pytest.approx(sum(others) / len(others), abs=1e-12)


def test_others_in_group_by_hand() -> None:
    batch = mixed_batch()
    returns_B, counted_B, ids_B = returns_of(batch), batch.counted_B(), batch.group_ids_B
    baseline_B = OthersInGroup()(returns_B, batch)
    for row in torch.nonzero(counted_B)[:, 0].tolist():
        others = [float(returns_B[j]) for j in range(8) if j != row and counted_B[j] and ids_B[j] == ids_B[row]]
        expected = sum(others) / len(others) if others else float(returns_B[row])
        assert float(baseline_B[row]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("part", [OthersInBatch(), OthersInGroup()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_returns_give_an_advantage_of_exactly_zero(part, dtype: torch.dtype) -> None:
    batch = mixed_batch()
    tenth_BT = torch.where(batch.rewards_BT != 0, 0.1, 0.0).to(dtype)
    batch = batch.changed(rewards_BT=tenth_BT)
    assert bool((EpisodeReturn(part)(batch) == 0).all())
    assert bool((GroupCentred()(batch) == 0).all()) and bool((GroupNormalized()(batch) == 0).all())


def test_reward_to_go_credits_an_action_with_what_came_after() -> None:
    batch = mixed_batch()
    rewards_BT = normal(5, (8, 6))
    batch = batch.changed(rewards_BT=rewards_BT, bootstrap_BT=torch.full((8, 6), 2.0, dtype=torch.float64))
    found_BT = RewardToGo(discount=0.5)(batch)
    row, own = 1, [0, 1, 3, 4]  # cut by the limit: it goes on from 2
    expected = 2.0
    for t in reversed(own):
        expected = float(rewards_BT[row, t]) + 0.5 * expected
        assert float(found_BT[row, t]) == pytest.approx(expected)
    baseline_B = OthersInBatch()(batch.returns_B(), batch)
    with_baseline_BT = RewardToGo(discount=0.5, baseline=OthersInBatch())(batch)
    own_BT = zeroed(found_BT - baseline_B[:, None], batch.action_mask_BT)
    torch.testing.assert_close(with_baseline_BT, own_BT, rtol=0, atol=1e-12)


def test_which_advantages_compare_one_prompts_samples() -> None:
    needs = {
        True: (GroupNormalized(), GroupCentred(), EpisodeReturn(OthersInGroup()), RewardToGo(1.0, OthersInGroup()))
    }
    needs[False] = (EpisodeReturn(), RewardToGo(), EpisodeReturn(OthersInBatch()), RewardToGo(1.0, OthersInBatch()))
    needs[False] = (*needs[False], RightAnswers())
    assert all(fact(part, "needs_group", False) is expected for expected, parts in needs.items() for part in parts)


def test_formulas_in_words_follow_the_numbers() -> None:
    assert "0.9^{k-t}" in RewardToGo(discount=0.9).formula and "^" not in RewardToGo().formula
    assert "0.0001" in GroupNormalized(epsilon=1e-4).formula
    assert "1+0.28" in ClippedSurrogate(high=0.28).formula
    assert KLInReward(0.03).formula == "0.03 log π/π_ref taken off the reward"
    assert "over the batch" in EpisodeReturn(OthersInBatch()).formula


@pytest.mark.parametrize("estimator", [K1(), K2(), K3()])
def test_kl_in_the_loss_and_in_the_reward_are_the_same_numbers(estimator) -> None:
    batch = mixed_batch()
    mask_BT, reference_BT = batch.action_mask_BT, batch.reference_log_probs_BT
    kl_BT = torch.where(mask_BT, estimator(batch.old_log_probs_BT, reference_BT), 0.0)
    loss_BT = KLInLoss(0.3, estimator).loss(batch, batch.old_log_probs_BT)
    torch.testing.assert_close(loss_BT, 0.3 * kl_BT, rtol=0, atol=1e-14)
    rewards_BT = KLInReward(0.3, estimator).rewards(batch)
    torch.testing.assert_close(rewards_BT, zeroed(batch.rewards_BT, mask_BT) - 0.3 * kl_BT, rtol=0, atol=1e-14)
    assert torch.equal(KLInLoss(0.3, estimator).rewards(batch), batch.rewards_BT)
    assert not bool(KLInReward(0.3, estimator).loss(batch, log_probs_of(batch)).any())


def test_kl_is_exactly_zero_where_the_policy_is_the_reference() -> None:
    batch = mixed_batch()
    batch = batch.changed(reference_log_probs_BT=batch.old_log_probs_BT.clone())
    for estimator in (K1(), K2(), K3()):
        assert not bool(KLInLoss(1.0, estimator).loss(batch, batch.old_log_probs_BT).any())
        own_BT = zeroed(batch.rewards_BT, batch.action_mask_BT)
        assert torch.equal(KLInReward(1.0, estimator).rewards(batch), own_BT)


def test_diagnostics_name_where_each_bound_binds() -> None:
    batch = mixed_batch()
    batch = batch.changed(advantages_BT=zeroed(normal(1, (8, 6)), batch.action_mask_BT))
    log_probs_BT = log_probs_of(batch).requires_grad_()
    part = ClippedSurrogate(low=0.1, high=0.3)
    found = part.diagnostics(batch, log_probs_BT)
    (gradient_BT,) = torch.autograd.grad(part(batch, log_probs_BT).sum(), log_probs_BT)
    gone_BT = batch.action_mask_BT & (gradient_BT == 0) & (batch.advantages_BT != 0)
    assert torch.equal(found["clip/share"], gone_BT) and bool(gone_BT.any())
    assert torch.equal(found["clip/low"] | found["clip/high"], gone_BT)
    assert REINFORCE.diagnostics(batch, log_probs_BT) == {}


def test_an_objective_without_advantages_says_so() -> None:
    for part in (ScoreFunction(), ClippedSurrogate()):
        with pytest.raises(AssertionError, match="advantage"):
            part(mixed_batch(), log_probs_of(mixed_batch()))


def test_per_prompt_weighs_prompts_alike_and_their_tokens_alike() -> None:
    batch = mixed_batch()
    weights_BT = PerPrompt()(batch, one)
    for group in (5, 9, 11):
        rows_BT = batch.action_mask_BT & (batch.group_ids_B == group)[:, None]
        assert float(weights_BT[rows_BT].sum()) == pytest.approx(1 / 3)
        assert len(set(weights_BT[rows_BT].tolist())) == 1
    assert len(set(PerToken()(batch, one)[mixed_mask()].tolist())) == 1


def test_learning_rate_warms_up_linearly_and_stays() -> None:
    step = AdamW(learning_rate=1e-3, warmup_steps=4)
    assert [step.learning_rate_at(update) for update in range(6)] == pytest.approx(
        [0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3]
    )
    assert AdamW(learning_rate=1e-3).learning_rate_at(0) == 1e-3


def test_the_inverse_square_root_follows_the_warm_up_as_in_transformers() -> None:
    """Its `get_inverse_sqrt_schedule`, which begins one update earlier, at 0."""
    weights = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weights], lr=5e-6)
    theirs = get_inverse_sqrt_schedule(optimizer, num_warmup_steps=200)
    ours = AdamW(learning_rate=5e-6, warmup_steps=200, inverse_sqrt=True)
    for update in range(1000):
        optimizer.step()
        theirs.step()
        assert ours.learning_rate_at(update) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
    assert ours.learning_rate_at(799) == pytest.approx(2.5e-6)
    assert AdamW(learning_rate=1.0, inverse_sqrt=True).learning_rate_at(3) == 0.5


@pytest.mark.parametrize("step", [AdamW(learning_rate=2.0), RMSprop(learning_rate=2.0)])
def test_an_annealed_rate_falls_with_the_run_and_not_with_the_updates(step: AdamW | RMSprop) -> None:
    annealed = dataclasses.replace(step, anneal=True)
    assert [annealed.learning_rate_at(9, progress) for progress in (0.0, 0.25, 1.0)] == [2.0, 1.5, 0.0]
    assert [step.learning_rate_at(9, progress) for progress in (0.0, 0.25, 1.0)] == [2.0, 2.0, 2.0]
    rising = dataclasses.replace(annealed, warmup_steps=4)
    assert rising.learning_rate_at(0, 0.5) == 0.25, "warm-up multiplies it"


def test_the_optimizer_has_the_steps_numbers() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    step = AdamW(learning_rate=0.01, beta1=0.8, beta2=0.99, epsilon=1e-7, weight_decay=0.1)
    (group,) = step.build([weight]).param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (0.01, (0.8, 0.99), 1e-7, 0.1)
    weight.grad = torch.tensor([2.0, -3.0])
    optimizer = AdamW(learning_rate=0.01).build([weight])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.99, 1.01]))  # Adam's first step is the rate, by sign
