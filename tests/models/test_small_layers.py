"""Layers in numpy are the same layers: values and gradients as torch has them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from rung.models.small import layers as small_layers
from rung.models.small.layers import through


def layers_of(*widths: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(sum(widths))
    return [
        (
            torch.randn(after, before, generator=generator).requires_grad_(),
            torch.randn(after, generator=generator).requires_grad_(),
        )
        for before, after in pairwise(widths)
    ]


def torchs(layers: list[tuple[Tensor, Tensor]], inputs_N: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        inputs_N = torch.tanh(inputs_N @ weight.T + bias)
    return inputs_N @ layers[-1][0].T + layers[-1][1]


@pytest.mark.parametrize("widths", [(4, 2), (3, 5, 1), (4, 64, 64, 2), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_values_and_gradients_are_torchs(widths: tuple[int, ...], rows: int) -> None:
    layers = layers_of(*widths)
    flat = [tensor for layer in layers for tensor in layer]
    inputs_N = torch.randn(rows, widths[0], generator=torch.Generator().manual_seed(1))
    pull_N = torch.randn(rows, widths[-1], generator=torch.Generator().manual_seed(2))
    found, expected = through(layers, inputs_N), torchs(layers, inputs_N)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.grad_fn is not None and "Dense" in type(found.grad_fn).__name__, "else nothing is tested"
    ours = torch.autograd.grad((found.square() * pull_N).sum(), flat)
    theirs = torch.autograd.grad((expected.square() * pull_N).sum(), flat)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-4 * float(other.abs().max()))


def test_what_numpy_cannot_do_goes_through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, inputs_N = layers_of(3, 5, 1), torch.randn(4, 3)
    monkeypatch.setattr(small_layers._Dense, "apply", None)  # calling it would raise
    weight = layers[0][0]
    first = torch.autograd.grad(through(layers, inputs_N, twice=True).square().sum(), weight, create_graph=True)[0]
    assert torch.autograd.grad(first.sum(), weight)[0].any()
    through(layers, inputs_N.clone().requires_grad_())
    through([(w.double(), b.double()) for w, b in layers], inputs_N.double())
    through(layers, torch.zeros(small_layers.FEW_ROWS + 1, 3))
    with pytest.raises(TypeError):
        through(layers, inputs_N)
