"""`guess-number`: find a whole number from 1 to 15 in four tries; the answer to each is `<` or `>`.

The prompt is `1-15:`. The policy writes a number and a line end and is told `<` where the secret is below it, `>` where
it is above. Halving finds it every time. The worked examples guess at random, half of them within what is still
possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rung.random import draws
from rung.tasks.library.drawn import require_within
from rung.tasks.task import TextTask
from rung.tasks.turns import Step, turn_task

EXAMPLES = 4000


class GuessNumber:
    """The environment: an item is a number of its own, the secret comes from the seed."""

    def __init__(self, most: int = 15, tries: int = 4, examples: int = EXAMPLES) -> None:
        self.most, self.tries, self.count = most, tries, examples
        self.secret = self.tried = 0

    def reset(self, item: int, seed: int) -> str:
        self.secret, self.tried = seed % self.most + 1, 0
        return f"1-{self.most}:"

    def step(self, reply: str) -> Step:
        self.tried += 1
        said = reply.strip()
        number = int(said) if said.isascii() and said.isdigit() and len(said) < 9 else None
        right = number == self.secret
        if right or number is None or self.tried >= self.tries:
            return Step(reward=float(right), done=True, success=float(right))
        return Step("<\n" if self.secret < number else ">\n")

    def examples(self, seed: int) -> Iterator[tuple[str, str]]:
        """(all that was said, the next guess)."""
        for index in range(self.count):
            row = next(draws("guess-number", seed, index, width=2 + 2 * self.tries))
            secret, turns = row[0] % self.most + 1, row[1] % self.tries
            low, high, said = 1, self.most, f"1-{self.most}:"
            for turn in range(turns + 1):
                careful, drawn = row[2 + 2 * turn : 4 + 2 * turn]
                within = careful % 2 == 0
                guess = low + drawn % (high - low + 1) if within else drawn % self.most + 1
                if turn == turns or guess == secret:
                    break
                said += f"{guess}\n{'<' if secret < guess else '>'}\n"
                low, high = (low, min(high, guess - 1)) if secret < guess else (max(low, guess + 1), high)
            yield said, f"{guess}\n"


def guess_number(*, seed: int = 0, most: int = 15, tries: int = 4) -> TextTask:
    """`guess-number`: find a whole number from 1 to 15 in four tries; the answer to each is `<` or `>`.

    Args:
        seed: which examples are drawn.
        most: the largest number, 2 to 999.
        tries: guesses of an episode, 1 to 8.

    >>> guess_number().train[0].prompt
    '1-15:'
    """
    require_within(1, None, most=(most, 2, 999), tries=(tries, 1, 8))
    return replace(turn_task("guess-number", GuessNumber, seed=seed, most=most, tries=tries), most_turns=tries)
