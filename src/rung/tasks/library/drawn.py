"""Tasks whose problems are drawn at random, keyed, so that the nth is the same whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rung.errors import SettingsError
from rung.random import keyed_share
from rung.tasks.task import Example, Item, Lazy, TextTask

HELD_OUT_SHARE = 0.2
"""This share of all problems is never trained on; a hash of the problem itself decides."""
WORKING_SHARE = 0.5
"""This share of the worked examples shows the working where there is one, the others the answer alone."""


@dataclass(frozen=True)
class Problem:
    """A problem that was drawn."""

    key: tuple[str | int, ...]
    """Names it: equal for problems that must stand on one side of train and held-out."""
    prompt: str
    columns: Mapping[str, Any]
    bare: str
    """The completion that gives the answer alone."""
    worked: str = ""
    """The completion that shows the working."""


Candidates = Callable[[str, int], Iterable[Problem]]
"""(stream, number) -> endless problems, of which the first on the wanted side is taken."""


def drawn_task(
    name: str, candidates: Candidates, *, seed: int, size: int, held_out: int | None, usual: int = 200, **task: Any
) -> TextTask:
    """The task. The split into train and held-out does not depend on its seed.

    Args:
        seed: which problems are drawn.
        size: train items, and as many worked examples. They are made when they are asked for.
        held_out: held-out items, all different; None: `usual`, or all there are where there are fewer.
        task: further fields of the task.
    """

    def item(side: str, index: int, problem: Problem) -> Item:
        return Item(id=f"{side}-{index}", prompt=problem.prompt, columns=problem.columns)

    def example(index: int) -> Example:
        problem = on_side(False, candidates("examples", index))
        shown = problem.worked and keyed_share(f"{name} working", seed, index) < WORKING_SHARE
        return Example(prompt=problem.prompt, completion=problem.worked if shown else problem.bare)

    apart = different(
        lambda index: on_side(True, candidates("held-out", index)), held_out or usual, or_all=held_out is None
    )
    return TextTask(
        name=name,
        train=Lazy(size, lambda index: item("train", index, on_side(False, candidates("train", index)))),
        held_out=tuple(item("held-out", index, problem) for index, problem in enumerate(apart)),
        examples=Lazy(size, example),
        **{"stop": ("\n",), **task},
    )


def on_side(held_out: bool, problems: Iterable[Problem]) -> Problem:
    """The first of endless problems that is on this side of train and held-out."""
    return next(problem for problem in problems if is_held_out(*problem.key) == held_out)


def is_held_out(*problem: str | int) -> bool:
    """Whether a problem, named by its task and its numbers, is never trained on."""
    return keyed_share(*problem) < HELD_OUT_SHARE


def different(draw: Callable[[int], Problem], count: int, *, or_all: bool = False) -> list[Problem]:
    """The first `count` problems with different prompts; `or_all`: what there is where there are fewer.

    Raises SettingsError: after 20 draws for each there are still fewer: the held-out problems have run out.
    """
    found: dict[str, Problem] = {}
    for index in range(20 * count + 400):
        problem = draw(index)
        found.setdefault(problem.prompt, problem)
        if len(found) == count:
            break
    if len(found) < count and not (or_all and found):
        few = f"there are about {len(found)} different held-out problems; ask for fewer"
        raise SettingsError(f"held_out: got {count}, but {few}")
    return list(found.values())


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
