"""Read a number as people and models write it, exactly, as a fraction. No eval, no sympy, linear time.

8   -8   +8   1,234.50   .5   3/4   -\\frac{3}{4}   2\\frac{1}{2}   50%   1.5e3   1.5\\times10^{3}   $12
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 200
"""Longer texts are no number we read: exact arithmetic on a million digits is an attack, not an answer."""
_LARGEST_EXPONENT = 1000

_PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_DECIMAL = re.compile(_PLAIN)
_SCIENTIFIC = re.compile(rf"({_PLAIN})(?:[eE]|\s*(?:×|\\times|\\cdot|\*)\s*10\s*\^)\s*\{{?([+-]?[0-9]{{1,5}})\}}?")
_SLASH = re.compile(rf"([+-]?(?:{_PLAIN}))\s*/\s*([+-]?(?:{_PLAIN}))")
_FRAC = re.compile(
    rf"([0-9]+)?\s*\\[dt]?frac\s*(?:\{{\s*([+-]?(?:{_PLAIN}))\s*\}}\s*\{{\s*([+-]?(?:{_PLAIN}))\s*\}}|([0-9])([0-9]))"
)
_DRESS = re.compile(r"\\(?:left|right|displaystyle|,|!|;|:|quad)(?![a-zA-Z])|\\[()\[\]]|\{,\}|[\s~]+")


@dataclass(frozen=True)
class Number:
    """A value as it was written: 50% is `Number(Fraction(50), percent=True)`."""

    written: Fraction
    percent: bool = False

    @property
    def value(self) -> Fraction:
        """What it is worth: 50% is 1/2."""
        return self.written / 100 if self.percent else self.written


def read_number(text: str) -> Number | None:
    """The number that the whole text is, or None.

    >>> read_number("-1,234.5").value, read_number("50\\\\%").value, read_number("2 + 3")
    (Fraction(-2469, 2), Fraction(1, 2), None)
    """
    if len(text) > LONGEST:
        return None
    text = _undressed(text)
    percent = text.endswith("%")
    text = text.removesuffix("%").removesuffix("\\").rstrip()
    sign = 1
    if text[:1] in ("+", "-"):
        sign = -1 if text[0] == "-" else 1
        text = text[1:].lstrip()
    text = text.removeprefix("\\$").removeprefix("$").lstrip()
    written = _unsigned(text)
    return None if written is None else Number(sign * written, percent)


def same_number(gold: Number, answer: Number) -> bool:
    """Exactly equal. Where one side alone has a percent sign, the number before the sign may also be meant.

    >>> same_number(read_number("50"), read_number("50%")), same_number(read_number("1/3"), read_number("0.33"))
    (True, False)
    """
    if gold.percent != answer.percent and gold.written == answer.written:
        return True
    return gold.value == answer.value


def _undressed(text: str) -> str:
    """Without dollar signs around it, LaTeX spacing and brackets; with one kind of minus."""
    text = text.strip().replace("−", "-").replace("–", "-")
    while len(text) > 1 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    return _DRESS.sub(lambda found: "," if found.group() == "{,}" else " ", text).strip()


def _unsigned(text: str) -> Fraction | None:
    if _DECIMAL.fullmatch(text):
        return _fraction(text)
    if found := _SCIENTIFIC.fullmatch(text):
        exponent = int(found.group(2))
        return None if abs(exponent) > _LARGEST_EXPONENT else _fraction(found.group(1)) * Fraction(10) ** exponent
    if found := _SLASH.fullmatch(text):
        return _divided(_fraction(found.group(1)), _fraction(found.group(2)))
    if found := _FRAC.fullmatch(text):
        whole, above, below, above_digit, below_digit = found.groups()
        quotient = _divided(_fraction(above or above_digit), _fraction(below or below_digit))
        return None if quotient is None else quotient + int(whole or 0)
    return None


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").removesuffix("."))


def _divided(above: Fraction, below: Fraction) -> Fraction | None:
    return above / below if below else None
