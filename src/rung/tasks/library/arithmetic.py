"""`arithmetic`: sums, differences and products of mixed difficulty, with worked examples for SFT.

The prompt is `47+38=`, and `85` with a line end answers it. The last whole number of the completion counts, so a model
may write a working first: `70+15=85`, or `320+56=376` for `47*8=`.

The worked examples are of two kinds, as people's are: half of them show the working and half give the answer alone. A
small model that imitates them does both, and is right more often with the working: which of the two pays is left for
reinforcement learning to find out.

| level | problems | longest worked answer, in characters |
|---|---|---|
| 1 | a+b and a-b, up to 20 and one digit | 8 |
| 2 | a+b and a-b, 21 to 99 and one digit | 9 |
| 3 | a*b, one digit by two digits | 10 |
| 4 | a+b and a-b, two digits | 10 |
| 5 | a+b and a-b, three digits | 16 |
| 6 | a*b, two digits by two digits | 20 |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rung.errors import SettingsError
from rung.random import draws, keyed_share
from rung.rewards.rules import rewards_of_working
from rung.tasks.library.drawn import WORKING_SHARE, drawn_task, is_held_out, require_within
from rung.tasks.task import Example, Item, TextTask


@dataclass(frozen=True)
class Problem:
    """`Problem("+", 47, 38)`."""

    operator: str
    a: int
    b: int

    @property
    def text(self) -> str:
        return f"{self.a}{self.operator}{self.b}"

    @property
    def answer(self) -> int:
        return {"+": self.a + self.b, "-": self.a - self.b, "*": self.a * self.b}[self.operator]

    @property
    def held_out(self) -> bool:
        """a+b and b+a, a*b and b*a are one problem: they stand on one side."""
        a, b = (self.a, self.b) if self.operator == "-" else sorted((self.a, self.b))
        return is_held_out("arithmetic", self.operator, a, b)

    @property
    def worked(self) -> str:
        """The answer, after its parts by decimal place: `47+38` is worked as `70+15=85`, `47*8` as `320+56=376`."""
        parts = self.parts
        if not parts:
            return str(self.answer)
        return f"{parts[0]}{''.join(f'{part:+d}' for part in parts[1:])}={self.answer}"

    @property
    def parts(self) -> list[int]:
        """What the working adds up, by decimal place; empty where both numbers have one digit."""
        places = max(len(str(self.a)), len(str(self.b)))
        if places == 1:
            return []
        a, b = _by_place(self.a, places), _by_place(self.b, places)
        if self.operator == "*":
            return [x * y for y in b[places - len(str(self.b)) :] for x in a[places - len(str(self.a)) :]]
        sign = 1 if self.operator == "+" else -1
        return [x + sign * y for x, y in zip(a, b, strict=True)]


@dataclass(frozen=True)
class Level:
    """Problems of about one difficulty: an operator of `operators`, a and b from their ranges (both ends included)."""

    operators: str
    a: tuple[int, int]
    b: tuple[int, int]

    def problem(self, numbers: Sequence[int]) -> Problem:
        """The problem that three random whole numbers pick."""
        operator = self.operators[numbers[0] % len(self.operators)]
        (a_low, a_high), (b_low, b_high) = self.a, self.b
        return Problem(operator, a_low + numbers[1] % (a_high - a_low + 1), b_low + numbers[2] % (b_high - b_low + 1))


LEVELS = {
    1: Level("+-", (0, 20), (0, 9)),
    2: Level("+-", (21, 99), (0, 9)),
    3: Level("*", (2, 9), (10, 99)),
    4: Level("+-", (10, 99), (10, 99)),
    5: Level("+-", (100, 999), (100, 999)),
    6: Level("*", (10, 99), (10, 99)),
}


def arithmetic(
    *,
    seed: int = 0,
    levels: Sequence[int] = (1, 2, 3, 4),
    size: int = 20_000,
    held_out: int | None = None,
    steps: bool = False,
) -> TextTask:
    """The task; `seed`, `size` and `held_out` are those of `drawn_task`.

    Args:
        levels: which of the six levels, mixed in equal parts.
        steps: judge each step of a working where it ends (for `grpo_process`); the answer is the last step, and its
            being right is still the accuracy.

    >>> task = arithmetic()
    >>> task.train[0].prompt, task.train[0].columns["answer"]
    ('7-3=', 4)
    """
    if not levels or any(level not in LEVELS for level in levels):
        raise SettingsError(f"levels: got {list(levels)}, expected some of {list(LEVELS)}")
    require_within(size, held_out)
    chosen = tuple(levels)

    def draw(stream: str, index: int, held: bool) -> tuple[int, Problem]:
        """Levels in turn, then the first problem on the wanted side. One that has run out is left to the others."""
        level = chosen[index % len(chosen)]
        problems = map(LEVELS[level].problem, draws("arithmetic", seed, stream, index, width=3))
        return level, next(problem for problem in problems if problem.held_out == held)

    def example(index: int, drawn: tuple[int, Problem]) -> Example:
        _, problem = drawn
        shown = keyed_share("arithmetic working", seed, index) < WORKING_SHARE
        return Example(prompt=f"{problem.text}=", completion=f"{problem.worked if shown else problem.answer}\n")

    rewards = rewards_of_working(steps=steps)
    return drawn_task("arithmetic", draw, _item, example, size=size, held_out=held_out, rewards=rewards)


def _item(item_id: str, drawn: tuple[int, Problem]) -> Item:
    level, problem = drawn
    columns = {"answer": problem.answer, "level": level, "steps": [*problem.parts, problem.answer]}
    return Item(id=item_id, prompt=f"{problem.text}=", columns=columns)


def _by_place(number: int, places: int) -> list[int]:
    """304 in 4 places is 0, 300, 0, 4."""
    return [number // 10**place % 10 * 10**place for place in reversed(range(places))]
