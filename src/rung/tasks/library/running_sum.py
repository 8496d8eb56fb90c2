"""`running-sum`: several one-digit numbers added and taken away, worked out one after another.

The prompt is `3+5-2+7=`; the worked answer tells each running total and then the last, `8,6=13` with a line end. One
step is easy and there are several of them, so a working is wrong because one of its steps is: where a reward stands
can matter. With `steps` each total is judged where it ends; without, the last number of the answer alone.

Half of the worked examples show the working and half give the answer alone, as in `arithmetic`: a small model that
imitates them does both, and is right more often with the working.

The task's own tiny model (`--model tiny`, and `rung sft --model tiny`) has one token a digit, `+`, `-`, `=`, the comma,
the line end, and four special ones.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rung.errors import SettingsError
from rung.random import draws, keyed_share
from rung.rewards.rules import rewards_of_working
from rung.tasks.library.different import different, require_within
from rung.tasks.task import Example, Item, Lazy, TextTask

HELD_OUT_SHARE = 0.2
"""This share of all problems is never trained on; a hash of the problem itself decides."""
WORKING_SHARE = 0.5
"""This share of the worked examples shows the working, the others the answer alone."""
MOST_TERMS = 20


@dataclass(frozen=True)
class Chain:
    """Numbers to be added one after another. Example: `Chain((3, 5, -2, 7))` is `3+5-2+7`, worked as `8,6=13`."""

    terms: tuple[int, ...]

    @property
    def text(self) -> str:
        return f"{self.terms[0]}{''.join(f'{term:+d}' for term in self.terms[1:])}"

    @property
    def totals(self) -> list[int]:
        """After each term but the first; the last one is the answer."""
        return list(accumulate(self.terms))[1:]

    @property
    def worked(self) -> str:
        *before, answer = map(str, self.totals)
        return f"{','.join(before)}={answer}" if before else answer

    @property
    def held_out(self) -> bool:
        return keyed_share("running-sum", *self.terms) < HELD_OUT_SHARE


def running_sum(
    *, seed: int = 0, terms: Sequence[int] = (3, 4, 5, 6), size: int = 20_000, held_out: int = 200, steps: bool = False
) -> TextTask:
    """The task.

    Args:
        seed: which problems are drawn; the split into train and held-out does not depend on it.
        terms: how many numbers a problem has, each of these as often as the others; 2 to 20. No total is below 0.
        size: train items; worked examples as many. They are made when asked for.
        held_out: held-out items, all different.
        steps: judge each running total where it ends (for `grpo_process`); the last is the answer, and its being right
            is still the accuracy.

    >>> task = running_sum()
    >>> [task.examples[n].prompt + task.examples[n].completion for n in (0, 1)]
    ['5+8-1=13=12\\n', '7+7-5+7=16\\n']
    """
    _check(terms, size, held_out)
    chosen = tuple(terms)

    def drawn(stream: str, index: int, *, held: bool) -> Chain:
        """The first problem of draw number `index` that lies on the wanted side; the lengths take turns."""
        rows = draws("running-sum", seed, stream, index, width=2 * chosen[index % len(chosen)])
        return next(chain for chain in map(_chain, rows) if min(chain.totals) >= 0 and chain.held_out == held)

    def train_item(index: int) -> Item:
        return _item(f"train-{index}", drawn("train", index, held=False))

    def example(index: int) -> Example:
        chain = drawn("examples", index, held=False)
        shown = keyed_share("running-sum working", seed, index) < WORKING_SHARE
        return Example(prompt=f"{chain.text}=", completion=f"{chain.worked if shown else chain.totals[-1]}\n")

    apart = different(lambda index: drawn("held-out", index, held=True), held_out)
    return TextTask(
        name="running-sum",
        train=Lazy(size, train_item),
        held_out=tuple(_item(f"held-out-{index}", chain) for index, chain in enumerate(apart)),
        rewards=rewards_of_working(steps=steps),
        examples=Lazy(size, example),
        stop=("\n",),
        characters=f"\n{string.digits}+-=,",
    )


def _chain(numbers: Sequence[int]) -> Chain:
    """One-digit numbers above 0, the first added, each other added or taken away as its random number says."""
    count = len(numbers) // 2
    signs = [1, *(1 if number % 2 else -1 for number in numbers[1:count])]
    return Chain(tuple(sign * (1 + number % 9) for sign, number in zip(signs, numbers[count:], strict=True)))


def _item(item_id: str, chain: Chain) -> Item:
    columns = {"answer": chain.totals[-1], "terms": len(chain.terms), "steps": chain.totals}
    return Item(id=item_id, prompt=f"{chain.text}=", columns=columns)


def _check(terms: Sequence[int], size: int, held_out: int) -> None:
    require_within({"size": (size, 1, None), "held_out": (held_out, 1, None)})
    if not terms or any(not 2 <= count <= MOST_TERMS for count in terms):
        raise SettingsError([f"terms: got {list(terms)}, expected whole numbers from 2 to {MOST_TERMS}"])
