"""Log-probabilities of given tokens in chunks of the vocabulary, so that [N, V] never exists.

Legend: **N** positions, **D** width of the hidden state, **V** vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_NUMBERS = 1 << 21
"""Logits held at once when no chunk size is given: 8 MiB in float32, about a core's share of the last-level cache."""


def chunked_log_probs(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    *,
    bias_V: Tensor | None = None,
    temperature: float = 1.0,
    with_entropy: bool = False,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """log π(target) and the entropy of π at each position, for π = softmax((h·Wᵀ + b) / temperature).

        log π(t) = z_t − logΣ_v exp z_v        H = logΣ_v exp z_v − Σ_v π_v z_v        z = (h·Wᵀ + b) / temperature

    Both are in nats. The computation is in float32 (float64 when `hidden_ND` is float64) whatever autocast says. The
    backward pass computes each chunk's logits once more: one more matrix product instead of [N, V] numbers kept.
    A NaN logit gives NaN, a target whose logit is −inf gives −inf: nothing is clamped.

    Args:
        hidden_ND: the last hidden states, after the final norm.
        weight_VD, bias_V: the head. Gradients flow to both and to `hidden_ND`.
        targets_N: int64 ids in [0, V).
        temperature: above 0. At 0 the distribution is not a density that can be trained.
        with_entropy: also return the entropy, differentiable; None is returned otherwise.
        chunk: vocabulary entries at once; by default about 2 million logits.

    Raises:
        ValueError: temperature is not a finite number above 0.

    >>> h, w = torch.zeros(1, 2), torch.zeros(4, 2)
    >>> chunked_log_probs(h, w, torch.tensor([3]), with_entropy=True)    # log(1/4), log 4
    (tensor([-1.3863]), tensor([1.3863]))
    """
    if not 0.0 < temperature < float("inf"):
        raise ValueError(f"temperature: got {temperature}, expected a finite number above 0")
    assert hidden_ND.dim() == 2 and weight_VD.dim() == 2 and hidden_ND.shape[1] == weight_VD.shape[1]
    assert targets_N.shape == hidden_ND.shape[:1]
    if chunk is None:
        chunk = max(256, CHUNK_NUMBERS // max(1, hidden_ND.shape[0]))
    kind = torch.float64 if hidden_ND.dtype == torch.float64 else torch.float32
    bias = None if bias_V is None else bias_V.to(kind)
    log_probs_N, entropy_N = _ChunkedLogProbs.apply(
        hidden_ND.to(kind), weight_VD.to(kind), bias, targets_N, float(temperature), with_entropy, int(chunk)
    )
    return log_probs_N, (entropy_N if with_entropy else None)


def whole_logits(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
    """h·Wᵀ + b for the whole vocabulary, [N, V], for few positions or a small vocabulary.

    >>> whole_logits(torch.ones(1, 2), torch.ones(2, 2), None)
    tensor([[2., 2.]])
    """
    kind = torch.float64 if hidden_ND.dtype == torch.float64 else torch.float32
    with torch.autocast(hidden_ND.device.type, enabled=False):
        return F.linear(hidden_ND.to(kind), weight_VD.to(kind), None if bias_V is None else bias_V.to(kind))


def _chunks(
    hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, temperature: float, chunk: int
) -> Iterator[tuple[int, int, Tensor]]:
    """(first, last + 1, z of those vocabulary entries [N, C])."""
    for first in range(0, weight_VD.shape[0], chunk):
        last = min(first + chunk, weight_VD.shape[0])
        z_NC = hidden_ND @ weight_VD[first:last].t()
        if bias_V is not None:
            z_NC += bias_V[first:last]
        if temperature != 1.0:
            z_NC /= temperature
        yield first, last, z_NC


class _ChunkedLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        temperature: float,
        with_entropy: bool,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(hidden_ND.device.type, enabled=False):
            n = hidden_ND.shape[0]
            target_z_N = hidden_ND.new_zeros(n)
            peak_N = hidden_ND.new_full((n,), -torch.inf)
            total_N = hidden_ND.new_zeros(n)  # Σ exp(z − peak)
            moment_N = hidden_ND.new_zeros(n)  # Σ exp(z − peak)·z
            for first, last, z_NC in _chunks(hidden_ND, weight_VD, bias_V, temperature, chunk):
                here_N = (targets_N >= first) & (targets_N < last)
                picked_N = z_NC.gather(1, (targets_N - first).clamp(0, last - first - 1)[:, None])[:, 0]
                target_z_N = torch.where(here_N, picked_N, target_z_N)
                new_peak_N = torch.maximum(peak_N, z_NC.amax(1))
                # Where every logit so far is −inf there is nothing to rescale, and −inf − −inf would be NaN.
                shift_N = torch.where(new_peak_N == -torch.inf, torch.zeros_like(new_peak_N), new_peak_N)
                rescale_N = torch.exp(peak_N - shift_N)
                weights_NC = torch.exp(z_NC - shift_N[:, None]) if with_entropy else z_NC.sub_(shift_N[:, None]).exp_()
                total_N = total_N * rescale_N + weights_NC.sum(1)
                if with_entropy:
                    moment_N = moment_N * rescale_N + weights_NC.mul_(_finite(z_NC)).sum(1)
                peak_N = new_peak_N
            log_total_N = peak_N + total_N.log()
            mean_z_N = moment_N / total_N
            ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N, log_total_N, mean_z_N)
            ctx.settings = temperature, chunk
            ctx.set_materialize_grads(False)
            return target_z_N - log_total_N, (log_total_N - mean_z_N)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_log_probs_N: Tensor | None, grad_entropy_N: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, targets_N, log_total_N, mean_z_N = ctx.saved_tensors
        temperature, chunk = ctx.settings
        if grad_log_probs_N is None:
            grad_log_probs_N = torch.zeros_like(log_total_N)
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        with torch.autocast(hidden_ND.device.type, enabled=False):
            grad_hidden_ND = torch.zeros_like(hidden_ND) if wants_hidden else None
            grad_weight_VD = torch.empty_like(weight_VD) if wants_weight else None
            grad_bias_V = torch.empty_like(bias_V) if wants_bias and bias_V is not None else None
            for first, last, z_NC in _chunks(hidden_ND, weight_VD, bias_V, temperature, chunk):
                if grad_entropy_N is not None:
                    # ∂log π(t)/∂z_v = [v = t] − π_v       ∂H/∂z_v = −π_v (z_v − Σ_u π_u z_u)
                    grad_z_NC = torch.exp(z_NC - log_total_N[:, None])
                    tilt_NC = _finite(z_NC).sub_(mean_z_N[:, None]).mul_(-grad_entropy_N[:, None])
                    grad_z_NC.mul_(tilt_NC.sub_(grad_log_probs_N[:, None]))
                else:
                    grad_z_NC = z_NC.sub_(log_total_N[:, None]).exp_().mul_(-grad_log_probs_N[:, None])
                here_N = ((targets_N >= first) & (targets_N < last)).to(grad_z_NC.dtype)
                column_N = (targets_N - first).clamp(0, last - first - 1)[:, None]
                grad_z_NC.scatter_add_(1, column_N, (here_N * grad_log_probs_N)[:, None])
                if temperature != 1.0:
                    grad_z_NC /= temperature
                if grad_hidden_ND is not None:
                    grad_hidden_ND.addmm_(grad_z_NC, weight_VD[first:last])
                if grad_weight_VD is not None:
                    torch.mm(grad_z_NC.t(), hidden_ND, out=grad_weight_VD[first:last])
                if grad_bias_V is not None:
                    grad_bias_V[first:last] = grad_z_NC.sum(0)
        return grad_hidden_ND, grad_weight_VD, grad_bias_V, None, None, None, None


def _finite(z_NC: Tensor) -> Tensor:
    """−inf as a number of that size, so that times a probability of 0 it gives 0: an impossible token adds nothing
    to the entropy. NaN and +inf stay."""
    return z_NC.clamp_(min=torch.finfo(z_NC.dtype).min / 2**40)
