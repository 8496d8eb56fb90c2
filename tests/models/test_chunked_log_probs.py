from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rung.models.language.chunked_log_probs import chunked_log_probs

N, D, V = 6, 5, 23


def _given(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=drawn, dtype=dtype).requires_grad_()
    weight = torch.randn(V, D, generator=drawn, dtype=dtype).requires_grad_()
    bias = torch.randn(V, generator=drawn, dtype=dtype).requires_grad_()
    return hidden, weight, bias, torch.tensor([0, 22, 7, 7, 3, 11])


def _whole(hidden: Any, weight: Any, bias: Any, targets: Any, temperature: float) -> tuple[Any, Any]:
    log_NV = ((hidden @ weight.t() + bias) / temperature).log_softmax(-1)
    return log_NV.gather(1, targets[:, None])[:, 0], -(log_NV.exp() * log_NV).sum(-1)


@pytest.mark.parametrize("chunk", [1, 2, 7, 22, 23, 100, None])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_any_chunk_gives_the_whole_softmax_and_its_gradients(chunk: int | None, temperature: float) -> None:
    given = _given()
    expected = _whole(*given, temperature)
    hidden, weight, bias, targets = given
    got = chunked_log_probs(
        hidden, weight, targets, bias_V=bias, temperature=temperature, with_entropy=True, chunk=chunk
    )
    pull = torch.linspace(-1, 2, N, dtype=torch.float64)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    both = [torch.autograd.grad((lp * pull + h * pull.flip(0)).sum(), given[:3]) for lp, h in (got, expected)]
    for mine, theirs in zip(*both, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_gradcheck_of_log_probs_and_entropy() -> None:
    hidden, weight, bias, targets = _given()

    def both(h: Any, w: Any, b: Any) -> Any:
        return chunked_log_probs(h, w, targets, bias_V=b, temperature=0.7, with_entropy=True, chunk=4)

    def alone(h: Any, w: Any) -> Any:
        return chunked_log_probs(h, w, targets, chunk=4)[0]

    assert torch.autograd.gradcheck(both, (hidden, weight, bias))
    assert torch.autograd.gradcheck(alone, (hidden, weight))


def test_a_frozen_head_gets_no_gradient_and_the_hidden_state_does() -> None:
    hidden, weight, _, targets = _given()
    log_probs, entropy = chunked_log_probs(hidden, weight.detach(), targets)
    (grad,) = torch.autograd.grad(log_probs.sum(), [hidden])
    assert entropy is None and grad.abs().sum() > 0


def test_what_is_not_finite_is_not_hidden() -> None:
    weight = torch.eye(4)
    hidden = torch.tensor(
        [
            [0.0, -torch.inf, 0.0, 0.0],  # an impossible target
            [-torch.inf, -torch.inf, 1.0, 1.0],  # a first chunk without any possible token
            [0.0, torch.nan, 0.0, 0.0],
            [0.0, torch.inf, 0.0, 0.0],
            [-torch.inf] * 4,
        ]
    )
    # inf·0 is NaN, so these logits are given through an identity bias instead of a product.
    for row, logits in enumerate(hidden):
        log_probs, entropy = chunked_log_probs(
            torch.zeros(1, 4), weight, torch.tensor([1 if row != 1 else 2]), bias_V=logits, with_entropy=True, chunk=2
        )
        assert entropy is not None
        if row == 0:
            assert log_probs.item() == -torch.inf
            assert entropy.item() == pytest.approx(torch.log(torch.tensor(3.0)).item())
        elif row == 1:
            assert log_probs.item() == pytest.approx(-torch.log(torch.tensor(2.0)).item())
        else:
            assert log_probs.isnan().all() and entropy.isnan().all()


def test_an_impossible_token_leaves_the_gradient_finite() -> None:
    bias = torch.tensor([0.0, -torch.inf, 1.0, 2.0])
    hidden = torch.zeros(1, 4, requires_grad=True)
    log_probs, entropy = chunked_log_probs(
        hidden, torch.eye(4), torch.tensor([2]), bias_V=bias, with_entropy=True, chunk=2
    )
    assert entropy is not None
    (log_probs.sum() + entropy.sum()).backward()
    assert hidden.grad is not None and hidden.grad.isfinite().all() and hidden.grad[0, 1] == 0


def test_it_is_float32_under_autocast() -> None:
    hidden, weight, bias, targets = (t.detach().float() if t.is_floating_point() else t for t in _given())
    plain, _ = chunked_log_probs(hidden, weight, targets, bias_V=bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = chunked_log_probs(hidden, weight, targets, bias_V=bias)
        low, _ = chunked_log_probs(hidden.bfloat16(), weight, targets, bias_V=bias)
    assert cast.dtype == low.dtype == torch.float32 and torch.equal(plain, cast)
    assert not torch.equal(plain, low)


class _Largest(TorchDispatchMode):
    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.numbers = max(self.numbers, out.numel())
        return out


def test_logits_of_the_whole_vocabulary_never_exist() -> None:
    hidden = torch.randn(64, 8, requires_grad=True)
    weight = torch.randn(4000, 8, requires_grad=True)
    with _Largest() as seen:
        log_probs, entropy = chunked_log_probs(hidden, weight, torch.arange(64), with_entropy=True, chunk=100)
        assert entropy is not None
        (log_probs + entropy).sum().backward()
    assert seen.numbers == 4000 * 8  # the head's gradient; logits would be 64 * 4000


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_gives_no_law_is_refused(temperature: float) -> None:
    hidden, weight, _, targets = _given()
    with pytest.raises(ValueError, match="temperature: got"):
        chunked_log_probs(hidden, weight, targets, temperature=temperature)
