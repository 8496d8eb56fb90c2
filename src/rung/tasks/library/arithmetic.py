"""Tasks of plain arithmetic: `arithmetic`, `addition-few-shot` and `calculator`.

The prompt of `arithmetic` is `47+38=`, and `85` with a line end answers it. The last whole number of the completion
counts, so a model may write a working first: `70+15=85`, or `320+56=376` for `47*8=`.

Its worked examples are of two kinds, as people's are: half of them show the working and half give the answer alone. A
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

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rung.errors import SettingsError
from rung.random import draws, keyed_share
from rung.rewards.reward import WeightedReward
from rung.rewards.rules import NumberEquals, first_integer, rewards_of_working
from rung.tasks.library.drawn import Problem, drawn_task, on_side, require_within
from rung.tasks.task import Example, Lazy, TextTask
from rung.tasks.tools import with_tools

LEVELS = {
    1: ("+-", (0, 20), (0, 9)),
    2: ("+-", (21, 99), (0, 9)),
    3: ("*", (2, 9), (10, 99)),
    4: ("+-", (10, 99), (10, 99)),
    5: ("+-", (100, 999), (100, 999)),
    6: ("*", (10, 99), (10, 99)),
}
"""Problems of about one difficulty: operators, and the ranges of a and b with both ends."""
CALLING, ANSWERED = 0.05, 0.45
"""Of the calculator's worked examples: those that call the tool; these and those that go on after its answer."""


def problem(operator: str, a: int, b: int, level: int) -> Problem:
    """`problem("+", 47, 38, 4)` is `47+38=`, worked as `70+15=85`. a+b and b+a, a*b and b*a are one problem."""
    answer = {"+": a + b, "-": a - b, "*": a * b}[operator]
    parts = _parts(operator, a, b)
    working = f"{parts[0]}{''.join(f'{part:+d}' for part in parts[1:])}=" if parts else ""
    columns = {"answer": answer, "level": level, "steps": [*parts, answer]}
    key = ("arithmetic", operator, *((a, b) if operator == "-" else sorted((a, b))))
    return Problem(key, f"{a}{operator}{b}=", columns, f"{answer}\n", f"{working}{answer}\n")


