"""The small operations between the matrix products, with their derivatives written out.

They give the same numbers as the plain formulas in their docstrings; with derivatives written out they touch memory
fewer times and keep fewer tensors for the backward pass. All work in float64 too.

Legend: **N** packed tokens, **D** width, **H** heads, **E** width of a head, **R** segments, **L** places a segment.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True).add_(eps))
        ctx.save_for_backward(x, weight_D, scale)
        return (x * scale).mul_(weight_D)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight_D, scale = ctx.saved_tensors
        normed = x * scale
        grad_weight_D = None
        if ctx.needs_input_grad[1]:
            grad_weight_D = (grad * normed).reshape(-1, x.shape[-1]).sum(0)
        if not ctx.needs_input_grad[0]:
            return None, grad_weight_D, None
        pulled = grad * weight_D
        along = (pulled * normed).mean(-1, keepdim=True)
        return pulled.addcmul_(normed, along, value=-1).mul_(scale), grad_weight_D, None


def rms_norm(x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight, over the last dimension, in the weight's type."""
    return _RMSNorm.apply(x.to(weight_D.dtype), weight_D, eps)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NHE: Tensor, cos_NE: Tensor, sin_NE: Tensor) -> Tensor:
        ctx.save_for_backward(cos_NE, sin_NE)
        return _turn(x_NHE, cos_NE, sin_NE, 1.0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_NHE: Tensor) -> tuple[Tensor, None, None]:
        cos_NE, sin_NE = ctx.saved_tensors
        return _turn(grad_NHE, cos_NE, sin_NE, -1.0), None, None


def _turn(x_NHE: Tensor, cos_NE: Tensor, sin_NE: Tensor, sign: float) -> Tensor:
    half = x_NHE.shape[-1] // 2
    cos, sin = cos_NE[:, None, :half], sin_NE[:, None, :half]
    first, second = x_NHE[..., :half], x_NHE[..., half:]
    out = torch.empty_like(x_NHE, memory_format=torch.contiguous_format)
    torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin, value=sign)
    return out


def rotate(x_NHE: Tensor, cos_NE: Tensor, sin_NE: Tensor) -> Tensor:
    """Rotary positions: each pair (x_i, x_{i+E/2}) is turned by its angle; both halves of cos and sin are equal.

    It is computed in the type of the angles and given in the type of `x_NHE`.
    """
    return _Rotate.apply(x_NHE.to(cos_NE.dtype), cos_NE, sin_NE).to(x_NHE.dtype)


class _GatedUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        grad_up = F.silu(gate).mul_(grad)
        return torch.ops.aten.silu_backward(grad * up, gate), grad_up


def gated_up(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up, keeping only its two inputs for the backward pass."""
    return _GatedUp.apply(gate, up)


def pad(x_N: Tensor, place_N: Tensor | None, rows: int, longest: int) -> Tensor:
    """Packed tokens [N, ...] to [R, L, ...], zeros where there is no token. `place_N` None: nothing to pad."""
    if place_N is not None:
        x_N = x_N.new_zeros((rows * longest, *x_N.shape[1:])).index_copy_(0, place_N, x_N)
    return x_N.reshape(rows, longest, *x_N.shape[1:])


def unpad(x_RL: Tensor, place_N: Tensor | None) -> Tensor:
    """[R, L, ...] back to the packed tokens [N, ...]. Each token has one place, so this and `pad` are adjoint."""
    flat = x_RL.reshape(-1, *x_RL.shape[2:])
    return flat if place_N is None else flat.index_select(0, place_N)
