"""Aggregation weights: [B,T], so that the batch's loss = ∑ weights · the tokens' losses.

The counts are arguments: the caller takes them over the whole batch (all micro-batches, all processes), so the
gradient does not depend on how the batch is cut. A count of 0 gives weights 0, not a division. Weights are float64:
they multiply small arrays only.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _over(mask_BT: Tensor, divisor: Tensor) -> Tensor:
    return mask_BT.to(torch.float64) / divisor.clamp(min=1)


def token_mean(mask_BT: Tensor, tokens: Tensor) -> Tensor:
    """1/∑_i|o_i| at every token: each token weighs the same (DAPO, arXiv:2503.14476, eq. 8).

    `tokens`: scalar, the policy's own tokens in the whole batch.
    """
    return _over(mask_BT, tokens)


def sequence_mean(mask_BT: Tensor, sequences: Tensor) -> Tensor:
    """1/N · 1/|o_i|: each sequence weighs the same (GRPO, arXiv:2402.03300, eq. 3), so a long one's tokens weigh less.

    `sequences`: scalar, rows with at least one own token in the whole batch.

    >>> sequence_mean(torch.tensor([[True, True], [True, False]]), torch.tensor(2))
    tensor([[0.2500, 0.2500],
            [0.5000, 0.0000]], dtype=torch.float64)
    """
    return _over(mask_BT, mask_BT.sum(1, keepdim=True) * sequences)


def sequence_sum(mask_BT: Tensor, sequences: Tensor) -> Tensor:
    """1/N: the sum of a sequence's tokens, averaged over sequences. The gradient of E[R] itself."""
    return _over(mask_BT, sequences)


def constant_length(mask_BT: Tensor, sequences: Tensor, length: int) -> Tensor:
    """1/(N·L) with a fixed L, so that no length is favoured (Dr. GRPO, arXiv:2503.20783)."""
    return _over(mask_BT, sequences * length)


def group_token_mean(mask_BT: Tensor, group_tokens_B: Tensor, groups: Tensor) -> Tensor:
    """1/N_groups · 1/∑_{i in group}|o_i|: each prompt weighs the same, and within it each token.

    `group_tokens_B`: own tokens of each row's whole group; `groups`: groups with at least one in the whole batch.
    """
    return _over(mask_BT, group_tokens_B[:, None] * groups)
