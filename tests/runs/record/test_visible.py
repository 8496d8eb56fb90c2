from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.runs.record.visible import encodable, visible

any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("plain [red] text", "plain [red] text"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b2J\x07\x00\x7f", "\\x9b2J\\x07\\x00\\x7f"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\ud800", "\\ud800"),
        ("a\u200bb\u2028", "a\\u200bb\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("שלום é 中文", "שלום é 中文"),
    ],
)
def test_invisible_and_active_characters_become_escapes(raw: str, seen: str) -> None:
    assert visible(raw) == seen


def test_newlines_are_kept_where_asked() -> None:
    assert visible("a\n\tb\r", keep_newlines=True) == "a\n    b\\r"


def test_a_limit_says_how_much_is_left_out() -> None:
    assert visible("x" * 5000, limit=10) == "xxxxxxxxxx… (4,990 more)"
    assert visible("abc", limit=3) == "abc"


@given(any_text)
def test_nothing_hidden_is_left_and_it_can_be_encoded(text: str) -> None:
    seen = visible(text)
    assert not {unicodedata.category(mark) for mark in seen} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    seen.encode("utf-8")


@given(any_text)
def test_encodable_changes_only_half_pairs(text: str) -> None:
    stored = encodable(text)
    stored.encode("utf-8")
    if not any(unicodedata.category(mark) == "Cs" for mark in text):
        assert stored == text
