"""Small rules: which number counts, and that it is compared exactly."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.rewards.rules import NumberEquals, first_integer, last_integer


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("85\n", 85, 85),
        (" 85 or 86", 85, 86),
        ("320+56=376", 320, 376),
        ("12-5=-7", 12, -7),
        ("12-5", 12, 5),
        ("-7", -7, -7),
        ("−7", -7, -7),
        ("x", None, None),
        ("", None, None),
        ("-", None, None),
        ("٣", None, None),
        ("0085", 85, 85),
    ],
)
def test_which_number_counts(text: str, first: int | None, last: int | None):
    assert (first_integer(text), last_integer(text)) == (first, last)


@given(st.integers(-(10**12), 10**12))
def test_every_integer_is_found(n: int):
    assert first_integer(f" {n}\n") == last_integer(f" {n}\n") == n


@given(st.text())
def test_no_text_raises(text: str):
    first_integer(text), last_integer(text)


def test_number_equals():
    reward = NumberEquals()
    assert reward(["p"] * 4, ["5", "x", "5.5", "-5"], {"answer": [5, 5, 5, 5]}) == [1.0, 0.0, 1.0, 0.0]
    assert reward.final_answer("1+1=2") == "2" and reward.final_answer("") is None
    assert NumberEquals(find=first_integer)(["p"], ["5 6"], {"answer": [5]}) == [1.0]


def test_huge_texts_are_judged_at_once():
    started = time.monotonic()
    for text in ("9" * 10**6, "-" * 10**6, "1 " * 10**6, "\0" * 10**6):
        NumberEquals()(["p"], [text], {"answer": [1]})
    assert time.monotonic() - started < 2
