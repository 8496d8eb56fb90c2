"""A reward that judges the steps of a written calculation, each where it ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rung.rewards.reward import Prompt, Score, StepScore

_STEP = re.compile(r"=?[-+]?[0-9]{1,18}")
_MOST_CHARACTERS = 1_000
"""Of a completion's first line; what stands beyond is no step."""


@dataclass(frozen=True, kw_only=True)
class WorkedSteps:
    """1 for each right step of a working such as `70+15=85`, 0 for each wrong one; the value is their sum.

    The column `steps` holds the right numbers: the parts in order, then the answer. A number after `=`, or one that
    stands alone, is the answer; any other is the next part.

    >>> WorkedSteps().steps(["47+38="], ["70+16=85\\n"], {"steps": [[70, 15, 85]]})
    [[(2, 1.0), (5, 0.0), (8, 1.0)]]
    """

    name: str = "steps"

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[Score]:
        return [sum(score for _, score in steps) for steps in self.steps(prompts, completions, columns)]

    def steps(
        self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> list[list[StepScore]]:
        return [_judged(text, right) for text, right in zip(completions, columns["steps"], strict=True)]


def _judged(text: str, right: Sequence[int]) -> list[StepScore]:
    *parts, answer = right
    found = list(_STEP.finditer(text[:_MOST_CHARACTERS].partition("\n")[0]))
    steps: list[StepScore] = []
    for index, step in enumerate(found):
        is_answer = step.group().startswith("=") or len(found) == 1
        wanted = answer if is_answer else (parts[index] if index < len(parts) else None)
        steps.append((step.end(), float(int(step.group().removeprefix("=")) == wanted)))
    return steps
