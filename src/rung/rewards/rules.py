"""Small rules that judge at once, in process.

>>> NumberEquals()(["47+38="], ["85\\n"], {"answer": [85]})
[1.0]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rung.rewards.reward import Prompt, Score

_INTEGER = re.compile(r"[-−]?[0-9]{1,40}")
_MOST_CHARACTERS = 10_000
"""Longer completions are searched only this far from the end that counts."""


def first_integer(text: str) -> int | None:
    """The first whole number in the text.

    >>> first_integer(" 85 or 86")
    85
    """
    found = _INTEGER.search(text[:_MOST_CHARACTERS])
    return _value(found.group()) if found else None


def last_integer(text: str) -> int | None:
    """The last whole number in the text. A minus that follows a digit is an operator, not a sign.

    >>> last_integer("40*8=320 320+56=376"), last_integer("12-5"), last_integer("12-5=-7")
    (376, 5, -7)
    """
    text = text[-_MOST_CHARACTERS:]
    last = None
    for found in _INTEGER.finditer(text):
        last = found
    if last is None:
        return None
    digits = last.group()
    signed = digits[0] in "-−"
    if signed and last.start() > 0 and text[last.start() - 1].isdigit():
        digits = digits[1:]
    return _value(digits)


def _value(digits: str) -> int:
    return int(digits.replace("−", "-"))


@dataclass(frozen=True, kw_only=True)
class NumberEquals:
    """1 where the integer found in the completion equals the column `answer`, else 0. Pure and fast: no child.

    >>> NumberEquals(find=first_integer)(["2 + 3 ="], [" 5 (five)"], {"answer": [5]})
    [1.0]
    """

    name: str = "correct"
    find: Callable[[str], int | None] = last_integer

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[Score]:
        answers = columns["answer"]
        return [float(self.find(text) == answer) for text, answer in zip(completions, answers, strict=True)]

    def final_answer(self, completion: str) -> str | None:
        """The number that counts, as text; None when there is none."""
        found = self.find(completion)
        return None if found is None else str(found)


@dataclass(frozen=True, kw_only=True)
class PlacesRight:
    """The share of the places where completion and the column `answer` agree; each place too many counts as wrong.

    >>> PlacesRight()(["k3=", "k3=", "k3="], ["k3", "kx", "k3kk"], {"answer": ["k3"] * 3})
    [1.0, 0.5, 0.5]
    """

    name: str = "places"

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[Score]:
        pairs = zip(completions, columns["answer"], strict=True)
        return [
            sum(a == b for a, b in zip(text, answer, strict=False)) / max(len(text), len(answer), 1)
            for text, answer in pairs
        ]

    def final_answer(self, completion: str) -> str | None:
        """The completion itself, which maj@k counts votes by."""
        return completion[:_MOST_CHARACTERS]
