"""`running-sum`: several one-digit numbers added and taken away, worked out one after another.

The prompt is `3+5-2+7=`; the worked answer tells each running total and then the last, `8,6=13` with a line end. One
step is easy and there are several, so a wrong working has one wrong step: rewarding each step can help. With `steps`
each total is judged where it ends; without, the last number of the answer alone.

Half of the worked examples show the working and half give the answer alone, as in `arithmetic`.

The task's own tiny model (`--model tiny`, and `rung sft --model tiny`) has one token a digit, `+`, `-`, `=`, the comma,
the line end, and four special ones.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from itertools import accumulate

from rung.errors import SettingsError
from rung.random import draws
from rung.rewards.rules import rewards_of_working
from rung.tasks.library.drawn import Problem, drawn_task, require_within
from rung.tasks.task import TextTask

MOST_TERMS = 20


def chain(terms: Sequence[int]) -> Problem:
    """Numbers to be added one after another: `chain((3, 5, -2, 7))` is `3+5-2+7=`, worked as `8,6=13`."""
    totals = list(accumulate(terms))[1:]  # after each term but the first; the last one is the answer
    *before, answer = map(str, totals)
    columns = {"answer": totals[-1], "terms": len(terms), "steps": totals}
    text = f"{terms[0]}{''.join(f'{term:+d}' for term in terms[1:])}="
    worked = f"{','.join(before)}={answer}\n" if before else f"{answer}\n"
    return Problem(("running-sum", *terms), text, columns, f"{answer}\n", worked)


def running_sum(
    *,
    seed: int = 0,
    terms: Sequence[int] = (3, 4, 5, 6),
    size: int = 20_000,
    held_out: int | None = None,
    steps: bool = False,
) -> TextTask:
    """`running-sum`: several one-digit numbers added and taken away, worked out one after another.

    `seed`, `size` and `held_out` are those of `drawn_task`.

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

    def candidates(stream: str, index: int) -> Iterable[Problem]:
        """Numbers from 1 to 9, each but the first added or taken away as a random number says; lengths take turns."""
        count = chosen[index % len(chosen)]
        for row in draws("running-sum", seed, stream, index, width=2 * count):
            signs = [1, *(1 if number % 2 else -1 for number in row[1:count])]
            numbers = [sign * (1 + number % 9) for sign, number in zip(signs, row[count:], strict=True)]
            if min(list(accumulate(numbers))[1:]) >= 0:
                yield chain(numbers)

    own = {"rewards": rewards_of_working(steps=steps), "characters": f"\n{string.digits}+-=,"}
    return drawn_task("running-sum", candidates, seed=seed, size=size, held_out=held_out, **own)
