"""Which tokens Clip-Cov and KL-Cov choose: their share, their band, the draw's key, and the whole update's tokens."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from method_batches import log_probs_of, mixed_batch, one

from rung.formulas.covariances import token_covariance
from rung.formulas.policy_losses import LARGEST_LOG_RATIO
from rung.methods import METHODS
from rung.methods.grpo import GRPO
from rung.methods.parts.chosen_tokens import ClipCov, KLCov
from rung.methods.parts.objectives import WithinProbability


def prepared():
    batch = METHODS["clip_cov"].with_advantages(mixed_batch())
    log_probs_BT = log_probs_of(batch)
    cov_BT = token_covariance(log_probs_BT, batch.advantages_BT, batch.action_mask_BT, one)
    return batch, log_probs_BT, cov_BT


def test_kl_cov_takes_the_largest_share_and_at_least_one() -> None:
    batch, log_probs_BT, cov_BT = prepared()
    tokens = int(batch.action_mask_BT.sum())
    for share, count in ((0.25, tokens // 4), (1e-6, 1), (1.0, tokens)):
        chosen_BT = KLCov(share=share).chosen(batch, log_probs_BT, one, ())
        assert int(chosen_BT.sum()) == count
        rest_BT = batch.action_mask_BT & ~chosen_BT
        assert count == tokens or cov_BT[chosen_BT].min() >= cov_BT[rest_BT].max()


def test_clip_cov_draws_from_its_band_only_and_not_where_the_clip_binds() -> None:
    batch, log_probs_BT, cov_BT = prepared()
    part = ClipCov(share=1.0, above=0.05, below=0.6)
    chosen_BT = part.chosen(batch, log_probs_BT, one, (0,))
    binds_BT = GRPO.objective.diagnostics(batch, log_probs_BT)["clip/share"]
    expected_BT = batch.action_mask_BT & (cov_BT > 0.05) & (cov_BT < 0.6) & ~binds_BT
    assert torch.equal(chosen_BT, expected_BT) and 2 <= int(chosen_BT.sum()) < int(batch.action_mask_BT.sum())
    assert bool((binds_BT & (cov_BT > 0.05) & (cov_BT < 0.6)).any()), "some are left out for the clip"


def test_the_draw_is_keyed_and_even() -> None:
    batch, log_probs_BT, _ = prepared()
    part = ClipCov(share=1e-6, above=0.05, below=0.6)
    every = part.chosen(batch, log_probs_BT, one, (3,))
    assert int(every.sum()) == 1 and torch.equal(every, part.chosen(batch, log_probs_BT, one, (3,)))
    candidates = int(ClipCov(share=1.0, above=0.05, below=0.6).chosen(batch, log_probs_BT, one, (0,)).sum())
    drawn = Counter(
        int(part.chosen(batch, log_probs_BT, one, (k,)).flatten().nonzero()) for k in range(200 * candidates)
    )
    assert len(drawn) == candidates
    assert max(abs(count - 200) for count in drawn.values()) < 6 * 200**0.5


def test_a_choice_by_micro_batch_would_be_seen() -> None:
    """Negative control: the selection over halves of the batch is another one than over the whole."""
    batch, log_probs_BT, _ = prepared()
    part = KLCov(share=0.2)
    halves = [
        part.chosen(batch.rows(rows), log_probs_BT[rows], one, ()) for rows in (torch.arange(4), torch.arange(4, 8))
    ]
    assert not torch.equal(torch.cat(halves), part.chosen(batch, log_probs_BT, one, ()))


@pytest.mark.parametrize("objective", [GRPO.objective, WithinProbability()])
def test_capped_ratios_are_counted(objective) -> None:
    method = GRPO.changed(objective=objective, reference_kl=None)
    batch = method.with_advantages(mixed_batch())
    before_BT = batch.old_log_probs_BT if objective is GRPO.objective else batch.sampler_log_probs_BT
    assert not method.diagnostics(batch, before_BT + 1)["ratio/capped"].any()
    far_BT = before_BT + (LARGEST_LOG_RATIO + 1) * (torch.arange(before_BT.shape[1]) == 0)
    found_BT = method.diagnostics(batch, far_BT)["ratio/capped"]
    assert int(found_BT.sum()) == int(batch.action_mask_BT[:, 0].sum()) > 0
