"""Few weights as one row of numbers: nobody notices, and the optimizer takes the same step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from episodes import random_episodes
from torch import nn

from rung.batch import Batch
from rung.errors import CheckpointError
from rung.trainers.assemble import assemble
from rung.trainers.optimizer import FEW, Optimized, optimizer_step


def named(*sizes: int) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {f"w{n}": nn.Parameter(torch.randn(size, size, generator=generator)) for n, size in enumerate(sizes)}


def steps(weights: dict[str, nn.Parameter], parameters: list[nn.Parameter], optimized: Optimized | None) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=0.1, fused=True)
    for _ in range(3):
        for weight in weights.values():
            weight.grad = None
        if optimized is not None:
            optimized.clear()
        sum(weight.square().sum() for weight in list(weights.values())[:-1]).backward()  # the last has no gradient
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


@pytest.mark.parametrize(
    "made",
    [
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.2, betas=(0.8, 0.9), eps=1e-3, fused=True),
        lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.2, fused=True),
        lambda p: torch.optim.RMSprop(p, lr=0.1),
    ],
)
def test_a_step_of_one_row_is_torchs_to_the_byte(made: Callable[..., torch.optim.Optimizer]) -> None:
    plain, ours = (nn.Parameter(torch.linspace(-1, 1, 9)) for _ in range(2))
    theirs, optimizer = made([plain]), made([ours])
    for n in range(4):
        for parameter in (plain, ours):
            parameter.grad = None if n == 2 else torch.sin(parameter.detach() + n)
        for one in (theirs, optimizer):
            one.param_groups[0]["lr"] = 0.1 / (n + 1)
        theirs.step()
        optimizer_step(optimizer)
        assert torch.equal(plain, ours)
        of_plain, of_ours = theirs.state[plain], optimizer.state[ours]
        assert of_plain.keys() == of_ours.keys() and all(torch.equal(of_plain[k], of_ours[k]) for k in of_plain)
