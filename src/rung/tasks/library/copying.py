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
from collections.abc import Iterable

from rung.errors import SettingsError
from rung.random import draws
from rung.rewards.reward import WeightedReward
from rung.rewards.rules import PlacesRight
from rung.tasks.library.drawn import Problem, drawn_task, is_held_out, require_within
from rung.tasks.task import TextTask

FEW = 1000
"""Strings, up to which it is looked whether both sides have some; of more, a fifth is never none."""
SEPARATOR = "="
LETTERS = string.digits + string.ascii_letters + "".join(map(chr, range(0x100, 0x1C2)))
"""256 symbols, each one character: digits, letters, and letters of extended Latin."""


def copying(
    *, seed: int = 0, symbols: int = 16, length: int = 4, size: int = 20_000, held_out: int | None = None
) -> TextTask:
    """`copying`: repeat a string of symbols, over an alphabet of a size that you set.

    `seed`, `size` and `held_out` are those of `drawn_task`.

    Args:
        symbols: of the alphabet, 2 to 256.
        length: symbols of a string, 1 to 15.

    >>> task = copying(symbols=8)
    >>> task.train[0].prompt, task.train[0].columns["answer"]
    ('5671=', '5671')
    """
    require_within(size, held_out, symbols=(symbols, 2, len(LETTERS)), length=(length, 1, 15))
    alphabet = LETTERS[:symbols]
    strings = map("".join, itertools.product(alphabet, repeat=length))
    if symbols**length <= FEW and len({is_held_out("copying", symbols, one) for one in strings}) < 2:
        raise SettingsError(
            f"length: got {length}, but {symbols} symbols make {symbols**length} strings, all of them on one side "
            "of train and held-out; set more symbols or a greater length"
        )

    def candidates(stream: str, index: int) -> Iterable[Problem]:
        for row in draws("copying", seed, stream, index, width=length):
            answer = "".join(alphabet[number % symbols] for number in row)
            yield Problem(("copying", symbols, answer), f"{answer}{SEPARATOR}", {"answer": answer}, answer)

    own = {"rewards": (WeightedReward(reward=PlacesRight()),), "stop": (), "characters": alphabet + SEPARATOR}
    return drawn_task("copying", candidates, seed=seed, size=size, held_out=held_out, usual=100, **own)
