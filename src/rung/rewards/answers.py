"""Final answers: found in a completion, and read as exact numbers. No eval, no sympy, linear time.

A final answer is the last of its kind in what follows the last `</think>`, the kinds in this order:

1. `\\boxed{...}` (or `\\fbox`), with nested braces;
2. `#### ...` up to the line's end;
3. `Answer: ...` or `the answer is ...` up to the line's end;
4. the last number;
5. the last line that is not empty.

Numbers are read as people and models write them:
8   -8   +8   1,234.50   .5   3/4   -\\frac{3}{4}   2\\frac{1}{2}   50%   1.5e3   1.5\\times10^{3}   $12
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_SEARCHED = 20_000
"""The last so many characters: an answer stands at the end."""
_MOST_BOXES = 20

_MARK = re.compile(r"answer(?:[ \t]+is)?[ \t*_]*[:=][ \t*_]*|answer[ \t]+is\b[ \t*_]*", re.IGNORECASE)
_LAST_NUMBER = re.compile(
    r"[-−+]?\$?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4}|\s?/\s?[0-9]+)?(?:\s?\\?%)?"
    r"|[-−+]?\\[dt]?frac\{[-+]?[0-9.]{1,50}\}\{[-+]?[0-9.]{1,50}\}"
)


def final_answer(text: str) -> str | None:
    """The final answer, without decoration; None when the completion is blank.

    >>> final_answer(r"So it is \\boxed{\\frac{1}{2}}."), final_answer("9 apples.\\n#### 9"), final_answer("5+3 = 8.")
    ('\\\\frac{1}{2}', '9', '8')
    """
    text = text[-_SEARCHED:].rpartition("</think>")[2]
    for find in (_boxed, _after_hashes, _after_mark, _last_number, _last_line):
        found = find(text)
        if found:
            return found
    return None


def _boxed(text: str) -> str | None:
    """What stands in the last box whose braces close."""
    end = len(text)
    for _ in range(_MOST_BOXES):
        start = max(text.rfind("\\boxed", 0, end), text.rfind("\\fbox", 0, end))
        if start < 0:
            return None
        opening = text.find("{", start, start + 10)
        if opening < 0:
            word = text[start:].partition(" ")[2].split(maxsplit=1)
            if word:
                return _plain(word[0])
        else:
            content = _braced(text, opening)
            if content is not None:
                return content.strip()
        end = start
    return None


def _braced(text: str, opening: int) -> str | None:
    depth = 0
    for i in range(opening, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[opening + 1 : i]
    return None


def _after_hashes(text: str) -> str | None:
    _, mark, after = text.rpartition("####")
    return _first_line(after) if mark else None


def _after_mark(text: str) -> str | None:
    marks = list(_MARK.finditer(text))
    return _first_line(text[marks[-1].end() :]) if marks else None


def _last_number(text: str) -> str | None:
    found = list(_LAST_NUMBER.finditer(text))
    if not found:
        return None
    number = found[-1].group()
    before = text[: found[-1].start()][-1:]
    is_operator = number[0] in "-−+" and (before.isalnum() or before in (")", "]", "}"))
    return number[1:] if is_operator else number


def _last_line(text: str) -> str | None:
    lines = text.strip().splitlines()
    return _plain(lines[-1]) if lines else None


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return _plain(lines[0]) if lines else ""


def _plain(text: str) -> str:
    """Without Markdown stars, dollar signs around it and the sentence's full stop."""
    text = text.strip().strip("*_`").strip()
    text = text.removesuffix(".").strip().strip("*_`").strip()
    if len(text) > 1 and text[0] == text[-1] == "$":
        text = text.strip("$").strip()
    return text


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
