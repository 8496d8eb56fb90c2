"""Tasks whose problems are drawn at random, keyed, so that the nth is the same whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rung.errors import SettingsError
from rung.random import keyed_share
from rung.rewards.reward import WeightedReward
from rung.tasks.task import Example, Item, Lazy, TextTask

T = TypeVar("T")

HELD_OUT_SHARE = 0.2
"""This share of all problems is never trained on; a hash of the problem itself decides."""
WORKING_SHARE = 0.5
"""This share of the worked examples shows the working, the others the answer alone."""


def drawn_task(
    name: str,
    draw: Callable[[str, int, bool], T],
    item: Callable[[str, T], Item],
    example: Callable[[int, T], Example],
    *,
    size: int,
    held_out: int | None,
    usual: int = 200,
    rewards: tuple[WeightedReward, ...],
    stop: tuple[str, ...] = ("\n",),
    characters: str | None = None,
) -> TextTask:
    """The task. Its seed says which problems are drawn; the split into train and held-out does not depend on it.

    Args:
        size: train items, and as many worked examples. They are made when they are asked for.
        draw: (stream, number, held out) -> the problem of that draw, on the wanted side of train and held-out.
        item: (id, problem) -> the item.
        example: (number, problem) -> the worked example.
        held_out: held-out items, all different; None: `usual`, or all there are where there are fewer.
    """
    apart = different(lambda index: draw("held-out", index, True), held_out or usual, or_all=held_out is None)
    return TextTask(
        name=name,
        train=Lazy(size, lambda index: item(f"train-{index}", draw("train", index, False))),
        held_out=tuple(item(f"held-out-{index}", problem) for index, problem in enumerate(apart)),
        rewards=rewards,
        examples=Lazy(size, lambda index: example(index, draw("examples", index, False))),
        stop=stop,
        characters=characters,
    )


def is_held_out(*problem: str | int) -> bool:
    """Whether a problem, named by its task and its numbers, is never trained on."""
    return keyed_share(*problem) < HELD_OUT_SHARE


def different(draw: Callable[[int], T], count: int, *, or_all: bool = False) -> list[T]:
    """The first `count` different values of draw(0), draw(1), ...; `or_all`: what there is where there are fewer.

    >>> different(lambda i: i // 2, 3)
    [0, 1, 2]

    Raises SettingsError: after 20 draws for each there are still fewer: the held-out problems have run out.
    """
    found: dict[T, None] = {}
    for index in range(20 * count + 400):
        found[draw(index)] = None
        if len(found) == count:
            return list(found)
    if or_all and found:
        return list(found)
    few = f"there are about {len(found)} different held-out problems; ask for fewer"
    raise SettingsError(f"held_out: got {count}, but {few}")


def require_within(size: int, held_out: int | None, **others: tuple[int, int, int]) -> None:
    """SettingsError for each number that is too small or too large; `others` are (value, least, greatest).

    >>> require_within(20_000, None, length=(3, 1, 15))
    """
    ranges = {**others, "size": (size, 1, None), "held_out": (held_out, 1, None)}
    problems = [
        f"{name}: got {value}, expected at least {low}" + (f" and at most {high}" if high else "")
        for name, (value, low, high) in ranges.items()
        if value is not None and (value < low or (high is not None and value > high))
    ]
    if problems:
        raise SettingsError(problems)
