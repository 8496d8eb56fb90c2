"""Small rules that judge at once, in process.

>>> NumberEquals()(["47+38="], ["85\\n"], {"answer": [85]})
[1.0]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rung.rewards.reward import Columns, Prompt, Score, StepScore, WeightedReward

_STEP = re.compile(r"=?[-+]?[0-9]{1,18}")
_MOST_OF_A_WORKING = 1_000
"""Characters of a completion's first line; what stands beyond is no step."""
_INTEGER = re.compile(r"(?:(?<!\d)[-−])?[0-9]{1,40}")
"""A minus that follows a digit is an operator, not a sign."""
_MOST_CHARACTERS = 10_000
"""Longer completions are searched only this far from the end that counts."""


def first_integer(text: str) -> int | None:
    """The first whole number in the text.

    >>> first_integer(" 85 or 86")
    85
    """
    found = _INTEGER.search(text[:_MOST_CHARACTERS])
    return int(found.group().replace("−", "-")) if found else None


def last_integer(text: str) -> int | None:
    """The last whole number in the text.

    >>> last_integer("40*8=320 320+56=376"), last_integer("12-5"), last_integer("12-5=-7")
    (376, 5, -7)
    """
    found = _INTEGER.findall(text[-_MOST_CHARACTERS:])
    return int(found[-1].replace("−", "-")) if found else None


@dataclass(frozen=True, kw_only=True)
class NumberEquals:
    """1 where the integer found in the completion equals the column `answer`, else 0. Pure and fast: no child.

    >>> NumberEquals(find=first_integer)(["2 + 3 ="], [" 5 (five)"], {"answer": [5]})
    [1.0]
    """

    name: str = "correct"
    find: Callable[[str], int | None] = last_integer

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
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

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        pairs = zip(completions, columns["answer"], strict=True)
        return [
            sum(a == b for a, b in zip(text, answer, strict=False)) / max(len(text), len(answer), 1)
            for text, answer in pairs
        ]

    def final_answer(self, completion: str) -> str | None:
        """The completion itself, which maj@k counts votes by."""
        return completion[:_MOST_CHARACTERS]


@dataclass(frozen=True, kw_only=True)
class WorkedSteps:
    """1 for each right step of a working such as `70+15=85`, 0 for each wrong one; the value is their sum.

    The column `steps` holds the right numbers: the parts in order, then the answer. A number after `=`, or one that
    stands alone, is the answer; any other is the next part.

    >>> WorkedSteps().steps(["47+38="], ["70+16=85\\n"], {"steps": [[70, 15, 85]]})
    [[(2, 1.0), (5, 0.0), (8, 1.0)]]
    """

    name: str = "steps"

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        return [sum(score for _, score in steps) for steps in self.steps(prompts, completions, columns)]

    def steps(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[list[StepScore]]:
        return [self._judged(text, right) for text, right in zip(completions, columns["steps"], strict=True)]

    @staticmethod
    def _judged(text: str, right: Sequence[int]) -> list[StepScore]:
        *parts, answer = right
        found = list(_STEP.finditer(text[:_MOST_OF_A_WORKING].partition("\n")[0]))
        steps: list[StepScore] = []
        for index, step in enumerate(found):
            is_answer = step.group().startswith("=") or len(found) == 1
            wanted = answer if is_answer else (parts[index] if index < len(parts) else None)
            steps.append((step.end(), float(int(step.group().removeprefix("=")) == wanted)))
        return steps


def rewards_of_working(*, steps: bool) -> tuple[WeightedReward, ...]:
    """The rewards of a task whose answer is a number: the answer alone, or each step of the working.

    The answer's being right is the accuracy in both.
    """
    if not steps:
        return (WeightedReward(reward=NumberEquals()),)
    return (WeightedReward(reward=NumberEquals(), weight=0.0), WeightedReward(reward=WorkedSteps()))