def _parts(operator: str, a: int, b: int) -> list[int]:
    """What the working adds up, by decimal place: 320 and 56 for `47*8`; empty where both numbers have one digit."""
    places = max(len(str(a)), len(str(b)))
    if places == 1:
        return []
    # 304 in 4 places is 0, 300, 0, 4
    by_place = ([n // 10**place % 10 * 10**place for place in reversed(range(places))] for n in (a, b))
    if operator == "*":
        tens_a, tens_b = (tens[places - len(str(n)) :] for tens, n in zip(by_place, (a, b), strict=True))
        return [x * y for y in tens_b for x in tens_a]
    return [x + y if operator == "+" else x - y for x, y in zip(*by_place, strict=True)]


def arithmetic(
    *,
    seed: int = 0,
    levels: Sequence[int] = (1, 2, 3, 4),
    size: int = 20_000,
    held_out: int | None = None,
    steps: bool = False,
) -> TextTask:
    """`arithmetic`: sums, differences and products of mixed difficulty, with worked examples for SFT.

    Args:
        levels: which of the six levels, mixed in equal parts.
        steps: judge each step of a working where it ends (for `grpo_process`); the answer is the last step, and its
            being right is still the accuracy.

    `seed`, `size` and `held_out` are those of `drawn_task`, in every task here.

    >>> task = arithmetic()
    >>> task.train[0].prompt, task.train[0].columns["answer"]
    ('7-3=', 4)
    """
    if not levels or any(level not in LEVELS for level in levels):
        raise SettingsError(f"levels: got {list(levels)}, expected some of {list(LEVELS)}")
    require_within(size, held_out)
    chosen = tuple(levels)

    def candidates(stream: str, index: int) -> Iterable[Problem]:
        """Levels take turns."""
        level = chosen[index % len(chosen)]
        operators, (low_a, high_a), (low_b, high_b) = LEVELS[level]
        for which, a, b in draws("arithmetic", seed, stream, index, width=3):
            numbers = low_a + a % (high_a - low_a + 1), low_b + b % (high_b - low_b + 1)
            yield problem(operators[which % len(operators)], *numbers, level)

    rewards = rewards_of_working(steps=steps)
    return drawn_task("arithmetic", candidates, seed=seed, size=size, held_out=held_out, rewards=rewards)


def addition_few_shot(
    *, seed: int = 0, digits: int = 2, shots: int = 3, size: int = 5000, held_out: int | None = None
) -> TextTask:
    """`addition-few-shot`: worked sums, then one to do, for a language model that continues text.

        12 + 35 = 47
        68 + 27 = 95
        41 + 16 = 57
        23 + 59 =

    The first number of the completion counts and the episode ends at the line end. The worked sums are the same for
    all prompts, so their computation can be shared.

    Args:
        digits: of both terms, 1 to 9.
        shots: how many worked sums stand before the question.

    >>> addition_few_shot().train[0].prompt.endswith(" =")
    True
    """
    require_within(size, held_out, digits=(digits, 1, 9), shots=(shots, 0, 100))

    def candidates(stream: str, index: int) -> Iterable[Problem]:
        for a, b in _pairs("addition", digits, seed, stream, index):
            yield Problem(("addition", *sorted((a, b))), f"{a} + {b} =", {"answer": a + b}, f" {a + b}\n")

    shown = [on_side(False, candidates("shots", index)) for index in range(shots)]
    header = "".join(one.prompt + one.bare for one in shown)

    def asked(stream: str, index: int) -> Iterable[Problem]:
        return (replace(one, prompt=header + one.prompt) for one in candidates(stream, index))

    rewards = (WeightedReward(reward=NumberEquals(find=first_integer)),)
    return drawn_task("addition-few-shot", asked, seed=seed, size=size, held_out=held_out, rewards=rewards)


def times(a: int, b: int) -> int:
    """Multiply two whole numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a * b


def calculator(*, seed: int = 0, digits: int = 2, size: int = 20_000, held_out: int | None = None) -> TextTask:
    """`calculator`: products that a small model cannot work out, and a tool that can.

    The prompt is `47*38=`. The policy may write `?times(47,38)` and a line end, is told `1786`, and answers with it;
    or it answers at once, which is seldom right. Of the worked examples that begin, one in twelve calls the tool, the
    others answer at once; two in five of all show how to go on once the tool has answered.

    Args:
        digits: of both factors, 1 to 4.

    >>> task = calculator()
    >>> task.train[0].prompt.count("*"), task.stop
    (1, ('\\n',))
    """
    require_within(size, held_out, digits=(digits, 1, 4))

    def candidates(stream: str, index: int) -> Iterable[Problem]:
        for a, b in _pairs("calculator", digits, seed, stream, index):
            yield Problem(("calculator", *sorted((a, b))), f"{a}*{b}=", {"answer": times(a, b)}, f"{times(a, b)}\n")

    def example(index: int) -> Example:
        plain, share = task.examples[index], keyed_share("calculator example", seed, index)
        call = f"?times({str(plain.prompt)[:-1].replace('*', ',')})\n"
        if share < CALLING:
            return replace(plain, completion=call)
        return replace(plain, prompt=f"{plain.prompt}{call}{plain.completion}") if share < ANSWERED else plain

    rewards = (WeightedReward(reward=NumberEquals(find=first_integer)),)
    task = drawn_task("calculator", candidates, seed=seed, size=size, held_out=held_out, rewards=rewards)
    return with_tools(replace(task, examples=Lazy(size, example)), [times])


def _pairs(name: str, digits: int, seed: int, stream: str, index: int) -> Iterable[tuple[int, int]]:
    """Pairs of numbers of so many digits."""
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits
    for a, b in draws(name, digits, seed, stream, index, width=2):
        yield low + a % (high - low), low + b % (high - low)
