"""The math answer check: the final answer is found, decided here where it can be, and hostile ones are survived."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import left_behind

from rung.errors import MissingExtra
from rung.rewards import math_answer
from rung.rewards.answers import final_answer
from rung.rewards.judge import Judge
from rung.rewards.math_answer import MathAnswer, decided
from rung.rewards.reward import Failure, OpenReward, WeightedReward
from rung.tasks.task import Item


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So \boxed{5}.", "5"),
        (r"\boxed{3} no, \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed 7 apples", "7"),
        (r"\fbox{8}", "8"),
        ("48/2 = 24\n#### 72", "72"),
        ("#### 1,000 \nbye", "1,000"),
        ("The answer is 12.", "12"),
        ("Answer: 5\nAnswer: **6**\n", "6"),
        ("**Final Answer:** $x+1$.", "x+1"),
        ("answer = 4", "4"),
        ("2 + 3 = 5.", "5"),
        ("it costs $1,234.50!", "$1,234.50"),
        ("half, that is 1/2", "1/2"),
        ("10-3", "3"),
        ("it is -3", "-3"),
        ("x = -3", "-3"),
        ("about 50%", "50%"),
        (r"so \frac{2}{3}", r"\frac{2}{3}"),
        ("Paris", "Paris"),
        ("I think\nParis.", "Paris"),
        ("<think>Answer: 9</think>It is 4", "4"),
        ("", None),
        (" \n ", None),
        ("#### ", "####"),
        ("f(x)-3", "3"),
        ("85\n", "85"),
    ],
)
def test_final_answer(text: str, answer: str | None):
    assert final_answer(text) == answer


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_finding_never_raises(text: str):
    final_answer(text)


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 100_000,
        "{" * 10**6,
        "answer is " * 10**5,
        "1," * 10**6,
        "9" * 10**6,
        "\\frac{" * 10**5,
        "\0" * 10**6,
    ],
)
def test_finding_is_fast(text: str):
    started = time.monotonic()
    final_answer(text)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        *(("85", "85", True), ("85", "85.0", True), ("85", "86", False), ("1000", "1,000", True), ("0.5", "1/2", True)),
        *(("1/3", "0.333333", False), ("50%", "0.5", True), ("85", "47+38", False), ("376", r"47 \times 8", False)),
        *(("1024", "2^{10}", False), ("7", "5^5^5^5", False), ("7", "10**10**10", False), ("Paris", "paris ", True)),
        *(("Paris", "Pairs", False), ("New York", "York New", False), ("7", "7\0", False), ("7", "9" * 2000, False)),
        *(("x+1", "1+x", True), ("7", "x=7", True), (r"\sqrt{2}", "1.41", False), ("pi", "3.14", False)),
    ],
)
def test_decided_without_algebra(gold: str, answer: str, right: bool | None):
    assert decided(gold, answer) is right


def judged(pairs: list[tuple[Any, str]], **options: Any) -> list[Any]:
    reward = MathAnswer(**options)
    return reward(["p"] * len(pairs), [text for _, text in pairs], {"answer": [gold for gold, _ in pairs]})


def test_numbers_need_no_child(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(math_answer.Child, "ask", lambda *_, **__: pytest.fail("a child was asked"))
    pairs = [(5, "5"), ("5", "Answer: 5.0"), (5.0, "5"), (0.1, "0.1"), (5, "6"), (None, "6"), (5, ""), ("x", "x")]
    assert judged(pairs) == [1.0, 1.0, 1.0, 1.0, 0.0, None, 0.0, 1.0]


def test_without_algebra_the_rest_is_wrong():
    assert judged([("1/2", r"\boxed{\int_0^1 x dx}"), ("5", "5"), (None, "")], algebra=False) == [0.0, 1.0, None]


def test_algebra_in_the_child():
    pairs = [("1/2", r"\boxed{\int_0^1 x dx}"), ("55", r"\boxed{\sum_{k=1}^{10} k}"), ("x+1", r"\boxed{\int_0^1 x dx}")]
    assert judged(pairs, deadline_s=30) == [1.0, 1.0, 0.0]
    assert left_behind() == []


def test_votes_are_by_value():
    votes = [MathAnswer().final_answer(text) for text in ("Answer: 1,000", "= 1000.0", r"\boxed{x+1}", "")]
    assert votes == ["1000", "1000", "x+1", None]


def test_rows_without_an_answer_column_are_not_judged():
    assert MathAnswer()(["p"], ["5"], {}) == [None]


def test_what_hangs_is_a_timeout_and_never_wrong():
    hangs = r"\int_0^1 9^{9^{9^{9}}} dx"
    items = [Item(id=str(i), prompt="p", columns={"answer": "x+1"}) for i in range(3)]
    with Judge([WeightedReward(reward=MathAnswer(deadline_s=1.0))], max_failed_share=0.4) as judge:
        judge(items[:1], ["Answer: 1+x"])
        started = time.monotonic()
        judgements = judge(items, ["Answer: 1+x", f"Answer: {hangs}", r"\boxed{2}"])
        assert time.monotonic() - started < 15
    assert [(j.total, j.status) for j in judgements] == [(1.0, "ok"), (None, "correct: timeout"), (0.0, "ok")]
    assert left_behind() == []


@pytest.fixture(scope="module")
def opened() -> Iterator[OpenReward]:
    reward = MathAnswer(deadline_s=2.0).open(10)
    yield reward
    reward.close()


@pytest.mark.parametrize(
    "text", ["5^5^5^5", "10**10**10", "9^{9^{9^{9}}}", "x^{" * 60, "\\frac{" * 60, "(" * 300, "\0", "\ud800"]
)
def test_hostile_answers_end(opened: OpenReward, text: str):
    started = time.monotonic()
    (score,) = opened(["p"], [f"Answer: {text}"], {"answer": ["y+1"]})
    assert score == 0.0 or (isinstance(score, Failure) and score.status in ("timeout", "died", "raised"))
    assert time.monotonic() - started < 20


def test_a_missing_math_verify_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(math_answer.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'rung\[tasks\]'"):
        judged([("x", "y")])
    assert judged([("5", "5")], algebra=False) == [1.0]
