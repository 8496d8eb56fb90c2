"""`addition-few-shot`: worked sums, then one to do, for a language model that continues text.

    12 + 35 = 47
    68 + 27 = 95
    41 + 16 = 57
    23 + 59 =

The first number of the completion counts and the episode ends at the line end. The worked sums are the same for all
prompts, so their computation can be shared.
"""

from __future__ import annotations

from rung.random import draws
from rung.rewards.reward import WeightedReward
from rung.rewards.rules import NumberEquals, first_integer
from rung.tasks.library.drawn import drawn_task, is_held_out, require_within
from rung.tasks.task import Example, Item, TextTask


def addition_few_shot(
    *, seed: int = 0, digits: int = 2, shots: int = 3, size: int = 5000, held_out: int | None = None
) -> TextTask:
    """The task; `seed`, `size` and `held_out` are those of `drawn_task`.

    Args:
        digits: of both terms, 1 to 9.
        shots: how many worked sums stand before the question.

    >>> addition_few_shot().train[0].prompt.endswith(" =")
    True
    """
    require_within(size, held_out, digits=(digits, 1, 9), shots=(shots, 0, 100))

    def draw(stream: str, index: int, held: bool) -> tuple[int, int]:
        return _pair(seed, stream, index, digits, held)

    header = "".join(f"{a} + {b} = {a + b}\n" for a, b in (draw("shots", i, False) for i in range(shots)))

    def item(item_id: str, pair: tuple[int, int]) -> Item:
        return Item(id=item_id, prompt=f"{header}{pair[0]} + {pair[1]} =", columns={"answer": sum(pair)})

    def example(index: int, pair: tuple[int, int]) -> Example:
        return Example(prompt=item("", pair).prompt, completion=f" {sum(pair)}\n")

    rewards = (WeightedReward(reward=NumberEquals(find=first_integer)),)
    return drawn_task("addition-few-shot", draw, item, example, size=size, held_out=held_out, rewards=rewards)


def _pair(seed: int, stream: str, index: int, digits: int, held_out: bool) -> tuple[int, int]:
    """The first pair of draw number `index` on the wanted side; a + b and b + a are one pair."""
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits
    for numbers in draws("addition", digits, seed, stream, index, width=2):
        a, b = (low + number % (high - low) for number in numbers)
        if is_held_out("addition", *sorted((a, b))) == held_out:
            return a, b
    raise AssertionError("draws are endless")
