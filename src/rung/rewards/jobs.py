"""What a child can do. A job's setup returns the function that answers requests, and what it says of itself.

Nothing heavy is imported before a job asks for it: the worker starts fast.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rung.errors import RewardError
from rung.rewards.reasoning_gym import reasoning_gym_job
from rung.rewards.reward import REFUSED
from rung.rewards.text_is_not_code import CodeRefused, Guard
from rung.rewards.user_function import user_function_job

Answer: TypeAlias = Callable[[Mapping[str, Any]], Any]
Job: TypeAlias = Callable[[Mapping[str, Any]], tuple[Answer, Any]]


def math_verify_job(setup: Mapping[str, Any]) -> tuple[Answer, Any]:
    """Requests `{"gold": text, "answer": text}` are answered 1.0 or 0.0 by math-verify.

    An answer that would become code is wrong; a gold answer that would is an error.
    """
    import logging

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


JOBS: Mapping[str, Job] = {
    "math_verify": math_verify_job,
    "reasoning_gym": reasoning_gym_job,
    "user_function": user_function_job,
}
