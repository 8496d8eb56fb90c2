"""Is the final answer right? Exact text and exact numbers first, here; math-verify second, in a killable child.

Most answers are numbers and are decided here, fast and exactly, with no eval and no sympy in this process. What is
left (`x+1` against `1+x`, sets, roots) goes to math-verify, under a deadline for each sample: an answer that makes
sympy hang has the status `timeout`, it is not "wrong".
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rung.child import Child, Limits, judged_one_by_one
from rung.errors import MissingExtra, RewardError
from rung.rewards.answer_forms import FORMS, is_form
from rung.rewards.answers import final_answer, possible_answers, read_number, same_number
from rung.rewards.meanings import agree, is_number, is_read
from rung.rewards.reading import read
from rung.rewards.reward import REFUSED, Columns, Prompt, Score, judged_once
from rung.rewards.spelling import one_spelling
from rung.rewards.text_is_not_code import CodeRefused, Guard

_LONGEST = 1000
"""A final answer longer than this is wrong: nobody writes one, and sympy must not read it."""
_OPERATION = re.compile(r"(?<=[\d)}])\s*(?:[-+*/^]\s*[-({\d]|[({])")
_ARITHMETIC = re.compile(r"[0-9.\s+\-*/^(){}\[\]]+")
_ONE_NUMBER = re.compile(
    r"[-+(\s]*(?:\d*\.?\d*(?:\(\d+\))?|\d+ \d+)(?:\s*/\s*-?\d*\.?\d+)?\)?"
    r"|[-+]?(?:\d*\.?\d*\s*\*\s*)?10\s*\^\s*\{?[-+\d]+\}?"
)
_CHOICE_BEFORE = re.compile(r"^\(?[A-Z]\)[\s.:]*(?=\S)")


def decided(gold: str, answer: str) -> bool | None:
    """Whether the answer is right by its meaning; None where it was not read and only algebra can tell.

    A sum or product that is left to be worked out is no answer to a question for a number: `47+38` is not 85, or
    the question itself would be its answer. A decimal is exactly what it says: 0.333 is not 1/3. Only for an irrational
    number does its rounding to six places or more count. Where one side has a unit the other may leave it out.

    >>> decided("85", "85.0"), decided("1/3", "0.33"), decided("85", "47+38"), decided("x+1", "1+x")
    (True, False, False, True)
    """
    if _normal(gold) == _normal(answer):
        return True
    if len(answer) > _LONGEST or "\0" in answer:
        return False
    gold_number, answer_number = read_number(gold), read_number(answer)
    if gold_number and answer_number:
        return same_number(gold_number, answer_number)
    gold, answer = one_spelling(gold), one_spelling(answer)
    if _normal(gold) == _normal(answer):
        return True
    for form in FORMS:
        right = form(gold, answer)
        if right is not None:
            return right
    wanted, found = read(gold), read(_CHOICE_BEFORE.sub("", answer, count=1))
    if agree(wanted, found):
        left_to_do = _ARITHMETIC.fullmatch(answer) and _OPERATION.search(answer) and not _ONE_NUMBER.fullmatch(answer)
        return not (left_to_do and is_number(wanted) and _ONE_NUMBER.fullmatch(gold))
    return False if is_read(wanted) and is_read(found) else None


@dataclass(frozen=True, kw_only=True)
class MathAnswer:
    """1 where the completion's final answer equals the column `answer`, else 0; None where a row has no answer.

    The final answer is what `final_answer` finds; a completion that is nothing but the gold answer is right too.

    >>> MathAnswer()(["2+3?"], ["It is \\\\boxed{5.0}."], {"answer": ["5"]})
    [1.0]

    Called directly, a child lives for the one call; a `Judge` keeps one open.
    """

    name: str = "correct"
    deadline_s: float = 5.0
    """For one sample's algebra; a judge's shorter deadline wins."""
    algebra: bool = True
    """False: text and numbers only, math-verify is not needed and no child is started."""

    def open(self, deadline_s: float) -> OpenMathAnswer:
        """Ready to judge; the child starts at the first answer that needs it.

        Raises MissingExtra: math-verify is not installed.
        """
        if self.algebra and importlib.util.find_spec("math_verify") is None:
            raise MissingExtra("the math answer check", "tasks")
        return OpenMathAnswer(self, min(self.deadline_s, deadline_s))

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        return judged_once(self, self.deadline_s, prompts, completions, columns)

    def final_answer(self, completion: str) -> str | None:
        """The answer that counts; numbers in one form, so that 1,000 and 1000.0 are one vote."""
        found = final_answer(completion)
        number = read_number(found) if found is not None else None
        return found if number is None else str(number.value)


class OpenMathAnswer:
    """`MathAnswer` with its child; see there."""

    def __init__(self, reward: MathAnswer, deadline_s: float) -> None:
        self.name = reward.name
        self._algebra = reward.algebra
        self._deadline_s = deadline_s
        self._child = Child("math_verify", {}, limits=Limits(memory_bytes=2 * 2**30, file_bytes=2**20), closed=True)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        answers = columns.get("answer", [None] * len(completions))
        scores: list[Score] = [_here(answer, text) for answer, text in zip(answers, completions, strict=True)]
        undecided = [i for i, score in enumerate(scores) if score is None and answers[i] is not None]
        if not self._algebra:
            return [0.0 if i in undecided else score for i, score in enumerate(scores)]
        requests = [{"gold": str(answers[i]), "answer": final_answer(completions[i])} for i in undecided]
        for i, score in zip(undecided, judged_one_by_one(self._child, requests, self._deadline_s), strict=True):
            scores[i] = score
        return scores

    def close(self) -> None:
        self._child.close()


def math_verify_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """Requests `{"gold": text, "answer": text}` are answered 1.0 or 0.0 by math-verify.

    An answer that would become code is wrong; a gold answer that would is an error.
    """
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns that the deadline is ours to keep: it is

    guard = Guard()

    def answer(request: Mapping[str, Any]) -> float:
        gold = None
        with contextlib.suppress(CodeRefused):
            gold = guard.run([], lambda: parse(f"${request['gold']}$", parsing_timeout=0))
        if guard.refused:
            raise RewardError("correct", REFUSED, f"the row's answer would run as code: {guard.refused[0]}")

        def compared() -> float:
            found = parse(f"${request['answer']}$", parsing_timeout=0)
            return float(verify(gold, found, timeout_seconds=0))

        try:
            score = guard.run([request["answer"]], compared)
        except CodeRefused:
            return 0.0
        return 0.0 if guard.refused else score

    # The first use builds grammars for a second or more: that must not eat the first answer's deadline.
    for gold, found in (("x+1", "1+x"), (r"\{1, \frac{1}{2}\}", r"\sqrt{2}")):
        answer({"gold": gold, "answer": found})
    return answer, None


def _here(answer: Any, completion: str) -> float | None:
    if answer is None:
        return None
    gold = str(answer)
    if _normal(completion) == _normal(gold):
        return 1.0
    plain = one_spelling(gold)
    found = possible_answers(completion, number=is_number(read(plain)) and not is_form(plain))
    verdicts = [decided(gold, text) for text in found]
    if any(verdicts):
        return 1.0
    return None if None in verdicts else 0.0


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()
