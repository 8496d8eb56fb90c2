"""How a batch is cut into minibatches: every row once, groups of samples whole, steps of environments mixed."""

from __future__ import annotations

import pytest
import torch
from episodes import random_episodes

from rung.batch import Batch
from rung.trainers.assemble import assemble
from rung.trainers.policy_gradient.minibatches import minibatches

ENVIRONMENTS, HORIZON = 8, 32


def rollout() -> Batch:
    """Steps of eight environments; a step's reward is its environment's number. One step was not the policy's own."""
    shape = (ENVIRONMENTS, HORIZON)
    mask_BT = torch.ones(shape, dtype=torch.bool)
    mask_BT[3, 5] = False
    return Batch(
        contexts=torch.zeros(*shape, 3),
        actions_BT=torch.zeros(shape, dtype=torch.int64),
        action_mask_BT=mask_BT,
        sampler_log_probs_BT=torch.zeros(shape),
        rewards_BT=torch.arange(float(ENVIRONMENTS))[:, None].expand(shape),
        discounts_BT=torch.ones(shape),
        cut_BT=torch.zeros(shape, dtype=torch.bool),
        bootstrap_BT=torch.zeros(shape),
        group_ids_B=torch.arange(ENVIRONMENTS),
        scores_B=torch.zeros(ENVIRONMENTS),
        truncated_B=torch.zeros(ENVIRONMENTS, dtype=torch.bool),
    )


@pytest.mark.parametrize("count", [2, 4, 8, 64], ids=lambda count: f"{count} minibatches")
def test_minibatches_mix_the_steps_of_all_environments(count: int) -> None:
    """Also where there are as many environments as minibatches: their stretches are no groups to keep together."""
    steps = rollout().by_step()
    chosen = list(minibatches(steps, count, (1, 2, 3)))
    assert len(chosen) == count
    assert sorted(torch.cat(chosen).tolist()) == list(range(ENVIRONMENTS * HORIZON - 1)), "each own step once"
    expected = 1 if count == 64 else 5  # of 4 steps, or of 32 and more from eight environments
    for rows_B in chosen:
        assert len(steps.rewards_BT[rows_B].unique()) > expected


def test_samples_of_a_prompt_stay_together_while_there_are_enough_prompts() -> None:
    batch = assemble(random_episodes())
    groups = len(batch.group_ids_B.unique())
    assert groups < len(batch), "else there is nothing to keep together"
    together = [batch.group_ids_B[rows_B].unique().tolist() for rows_B in minibatches(batch, groups, (7,))]
    assert sorted(together) == [[group] for group in batch.group_ids_B.unique().tolist()]
    apart = list(minibatches(batch, groups + 1, (7,)))
    assert len(apart) == groups + 1 and sorted(torch.cat(apart).tolist()) == list(range(len(batch)))


def test_the_key_alone_decides_the_cut() -> None:
    steps = rollout().by_step()
    first, again, other = (list(minibatches(steps, 4, key)) for key in ((1, 2, 0), (1, 2, 0), (1, 2, 1)))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
