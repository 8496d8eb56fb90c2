"""How far one model's answers have moved from another model: the KL divergence of whole answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from rung.batch import Episode, Judgement
from rung.trainers.assemble import assemble
from rung.trainers.policy_gradient.minibatches import micro_batches

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

NUMBERS_AT_ONCE = 2**24
"""Of a distribution's [N, V] numbers, so that a large vocabulary fits in memory."""
_COUNTS = Judgement(total=0.0, parts={}, accuracy=None)
"""An answer that could not be judged has moved all the same."""


def kl_of_answers(
    policy: TextPolicy, base: TextPolicy, episodes: Sequence[Episode], *, temperature: float
) -> npt.NDArray[np.float64]:
    """∑_t KL(π(·|x, y_<t) ‖ π_base(·|x, y_<t)) along each episode drawn from π, [N] nats an answer, at least 0.

    Its mean is the KL of the distribution of whole answers, with less noise than the mean of ∑_t log π/π_base. Both
    distributions are those at this temperature, above 0, at which the episodes were drawn; both models number tokens
    alike.
    """
    assert temperature > 0, "a greedy choice is no distribution"
    if not episodes:
        return np.zeros(0)
    batch = assemble([replace(episode, judgement=_COUNTS) for episode in episodes])
    vocabulary = len(policy.tokenizer)
    found_B = torch.zeros(len(batch), dtype=torch.float64)
    with torch.no_grad():
        for rows_B in micro_batches(batch, max(1, NUMBERS_AT_ONCE // vocabulary)):
            rows = batch.rows(rows_B)
            here, there = (model.distribution(rows, temperature=temperature) for model in (policy, base))
            row_N = torch.nonzero(rows.action_mask_BT)[:, 0]
            kl_N = here.kl(there).double().cpu()
            found_B[rows_B] = torch.zeros(len(rows_B), dtype=torch.float64).index_add_(0, row_N, kl_N)
    return found_B.numpy()
