"""Random [B, T] arrays whose masks have holes, and what may be done to them without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

FEW = settings(max_examples=30, deadline=None, derandomize=True)
"""The same few examples in every run, however busy the machine is."""
JUNK = (float("nan"), 1e6, float("inf"), -float("inf"))
"""What a masked slot may hold."""


def normal(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float64, the same for the same seed."""
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal(shape))


@st.composite
def masks(draw: st.DrawFn, max_rows: int = 4, max_steps: int = 7) -> Tensor:
    """bool [B, T] with holes, padding, and now and then a row without any action."""
    rows, steps = draw(st.integers(1, max_rows)), draw(st.integers(1, max_steps))
    return torch.tensor(
        draw(st.lists(st.lists(st.booleans(), min_size=steps, max_size=steps), min_size=rows, max_size=rows))
    )


def compacted(array_BT: Tensor, mask_BT: Tensor, row: int) -> Tensor:
    """[1, K]: the row's own steps with the holes taken out."""
    return array_BT[row][mask_BT[row]][None]


def with_junk(array_BT: Tensor, mask_BT: Tensor, junk: float) -> Tensor:
    """The array with every masked slot overwritten."""
    if array_BT.dtype == torch.bool:
        return array_BT | ~mask_BT
    return torch.where(mask_BT, array_BT, torch.full_like(array_BT, junk))


def value_and_gradients(
    function: Callable[..., Tensor], arrays: Sequence[Tensor], mask_BT: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """A formula's result, and the gradient of a weighted sum of it with respect to each float array."""
    inputs = [array.clone().requires_grad_(array.is_floating_point()) for array in arrays]
    result = function(*inputs, mask_BT)
    floats = [array for array in inputs if array.requires_grad]
    weights = normal(7, tuple(result.shape))
    gradients = torch.autograd.grad((result * weights).sum(), floats, allow_unused=True)
    return result.detach(), [torch.zeros_like(a) if g is None else g for a, g in zip(floats, gradients, strict=True)]
