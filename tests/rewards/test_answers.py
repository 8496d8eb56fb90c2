"""Numbers are read exactly as `fractions.Fraction` reads them, and compared exactly."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rung.rewards.answers import read_number, same_number

NUMBERS = st.fractions(max_denominator=10**6).filter(lambda f: abs(f) < 10**12)
SIGNED = st.integers(-(10**15), 10**15)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", "8"),
        ("-8", "-8"),
        ("−8", "-8"),
        ("+8", "8"),
        ("- 8", "-8"),
        ("007", "7"),
        ("8.", "8"),
        (".5", "1/2"),
        ("1,234", "1234"),
        ("1,234,567.25", "4938269/4"),
        ("1{,}234", "1234"),
        ("3/4", "3/4"),
        ("-3/4", "-3/4"),
        ("3 / -4", "-3/4"),
        ("0.5/0.25", "2"),
        (r"\frac{3}{4}", "3/4"),
        (r"-\dfrac{3}{4}", "-3/4"),
        (r"\tfrac34", "3/4"),
        (r"2\frac{1}{2}", "5/2"),
        (r"-2\frac{1}{2}", "-5/2"),
        (r"\frac{-1}{2}", "-1/2"),
        ("50%", "1/2"),
        (r"50\%", "1/2"),
        (r"$12.50", "25/2"),
        (r"\$12.50", "25/2"),
        ("$7$", "7"),
        (r"$$\frac{1}{3}$$", "1/3"),
        (r"\(7\)", "7"),
        ("1.5e3", "1500"),
        ("1E-3", "1/1000"),
        (r"3\times10^{8}", "300000000"),
        (r"3 \cdot 10^2", "300"),
        (" 5\n", "5"),
    ],
)
def test_forms(text: str, value: str):
    number = read_number(text)
    assert number is not None and number.value == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-", ".", "x", "2+3", "2*3", "1 2", "1,23", "12,34,567", "1/0", "5^5^5^5", "10**10**10", "1e99999"),
        *(
            "--5",
            "5-",
            "0x10",
            "1_000",
            "inf",
            "nan",
            "٣",
            "²",
            "5\0",
            "\0",
            "1/2/3",
            r"\frac{1}{0}",
            r"\frac{1}",
            "{5",
        ),
        *("9" * 201, "{" * 100, "1e" * 90, "$" * 150, "1e1001", r"\frac{" * 30, "%", "-%", r"3\times10^{99999}"),
    ],
)
def test_what_is_no_number(text: str):
    assert read_number(text) is None


@given(NUMBERS, NUMBERS)
def test_equality_is_that_of_fractions(a: Fraction, b: Fraction):
    left, right = read_number(f"{a.numerator}/{a.denominator}"), read_number(f"{b.numerator}/{b.denominator}")
    assert left is not None and right is not None
    assert left.value == a and same_number(left, right) == (a == b) and same_number(left, left)


@given(SIGNED, st.integers(0, 6))
def test_decimals_thousands_and_percent(n: int, places: int):
    value = Fraction(n, 10**places)
    digits = f"{abs(n):0{places + 1}d}"
    whole, part = (digits[:-places], digits[-places:]) if places else (digits, "")
    text = ("-" if n < 0 else "") + f"{int(whole):,}" + (f".{part}" if part else "")
    for form in (text, text.replace(",", ""), f"${text}$", f" {text} "):
        number = read_number(form)
        assert number is not None and number.value == value == Fraction(form.strip(" $").replace(",", ""))
    percent = read_number(f"{text}%")
    assert percent is not None and percent.value == value / 100


@given(st.integers(-999, 999), st.integers(1, 999))
def test_latex_and_slash_agree(a: int, b: int):
    latex, slash = read_number(rf"\frac{{{a}}}{{{b}}}"), read_number(f"{a}/{b}")
    assert latex is not None and slash is not None and same_number(latex, slash) and latex.value == Fraction(a, b)


@settings(max_examples=50)
@given(st.text(max_size=220))
def test_no_text_raises(text: str):
    read_number(text)


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [("50", "50%", True), ("50%", "0.5", True), ("0.5", "50", False), ("50%", "50", True), ("5%", "50%", False)],
)
def test_percent(gold: str, answer: str, same: bool):
    left, right = read_number(gold), read_number(answer)
    assert left is not None and right is not None and same_number(left, right) is same


def test_reading_is_fast_for_the_worst_texts():
    started = time.monotonic()
    for text in ("1," * 99, "1 " * 99, "\\frac" * 40, "1e" * 99, "$" * 199, "1/" * 99, " " * 10**6, "9" * 200):
        for _ in range(50):
            read_number(text)
    assert time.monotonic() - started < 5
