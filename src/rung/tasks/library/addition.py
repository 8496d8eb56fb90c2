"""`addition-few-shot`: worked sums, then one to do, for a language model that continues text.

    12 + 35 = 47
    68 + 27 = 95
    41 + 16 = 57
    23 + 59 =

The first number of the completion counts and the episode ends at the line end. The worked sums are the same for all
prompts, so their computation can be shared.
"""

from __future__ import annotations

from rung.random import draws, keyed_share
from rung.rewards.reward import WeightedReward
from rung.rewards.rules import NumberEquals, first_integer
from rung.tasks.library.different import different, require_within
from rung.tasks.task import Example, Item, Lazy, TextTask

HELD_OUT_SHARE = 0.2
"""Of all pairs, by a hash of the pair; a + b and b + a are one pair."""


def addition_few_shot(
    *, seed: int = 0, digits: int = 2, shots: int = 3, size: int = 5000, held_out: int = 200
) -> TextTask:
    """The task.

    Args:
        seed: which pairs are drawn, and which sums are shown.
        digits: of both terms, 1 to 9.
        shots: how many worked sums stand before the question.
        size: train items, made when asked for; worked examples as many.
        held_out: held-out items, all different.

    >>> addition_few_shot().train[0].prompt.endswith(" =")
    True
    """
    _check(digits, shots, size, held_out)
    header = "".join(
        f"{a} + {b} = {a + b}\n" for a, b in (_pair(seed, "shots", i, digits, False) for i in range(shots))
    )

    def question(a: int, b: int) -> str:
        return f"{header}{a} + {b} ="

    def train_item(index: int) -> Item:
        a, b = _pair(seed, "train", index, digits, False)
        return Item(id=f"train-{index}", prompt=question(a, b), columns={"answer": a + b})

    def example(index: int) -> Example:
        a, b = _pair(seed, "examples", index, digits, False)
        return Example(prompt=question(a, b), completion=f" {a + b}\n")

    pairs = different(lambda i: _pair(seed, "held-out", i, digits, True), held_out)
    return TextTask(
        name="addition-few-shot",
        train=Lazy(size, train_item),
        held_out=tuple(
            Item(id=f"held-out-{i}", prompt=question(a, b), columns={"answer": a + b}) for i, (a, b) in enumerate(pairs)
        ),
        rewards=(WeightedReward(reward=NumberEquals(find=first_integer)),),
        examples=Lazy(size, example),
        stop=("\n",),
    )


def _pair(seed: int, stream: str, index: int, digits: int, held_out: bool) -> tuple[int, int]:
    """The first pair of draw number `index` that lies on the wanted side."""
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits
    for numbers in draws("addition", digits, seed, stream, index, width=2):
        a, b = (low + number % (high - low) for number in numbers)
        if (keyed_share("addition", *sorted((a, b))) < HELD_OUT_SHARE) == held_out:
            return a, b
    raise AssertionError("draws are endless")


def _check(digits: int, shots: int, size: int, held_out: int) -> None:
    require_within(
        {
            "digits": (digits, 1, 9),
            "shots": (shots, 0, 100),
            "size": (size, 1, None),
            "held_out": (held_out, 1, None),
        }
    )
