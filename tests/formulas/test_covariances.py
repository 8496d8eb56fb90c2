from __future__ import annotations

import pytest
import torch
from masked_arrays import normal

from rung.formulas.covariances import largest, token_covariance


def one(count: torch.Tensor) -> torch.Tensor:
    return count


def test_by_hand() -> None:
    """A = 2, 0, 1 (mean 1) and log π = -1, -2, -6 (mean -3): (1)(2), (-1)(1), (0)(-3)."""
    advantages = torch.tensor([[2.0, 0.0], [1.0, 99.0]])
    log_probs = torch.tensor([[-1.0, -2.0], [-6.0, 99.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert token_covariance(log_probs, advantages, mask, one).tolist() == [[2.0, -1.0], [0.0, 0.0]]


def test_its_mean_is_the_covariance_and_junk_changes_nothing() -> None:
    log_probs, advantages, mask = normal(0, (4, 6)), normal(1, (4, 6)), normal(2, (4, 6)) > -0.5
    found = token_covariance(log_probs, advantages, mask, one)
    pair = torch.stack([log_probs[mask], advantages[mask]])
    assert float(found.sum() / mask.sum()) == pytest.approx(float(pair.cov(correction=0)[0, 1]), abs=1e-12)
    spoilt = [torch.where(mask, x, torch.nan) for x in (log_probs, advantages)]
    assert torch.equal(token_covariance(*spoilt, mask, one), found)


def test_two_processes_sum_to_one() -> None:
    """Means over the whole batch: half of it with the other half's sums gives the same tokens the same numbers."""
    log_probs, advantages, mask = normal(0, (4, 6)), normal(1, (4, 6)), normal(2, (4, 6)) > -0.5
    whole = token_covariance(log_probs, advantages, mask, one)
    top = (log_probs[:2], advantages[:2], mask[:2])
    rest = iter([mask[2:].sum(), advantages[2:][mask[2:]].sum(), log_probs[2:][mask[2:]].sum()])
    assert torch.allclose(token_covariance(*top, lambda count: count + next(rest)), whole[:2], rtol=0, atol=1e-12)


def test_the_covariance_is_how_fast_the_entropy_falls() -> None:
    """Cui et al. 2025, theorem 1: logits moved by η A change the entropy of a softmax by -η Cov(log π, A)."""
    logits, advantages = normal(3, (7,)), normal(4, (7,))

    def entropy(eta: torch.Tensor) -> torch.Tensor:
        logs = (logits + eta * advantages).log_softmax(0)
        return -(logs.exp() * logs).sum()

    eta = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(entropy(eta), eta)
    logs, probs = logits.log_softmax(0), logits.softmax(0)
    covariance = (probs * (logs - probs @ logs) * (advantages - probs @ advantages)).sum()
    assert float(slope) == pytest.approx(-float(covariance), abs=1e-12)


def test_largest_takes_candidates_alone_and_breaks_ties_by_place() -> None:
    values = torch.tensor([[3.0, 9.0, 3.0], [3.0, 1.0, 2.0]])
    candidates = torch.tensor([[True, False, True], [True, True, True]])
    assert largest(values, candidates, 2).tolist() == [[True, False, True], [False, False, False]]
    assert largest(values, candidates, 4).tolist() == [[True, False, True], [True, False, True]]
    assert torch.equal(largest(values, candidates, 99), candidates)
    assert not largest(values, torch.zeros_like(candidates), 3).any()
