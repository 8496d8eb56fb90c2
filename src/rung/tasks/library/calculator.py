"""`calculator`: products that a small model cannot work out, and a tool that can.

The prompt is `47*38=`. The policy may write `?times(47,38)` and a line end, is told `1786`, and answers with it; or it
answers at once, which is seldom right. The worked examples call the tool in one of eight, and else answer alone.
"""

from __future__ import annotations

from rung.random import draws, keyed_share
from rung.rewards.reward import WeightedReward
from rung.rewards.rules import NumberEquals, first_integer
from rung.tasks.library.drawn import drawn_task, is_held_out, require_within
from rung.tasks.task import Example, Item, TextTask
from rung.tasks.tools import with_tools

CALLING_SHARE = 0.125
"""Of the worked examples: those that call the tool."""


def times(a: int, b: int) -> int:
    """Multiply two whole numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a * b


def calculator(*, seed: int = 0, digits: int = 2, size: int = 20_000, held_out: int | None = None) -> TextTask:
    """The task; `seed`, `size` and `held_out` are those of `drawn_task`.

    Args:
        digits: of both factors, 1 to 4.

    >>> task = calculator()
    >>> task.train[0].prompt.count("*"), task.stop
    (1, ('\\n',))
    """
    require_within(size, held_out, digits=(digits, 1, 4))
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits

    def draw(stream: str, index: int, held: bool) -> tuple[int, int]:
        rows = draws("calculator", digits, seed, stream, index, width=2)
        pairs = (tuple(low + number % (high - low) for number in row) for row in rows)
        return next((a, b) for a, b in pairs if is_held_out("calculator", *sorted((a, b))) == held)

    def item(item_id: str, pair: tuple[int, int]) -> Item:
        a, b = pair
        return Item(id=item_id, prompt=f"{a}*{b}=", columns={"answer": a * b})

    def example(index: int, pair: tuple[int, int]) -> Example:
        a, b = pair
        call, told = f"?times({a},{b})\n", f"{a * b}\n"
        share = keyed_share("calculator example", seed, index)
        if share < CALLING_SHARE / 2:
            return Example(prompt=f"{a}*{b}=", completion=call)
        return Example(prompt=f"{a}*{b}={call}{told}" if share < CALLING_SHARE else f"{a}*{b}=", completion=told)

    rewards = (WeightedReward(reward=NumberEquals(find=first_integer)),)
    task = drawn_task("calculator", draw, item, example, size=size, held_out=held_out, rewards=rewards)
    return with_tools(task, [times])
