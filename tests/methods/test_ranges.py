"""Every number of every shipped part has a range, and a part of one's own brings its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated

import pytest

from rung.methods import METHODS
from rung.methods.data import KINDS, as_data, classes_by_name
from rung.methods.grpo import GRPO
from rung.methods.parts.optimizers import AdamW
from rung.methods.ranges import SHARE, Range, out_of_range, ranges_of
from rung.methods.slots import SHIPPED, choices, hints_of


@dataclass(frozen=True)
class ShrunkReturn:
    share: Annotated[float, SHARE] = 0.5
    free: float = 0.0

    def __call__(self, batch):
        return self.share * batch.rewards_BT


@pytest.mark.parametrize("cls", [*KINDS, *SHIPPED.values()])
def test_every_number_has_a_range(cls) -> None:
    numbers = {name for name, hint in hints_of(cls).items() if {int, float} & set(choices(hint))}
    assert numbers == set(ranges_of(cls))


@pytest.mark.parametrize("cls", [*KINDS, *SHIPPED.values()])
def test_no_range_lets_nan_through_and_defaults_are_within(cls) -> None:
    defaults = {f.name: f.default for f in fields(cls)}
    for name, limits in ranges_of(cls).items():
        assert isinstance(limits, Range) and not limits.holds(math.nan)
        if isinstance(defaults[name], int | float):
            assert limits.holds(defaults[name])


def test_a_method_and_its_data_have_the_same_sentences() -> None:
    method = GRPO.changed(name="x", num_epochs=0, optimizer=AdamW(learning_rate=-1, beta2=1.0))
    sentences = [
        "method.optimizer.learning_rate: got -1, expected more than 0",
        "method.optimizer.beta2: got 1, expected at least 0 and below 1",
        "method.num_epochs: got 0, expected at least 1",
    ]
    assert list(out_of_range(method)) == list(out_of_range(as_data(method), classes_by_name())) == sentences
    assert [problem for problem in method.problems() if "expected" in problem] == sentences
    assert all(list(out_of_range(ladder)) == [] for ladder in METHODS.values())


def test_the_range_of_ones_own_part() -> None:
    method = GRPO.changed(name="mine", advantage=ShrunkReturn(share=1.5, free=-9.0))
    wrong = ["method.advantage.share: got 1.5, expected between 0 and 1"]
    assert list(out_of_range(method)) == wrong
    assert list(out_of_range(as_data(method), classes_by_name([ShrunkReturn]))) == wrong
    assert list(out_of_range(as_data(method), classes_by_name())) == []  # its class is not known: said by `from_data`
