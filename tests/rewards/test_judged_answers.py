"""The math answer check against a person's judgement: a table of strings as people and models write them.

The bar, in each direction on its own, is under 3 %: right answers that are judged wrong, and wrong ones judged right.
Each part of the table was written before any result on it was seen, but for the first. Judged for the first time, the
parts had, of right ones judged wrong and of wrong ones judged right: second 3 of 130 and 0 of 63; third 11 of 217 and
1 of 71; fourth 13 of 184 and 3 of 105; fifth 10 of 139 and 2 of 79; sixth 6 of 84 and 7 of 59. The rules were widened
after each, so the rate on the whole table says less than these about strings never seen.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rung.rewards.math_answer import MathAnswer

TABLE = Path(__file__).with_name("judged_answers.tsv")
BAR = 0.03


def rows() -> list[tuple[bool, str, str]]:
    lines = [line for line in TABLE.read_text("utf-8").splitlines() if line[:2] in ("+\t", "-\t")]
    cells = [line.split("\t") for line in lines]
    return [(right == "+", gold, completion.replace("⏎", "\n")) for right, gold, completion in cells]


@pytest.fixture(scope="module")
def judged() -> list[tuple[bool, str, str, object]]:
    table = rows()
    columns = {"answer": [gold for _, gold, _ in table]}
    scores = MathAnswer(deadline_s=20)(["p"] * len(table), [text for _, _, text in table], columns)
    return [(*row, score) for row, score in zip(table, scores, strict=True)]


@pytest.mark.parametrize("right", [True, False])
def test_disagreement_with_a_person_is_under_three_percent(judged: list[tuple[bool, str, str, object]], right: bool):
    asked = [row for row in judged if row[0] is right]
    others = [f"{gold!r} <- {text!r}: {score}" for _, gold, text, score in asked if score != float(right)]
    print(f"{len(others)} of {len(asked)} {'right' if right else 'wrong'} answers judged otherwise", *others, sep="\n")
    assert len(asked) >= 150 and len(others) < BAR * len(asked), "\n".join(others)


def test_the_table_can_fail_a_judge_that_says_always_the_same():
    """The negative control: neither direction is small enough for a constant to pass both."""
    table = rows()
    assert len(set(table)) == len(table) >= 330
    assert sum(right for right, *_ in table) > 150 < sum(not right for right, *_ in table)


HOSTILE = (
    *("9^9^9^9", "9^{9^{9^{9}}}", "(10^9)!", "((((9!)!)!)!)!", r"e^{e^{e^{e^{10}}}}", r"\binom{10^9}{10^8}"),
    *(r"\frac{1}{" * 160, "x^{" * 300, r"\sin" * 240, "1," * 490, "0." + "3" * 900 + "...", r"\sin(10^{30000})"),
    *("=".join("1" * 400), "20000!*" * 60, "half a " * 140, "3" + "!" * 900, "(" * 900, r"\pm " * 240 + "1"),
)


@pytest.mark.parametrize("text", HOSTILE)
def test_each_judgement_ends_soon(text: str):
    opened = MathAnswer(algebra=False)
    for gold in ("7", "y+1", "B", r"\{1,2\}"):
        for form in (r"\boxed{%s}", "Answer: %s", "%s"):
            started = time.monotonic()
            assert opened(["p"], [form % text], {"answer": [gold]}) == [0.0]
            assert time.monotonic() - started < 4


LONG = ("\\frac" * 3600, "one and " * 2200, "*_" * 9000, "(1 " * 6000, " " * 18_000 + "1")


@pytest.mark.parametrize("text", LONG, ids=[text.strip()[:5] for text in LONG])
def test_a_long_answer_of_a_row_is_text(text: str):
    opened = MathAnswer(algebra=False)
    started = time.monotonic()
    completions = ["Answer: 7", f"Answer: {text}", text]
    wrong, _, right = opened(["p"] * 3, completions, {"answer": [text] * 3})
    assert (wrong, right) == (0.0, 1.0) and time.monotonic() - started < 4


@pytest.mark.parametrize(
    "text", ["\\frac" * 190, "\\sin^" * 190, "-" * 990 + "1", "x_" * 490, "\\sqrt" * 190, "2^" * 490]
)
def test_no_nesting_is_too_deep_to_read(text: str):
    assert MathAnswer(algebra=False)(["p"], [f"Answer: {text}"], {"answer": ["7"]}) == [0.0]
