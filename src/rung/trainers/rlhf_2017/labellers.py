"""Labellers: they say which of two segments is better. The oracle is synthetic and knows the task's own reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rung.batch import Batch
from rung.random import Stream
from rung.trainers.rlhf_2017.segments import Segments

INCOMPARABLE = None
"""An answer that says nothing: the pair is dropped, and its label used up."""
Answer = float | None
"""μ, the weight on the first segment: 1, 0, 0.5 for a tie; or INCOMPARABLE."""


@dataclass(frozen=True)
class Question:
    """A pair to be judged."""

    number: int
    """0, 1, 2, ... over the run."""
    first: Segments
    second: Segments
    """One segment each."""


class Labeller:
    """Answers now or later. What it must remember over a kill is in `tensors`."""

    def before(self, source: Any) -> None:
        """Told before each rollout, with what steps the environments."""

    def after(self, source: Any, rollout: int, batch: Batch, oldest: int) -> None:
        """Told after it; nothing before the rollout `oldest` will be asked about any more."""

    def answers(self, when: str, asked: Sequence[Question], pending: Sequence[int]) -> Mapping[int, Answer]:
        """Answers that came since it was asked last, by number: to these new questions, or to earlier ones that wait.

        `when` names the asking, such as `step_000012-later`; `pending` is every question without an answer.
        """
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None: ...


class Oracle(Labeller):
    """Prefers the segment with more of the task's own reward, at once; equal sums are a tie.

    With probability `error`, keyed by seed and question, the answer is a fair coin's instead.

    >>> from torch import tensor
    >>> one, two = (Segments(tensor([]), tensor([truth]), tensor([])) for truth in (1.0, 3.0))
    >>> questions = [Question(0, one, two), Question(1, two, one), Question(2, two, two)]
    >>> Oracle(seed=0).answers("step_000001-first", questions, [])
    {0: 0.0, 1: 1.0, 2: 0.5}
    """

    def __init__(self, *, seed: int, error: float = 0.0) -> None:
        self.seed, self.error = seed, error

    def answers(self, when: str, asked: Sequence[Question], pending: Sequence[int]) -> Mapping[int, Answer]:
        return {question.number: self._answer(question) for question in asked}

    def _answer(self, question: Question) -> float:
        slips, coin = Stream(self.seed, 0, "oracle").uniforms("question", question.number, 2)
        if slips < self.error:
            return float(coin < 0.5)
        first, second = float(question.first.truth_N[0]), float(question.second.truth_N[0])
        return 0.5 if first == second else float(first > second)
