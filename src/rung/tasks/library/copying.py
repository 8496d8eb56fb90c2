"""`copying`: repeat a string of symbols, over an alphabet of a size that you set.

The prompt is `k3xa=`, and `k3xa` with an end token answers it. The score is the share of the places that are right,
so that a first step in the right direction is seen whatever the alphabet's size. Nothing else is in the task: how hard
it is for a method depends on how many symbols there are to choose among and how many must be chosen in a row.

The task's own tiny model (`--model tiny`, and `rung sft --model tiny`) has one token a symbol, `=`, and four special
ones: `symbols` + 5 outputs.
"""

from __future__ import annotations

import itertools
import string

from rung.errors import SettingsError
from rung.random import draws
from rung.rewards.reward import WeightedReward
from rung.rewards.rules import PlacesRight
from rung.tasks.library.drawn import drawn_task, is_held_out, require_within
from rung.tasks.task import Example, Item, TextTask

FEW = 1000
"""Strings, up to which it is looked whether both sides have some; of more, a fifth is never none."""
SEPARATOR = "="
LETTERS = string.digits + string.ascii_letters + "".join(map(chr, range(0x100, 0x1C2)))
"""256 symbols, each one character: digits, letters, and letters of extended Latin."""


def copying(
    *, seed: int = 0, symbols: int = 16, length: int = 4, size: int = 20_000, held_out: int | None = None
) -> TextTask:
    """The task; `seed`, `size` and `held_out` are those of `drawn_task`.

    Args:
        symbols: of the alphabet, 2 to 256.
        length: symbols of a string, 1 to 15.

    >>> task = copying(symbols=8)
    >>> task.train[0].prompt, task.train[0].columns["answer"]
    ('5671=', '5671')
    """
    _check(symbols, length, size, held_out)
    alphabet = LETTERS[:symbols]

    def draw(stream: str, index: int, held: bool) -> str:
        """The first string of draw number `index` that lies on the wanted side."""
        rows = draws("copying", seed, stream, index, width=length)
        drawn = ("".join(alphabet[number % symbols] for number in row) for row in rows)
        return next(one for one in drawn if is_held_out("copying", symbols, one) == held)

    def item(item_id: str, answer: str) -> Item:
        return Item(id=item_id, prompt=f"{answer}{SEPARATOR}", columns={"answer": answer})

    def example(index: int, answer: str) -> Example:
        return Example(prompt=f"{answer}{SEPARATOR}", completion=answer)

    rewards = (WeightedReward(reward=PlacesRight()),)
    own = {"usual": 100, "rewards": rewards, "stop": (), "characters": alphabet + SEPARATOR}
    return drawn_task("copying", draw, item, example, size=size, held_out=held_out, **own)


def _check(symbols: int, length: int, size: int, held_out: int | None) -> None:
    require_within(size, held_out, symbols=(symbols, 2, len(LETTERS)), length=(length, 1, 15))
    strings = map("".join, itertools.product(LETTERS[:symbols], repeat=length))
    if symbols**length <= FEW and len({is_held_out("copying", symbols, one) for one in strings}) < 2:
        raise SettingsError(
            f"length: got {length}, but {symbols} symbols make {symbols**length} strings, all of them on one side "
            "of train and held-out; set more symbols or a greater length"
        )
