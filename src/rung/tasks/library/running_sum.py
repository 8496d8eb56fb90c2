"""`running-sum`: several one-digit numbers added and taken away, worked out one after another.

The prompt is `3+5-2+7=`; the worked answer tells each running total and then the last, `8,6=13` with a line end. One
step is easy and there are several, so a wrong working has one wrong step: rewarding each step can help. With `steps`
each total is judged where it ends; without, the last number of the answer alone.

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
from rung.tasks.library.drawn import WORKING_SHARE, drawn_task, is_held_out, require_within
from rung.tasks.task import Example, Item, TextTask

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
        return is_held_out("running-sum", *self.terms)


def running_sum(
    *,
    seed: int = 0,
    terms: Sequence[int] = (3, 4, 5, 6),
    size: int = 20_000,
    held_out: int | None = None,
    steps: bool = False,
) -> TextTask:
    """The task; `seed`, `size` and `held_out` are those of `drawn_task`.

    Args:
        terms: how many numbers a problem has, each of these as often as the others; 2 to 20. No total is below 0.
        steps: judge each running total where it ends (for `grpo_process`); the last is the answer, and its being right
            is still the accuracy.

    >>> task = running_sum()
    >>> [task.examples[n].prompt + task.examples[n].completion for n in (0, 1)]
    ['5+8-1=13=12\\n', '7+7-5+7=16\\n']
    """
    require_within(size, held_out)
    if not terms or any(not 2 <= count <= MOST_TERMS for count in terms):
        raise SettingsError(f"terms: got {list(terms)}, expected whole numbers from 2 to {MOST_TERMS}")
    chosen = tuple(terms)

    def draw(stream: str, index: int, held: bool) -> Chain:
        """The first problem of draw number `index` that lies on the wanted side; the lengths take turns."""
        rows = draws("running-sum", seed, stream, index, width=2 * chosen[index % len(chosen)])
        return next(chain for chain in map(_chain, rows) if min(chain.totals) >= 0 and chain.held_out == held)

    def example(index: int, chain: Chain) -> Example:
        shown = keyed_share("running-sum working", seed, index) < WORKING_SHARE
        return Example(prompt=f"{chain.text}=", completion=f"{chain.worked if shown else chain.totals[-1]}\n")

    own = {"rewards": rewards_of_working(steps=steps), "characters": f"\n{string.digits}+-=,"}
    return drawn_task("running-sum", draw, _item, example, size=size, held_out=held_out, **own)


def _chain(numbers: Sequence[int]) -> Chain:
    """One-digit numbers above 0, the first added, each other added or taken away as its random number says."""
    count = len(numbers) // 2
    signs = [1, *(1 if number % 2 else -1 for number in numbers[1:count])]
    return Chain(tuple(sign * (1 + number % 9) for sign, number in zip(signs, numbers[count:], strict=True)))


def _item(item_id: str, chain: Chain) -> Item:
    columns = {"answer": chain.totals[-1], "terms": len(chain.terms), "steps": chain.totals}
    return Item(id=item_id, prompt=f"{chain.text}=", columns=columns)
