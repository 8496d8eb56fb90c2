"""How far one model's answers have moved from another model: the KL divergence of whole answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rung.batch import Batch, Episode, Judgement
from rung.trainers.assemble import assemble

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
        for rows_B in _some_rows(batch, max(1, NUMBERS_AT_ONCE // vocabulary)):
            rows = batch.rows(rows_B)
            here, there = (model.distribution(rows, temperature=temperature) for model in (policy, base))
            row_N = torch.nonzero(rows.action_mask_BT)[:, 0]
            kl_N = here.kl(there).double().cpu()
            found_B[rows_B] = torch.zeros(len(rows_B), dtype=torch.float64).index_add_(0, row_N, kl_N)
    return found_B.numpy()


def _some_rows(batch: Batch, tokens: int) -> Iterator[Tensor]:
    """Consecutive row indices that hold about `tokens` actions, at least one row each."""
    rows: list[int] = []
    held = 0
    for row, length in enumerate(batch.action_mask_BT.sum(1).tolist()):
        if rows and held + length > tokens:
            yield torch.tensor(rows)
            rows, held = [], 0
        rows.append(row)
        held += length
    yield torch.tensor(rows)
