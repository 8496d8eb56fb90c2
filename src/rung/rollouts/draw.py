"""Drawing one token a row from its logits with one uniform number a row.

Legend: **R** rows, **V** vocabulary, **C** blocks of the vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rung.errors import NonFiniteError

BLOCK = 256


def draw(logits_RV: Tensor, uniforms_R: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tokens by inverse transform sampling, and their log-probabilities under the very law they were drawn from.

        π = softmax(logits / temperature)        token = min { v : Σ_{w ≤ v} π_w > u }

    First the block of the vocabulary is found where u falls, then the token inside it. Temperature 0
    takes the likeliest token (the first of equals); that law has one outcome, whose log-probability is 0.

    Args:
        logits_RV: float32. uniforms_R: float64 in [0, 1).

    Raises:
        NonFiniteError: a row's logits hold NaN or +inf, or are all −inf.

    >>> draw(torch.tensor([[0.0, 0.0]]), torch.tensor([0.7], dtype=torch.float64), 1.0)
    (tensor([1]), tensor([-0.6931]))
    """
    assert uniforms_R.dtype == torch.float64
    peak_R1 = logits_RV.amax(1, keepdim=True)
    if not bool(torch.isfinite(peak_R1).all()):
        rows = torch.nonzero(~torch.isfinite(peak_R1[:, 0]))[:, 0].tolist()
        raise NonFiniteError(f"the logits of rows {rows} are not finite (largest: {peak_R1[rows[0]].item()})")
    if temperature == 0.0:
        return logits_RV.argmax(1), logits_RV.new_zeros(len(logits_RV))
    weights_RV = logits_RV - peak_R1
    if temperature != 1.0:
        weights_RV /= temperature
    tokens_R, total_R = _invert(weights_RV.exp_(), uniforms_R)
    picked_R1 = (logits_RV.gather(1, tokens_R[:, None]) - peak_R1).double() / temperature
    return tokens_R, (picked_R1[:, 0] - total_R.log()).float()


def draw_epsilon_greedy(logits_RV: Tensor, uniforms_R: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The likeliest token (the first of equals), or, where the uniform number is below ε, the token of the whole
    vocabulary that its place in [0, ε) stands for; and the log-probability ln( ε/V + (1 − ε) [token is likeliest] ).

    Args and errors as `draw`'s.

    >>> logits = torch.tensor([[0.0, 3.0, 0.0, 0.0]] * 2)
    >>> draw_epsilon_greedy(logits, torch.tensor([0.19, 0.21], dtype=torch.float64), 0.2)
    (tensor([3, 1]), tensor([-2.9957, -0.1625]))
    """
    assert uniforms_R.dtype == torch.float64
    best_R, _ = draw(logits_RV, uniforms_R, 0.0)
    size = logits_RV.shape[1]
    any_R = (uniforms_R / max(epsilon, 1e-300) * size).clamp(max=size - 1).long()
    tokens_R = torch.where(uniforms_R < epsilon, any_R, best_R)
    chances_R = epsilon / size + (1.0 - epsilon) * (tokens_R == best_R).double()
    return tokens_R, chances_R.log().float()


def _invert(weights_RV: Tensor, uniforms_R: Tensor) -> tuple[Tensor, Tensor]:
    """The first token whose cumulative weight exceeds u·total, and the total.

    A block's few numbers are summed in float32, as precise as the weights are; what grows long is summed in float64.
    """
    size = weights_RV.shape[1]
    whole = size - size % BLOCK
    # Seen with the vocabulary first, because that is how the decoder's logits lie in memory: 20 times faster then.
    sums_RC = weights_RV.t()[:whole].unflatten(0, (-1, BLOCK)).sum(1).t()
    if whole < size:
        sums_RC = torch.cat([sums_RC, weights_RV[:, whole:].sum(1, keepdim=True)], dim=1)
    ends_RC = sums_RC.double().cumsum(1)
    total_R = ends_RC[:, -1]
    goal_R1 = (uniforms_R * total_R)[:, None]
    block_R1 = _first_above(ends_RC, goal_R1)
    before_R1 = torch.where(block_R1 > 0, ends_RC.gather(1, (block_R1 - 1).clamp(min=0)), 0.0)
    ids_RB = block_R1 * BLOCK + torch.arange(BLOCK, device=weights_RV.device)
    inside_RB = weights_RV.gather(1, ids_RB.clamp(max=size - 1)).double().masked_fill_(ids_RB >= size, 0.0)
    tokens_R = block_R1[:, 0] * BLOCK + _first_above(inside_RB.cumsum(1), goal_R1 - before_R1)[:, 0]
    return tokens_R, total_R


def _first_above(ends_RC: Tensor, goal_R1: Tensor) -> Tensor:
    """[R, 1] the first entry whose end lies above the goal. Rounding may put the goal at the very end: then the last
    entry of positive weight, so that what has no probability is never drawn."""
    last_R1 = torch.searchsorted(ends_RC, ends_RC[:, -1:].contiguous(), right=False)
    return torch.minimum(torch.searchsorted(ends_RC, goal_R1.contiguous(), right=True), last_R1)
