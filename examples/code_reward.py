"""A reward for code: 1 where a program gives what unit tests expect. The program runs in the sandbox.

    rung train grpo --model MODEL --task problems.jsonl --reward examples/code_reward.py:passed

A row of problems.jsonl: {"prompt": "Write add(a, b).", "calls": ["add(2, 3)"], "expected": [5]}. The expected values
stay outside: the program is asked for values, so it cannot declare itself right.
"""

from __future__ import annotations

import re
from typing import Any

from rung.sandbox import Limits, run_python

LIMITS = Limits(seconds=5)


def program(completion: Any) -> str:
    """The last fenced block of an answer, or all of it."""
    text = completion if isinstance(completion, str) else completion[-1]["content"]
    blocks = re.findall(r"```(?:python|py)?\n(.*?)(?:```|\Z)", text, re.DOTALL)
    return blocks[-1] if blocks else text


def passed(completions: list[Any], calls: list[list[str]], expected: list[list[Any]]) -> list[float]:
    """1 where every call gives its value, else 0: also where the program raises, hangs or leaves early."""
    ran = [run_python(program(one), asks=asks, limits=LIMITS) for one, asks in zip(completions, calls, strict=True)]
    return [float(one.status == "ok" and one.values == wanted) for one, wanted in zip(ran, expected, strict=True)]


if __name__ == "__main__":
    answers = [
        "```python\ndef add(a, b):\n    return a + b\n```",
        "def add(a, b):\n    return a - b",
        "print('all tests passed')\nimport os\nos._exit(0)",
        "while True:\n    pass",
    ]
    for answer, score in zip(answers, passed(answers, [["add(2, 3)"]] * 4, [[5]] * 4), strict=True):
        print(f"{score:g}  {answer.splitlines()[-1]!r}")
