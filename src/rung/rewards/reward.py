"""What a reward is: a name, and one score for each completion.

A score is a number, `None` ("does not apply to this sample"), or a `Failure` ("could not be judged"). A failure is
never a zero: a zero says that the completion was bad, and the policy would learn from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from rung.child import Failure

Columns: TypeAlias = Mapping[str, Sequence[Any]]
"""Every column of the items, each with one entry for each completion (None where an item lacks it)."""

Message: TypeAlias = Mapping[str, str]
"""One turn of a chat, `{"role": "user", "content": "2+3?"}`."""

Prompt: TypeAlias = str | tuple[Message, ...]
"""What the policy is given: text to be continued as it stands, or messages for the model's chat template."""

REFUSED = "refused"
"""The reward was about to run text of a completion as code."""
WRONG_LENGTH = "wrong length"
"""The reward did not return one value for each completion."""
NOT_FINITE = "not finite"
"""The reward returned NaN or an infinity."""
NOT_APPLICABLE = "not applicable"
"""Every part returned None: nothing judged this sample."""

Score: TypeAlias = float | Failure | None

StepScore: TypeAlias = tuple[int, float]
"""(characters of the completion up to the step's end, the step's score)."""


@runtime_checkable
class Reward(Protocol):
    """Judges a batch of completions.

    The answer has exactly one score for each completion, in order.

    >>> reward(["2+3="], ["5"], {"answer": [5]})
    [1.0]
    """

    @property
    def name(self) -> str: ...

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]: ...


@runtime_checkable
class OpenReward(Reward, Protocol):
    """A reward that is ready to judge, keeps deadlines of its own, and may hold a child process until it is closed."""

    def close(self) -> None: ...


DRAWN = frozenset({"completion_ids", "raw_completions", "rendered_prompts"})
"""Columns of what was drawn: the tokens, their text with the end token, the prompt after the chat template. A reward
with a true attribute `takes_drawn` is given them."""


@runtime_checkable
class ChildReward(Reward, Protocol):
    """A reward that is plain data until `open` makes it ready to judge, as a rule in a killable child."""

    def open(self, deadline_s: float) -> OpenReward: ...


def judged_once(
    reward: ChildReward, deadline_s: float, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns
) -> list[Score]:
    """The scores of a reward that is opened for one batch and closed."""
    opened = reward.open(deadline_s)
    try:
        return opened(prompts, completions, columns)
    finally:
        opened.close()


@runtime_checkable
class JudgesSteps(Reward, Protocol):
    """A reward that also says what each step of a completion is worth, and where it ends.

    The completion's own value is the sum of its steps' scores.
    """

    def steps(
        self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns
    ) -> list[list[StepScore]]: ...


@dataclass(frozen=True, kw_only=True)
class WeightedReward:
    """One part of a judgement: total = ∑ weight · value over the parts that apply.

    Example: `WeightedReward(reward=NumberEquals(), weight=1.0)`.
    """

    reward: Reward
    weight: float = 1.0
