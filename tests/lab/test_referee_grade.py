"""A user's estimator against the true gradient: the textbook's are exact, and each known fault shows its own number."""

from __future__ import annotations

import pytest
import torch

from rung.lab.referee.grade import grade
from rung.lab.referee.world import Tree


def by_the_group(rewards, groups):
    same = (groups[:, None] == groups[None]).double()
    return rewards - same @ rewards / same.sum(1)


def summed(log_probs, advantages, mask):
    return -torch.where(mask, advantages * log_probs, 0.0).sum() / len(mask)


def short_is_better(log_probs, advantages, mask):
    return -((advantages * log_probs * mask).sum(1) / mask.sum(1)).mean()


def test_a_loss_without_bias_has_ratio_1_and_no_error() -> None:
    found = grade(summed)
    assert (found.ratio, found.cosine) == pytest.approx((1.0, 1.0), abs=1e-9)
    assert found.relative_error < 1e-9 and found.off_direction < 1e-9


@pytest.mark.parametrize("samples", [2, 3])
def test_the_groups_own_mean_shrinks_the_gradient(samples: int) -> None:
    found = grade(by_the_group, samples=samples, tree=Tree(3, 2))
    assert found.ratio == pytest.approx((samples - 1) / samples, abs=1e-9)
    assert found.off_direction < 1e-9


def test_a_mean_over_a_sequence_bends_the_gradient() -> None:
    found = grade(short_is_better)
    assert found.off_direction > 0.05


def test_what_cannot_be_graded_is_said_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="'advantage' is not known; did you mean 'advantages'"):
        grade(lambda log_probs, advantage: -(advantage * log_probs).sum())
    with pytest.raises(ValueError, match=r"expected one number"):
        grade(lambda log_probs, advantages: -(advantages * log_probs))
    with pytest.raises(ValueError, match=r"expected \[B\] or \[B,T\]"):
        grade(lambda rewards: rewards.sum())
