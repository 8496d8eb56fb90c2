"""Few weights as one row of numbers: nobody notices, and the optimiser takes the same step."""

from __future__ import annotations

import pytest
import torch
from episodes import random_episodes
from torch import nn

from rung.batch import Batch
from rung.errors import CheckpointError
from rung.training.assemble import assemble
from rung.training.optimized import FEW, Optimized


def named(*sizes: int) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {f"w{n}": nn.Parameter(torch.randn(size, size, generator=generator)) for n, size in enumerate(sizes)}


def steps(weights: dict[str, nn.Parameter], parameters: list[nn.Parameter], optimized: Optimized | None) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=0.1, fused=True)
    for _ in range(3):
        for weight in weights.values():
            weight.grad = None
        sum(weight.square().sum() for weight in list(weights.values())[:-1]).backward()  # the last has no gradient
        if optimized is not None:
            optimized.gather()
        optimizer.step()


def test_few_weights_are_one_row_and_take_the_same_steps() -> None:
    plain, rowed = named(2, 3), named(2, 3)
    optimized = Optimized(rowed)
    assert [p.numel() for p in optimized.parameters] == [13]
    steps(plain, [plain["w0"]], None)
    steps(rowed, optimized.parameters, optimized)
    assert torch.equal(plain["w0"], rowed["w0"])
    assert optimized.parameters[0][:4].tolist() == rowed["w0"].flatten().tolist(), "they are views of the row"


def test_many_or_mixed_weights_stay_as_they_are() -> None:
    large = named(2, int(FEW**0.5) + 1)
    assert Optimized(large).parameters == list(large.values())
    mixed = {**named(2), "other": nn.Parameter(torch.zeros(2, dtype=torch.float64))}
    assert Optimized(mixed).parameters == list(mixed.values())
    assert Optimized({}).parameters == []


def test_a_state_of_other_weights_is_refused() -> None:
    one, other = Optimized(named(2, 3)), Optimized(named(2, 4))
    optimizer = torch.optim.AdamW(one.parameters)
    one.parameters[0].grad = torch.ones_like(one.parameters[0])
    optimizer.step()
    state = one.state(optimizer)
    fresh = torch.optim.AdamW(one.parameters)
    one.restore(fresh, state)
    assert torch.equal(one.state(fresh)["weights/exp_avg"], state["weights/exp_avg"])
    with pytest.raises(CheckpointError, match=r"\(13,\).*\(20,\)"):
        other.restore(torch.optim.AdamW(other.parameters), state)


def test_parts_of_a_batch_are_its_rows_and_join_again() -> None:
    batch = assemble(random_episodes())
    chosen = [torch.tensor([3, 0]), torch.tensor([2]), torch.tensor([1, 4, 5])]
    parts = batch.parts(chosen)
    for part, rows_B in zip(parts, chosen, strict=True):
        assert same(part, batch.rows(rows_B))
    assert same(Batch.joined(parts), batch.rows(torch.cat(chosen)))
    assert not same(parts[0], batch.rows(torch.tensor([0, 3]))), "the order counts"


def same(one: Batch, other: Batch) -> bool:
    tensors = {name for name, value in vars(one).items() if isinstance(value, torch.Tensor)}
    contexts = zip(one.contexts, other.contexts, strict=True)
    return all(torch.equal(a, b) for a, b in contexts) and all(
        torch.allclose(getattr(one, name), getattr(other, name), rtol=0, atol=0, equal_nan=True) for name in tensors
    )
