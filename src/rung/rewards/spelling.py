r"""Texts of answers in one spelling, before anything is read: `5½` is `5 1/2`, `\dfrac` is `\frac`, `twenty` is `20`.

Unicode's signs become ASCII and LaTeX's synonyms one command; dress (dollar signs, `\text`, `\left`, Markdown) goes;
thousands marks go; repeating decimals are `0.8(3)`; units have sizes. Nothing is judged here. The words are in
words.yaml.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from typing import Any

import yaml

WORDS: dict[str, Any] = yaml.safe_load(files("rung.rewards").joinpath("words.yaml").read_text(encoding="utf-8"))
_SIGNS = str.maketrans({sign: ours for ours, signs in WORDS["signs"].items() for sign in signs})
_COMMANDS = {name: ours for ours, names in WORDS["commands"].items() for name in names.split()}
SYNONYMS = {text: word for word, texts in WORDS["synonyms"].items() for text in texts}


def _compiled(steps: Iterable[Any]) -> list[tuple[re.Pattern[str], Any]]:
    return [(re.compile(pattern), sign) for pattern, sign in steps]


_SMALL_PRINT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+|[₀-₉]+")
_ROOT = re.compile(r"(?:√|(?<![\\a-zA-Z])sqrt)\s*(\d+(?:\.\d+)?)")
_DRESSED, _PLAIN = (_compiled(WORDS[key]) for key in ("dressed", "plain"))
_COMMAS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,]|\.\d*,)")
_GAPS = re.compile(r"(?<![\d.,] )(?<![\d.,])\d{1,3}(?:(?: \d{3})+|(?:'\d{3})+)(?![\d'/]| \d)")
_CONTINENTAL = re.compile(r"(?<![\d.,])\d{1,3}(?:\.\d{3})+(?:,\d{1,2})?(?![\d.,])")


def one_spelling(text: str) -> str:
    r"""The text with one sign for one meaning.

    >>> one_spelling(r"\text{about } −1{,}234.5\text{ cm}²"), one_spelling(r"$0.8\overline{3}$")
    ('about -1234.5 cm ^{2}', '0.8(3)')
    """
    text = _SMALL_PRINT.sub(_at_full_size, text)
    text = _ROOT.sub(r"\\sqrt{\1}", text).translate(_SIGNS)
    text = "".join(f" {c}" if unicodedata.decomposition(c).startswith("<fraction>") else c for c in text)
    text = _replaced(unicodedata.normalize("NFKC", text).replace("⁄", "/").translate(_SIGNS), _DRESSED)
    text = _replaced(re.sub(r"\\([a-zA-Z]+)", lambda found: _COMMANDS.get(found[1], found[0]), text), _PLAIN)
    text = text.strip().strip("*_").strip()
    if _CONTINENTAL.fullmatch(text) and (text.count(".") > 1 or "," in text):
        return text.replace(".", "").replace(",", ".")
    # outside of brackets 1,234 and 1 234 and 1'234 are 1234; inside them a comma parts two numbers
    parts = re.split(r"([(\[{][^()\[\]{}]*[)\]}])", text)
    for i in range(0, len(parts), 2):
        for marked in (_COMMAS, _GAPS):
            parts[i] = marked.sub(lambda found: re.sub("[, ']", "", found[0]), parts[i])
    return "".join(parts)


def _at_full_size(found: re.Match[str]) -> str:
    mark = "_" if "₀" <= found[0][0] <= "₉" else "^"
    return f"{mark}{{{unicodedata.normalize('NFKC', found[0])}}}"


def _replaced(text: str, steps: Iterable[tuple[re.Pattern[str], Any]]) -> str:
    for pattern, sign in steps:
        text = pattern.sub(sign, text)
    return text


_UNITS = {
    name: (kind, Fraction(unit.rpartition(" ")[2]))
    for kind, units in WORDS["units"].items()
    for unit in units
    for one in unit.split()[:-1]
    for name in (one, f"{one}s" if len(one) > 2 and one[-1] != "s" else one)
}
_SHORT: dict[str, str] = WORDS["short_units"]
_SPELT = _compiled(
    (
        (r"\b(?:square|sq)\b\.?\s*([A-Za-z]+)|([A-Za-z]+)\s+squared\b", r"\1\2^2"),
        (r"\b(?:cubic|cu)\b\.?\s*([A-Za-z]+)|([A-Za-z]+)\s+cubed\b", r"\1\2^3"),
        (r"\bper\b", "/"),
        (rf"\b({'|'.join(_SHORT)})\b", lambda found: _SHORT[found[0]]),
    )
)
_PART = re.compile(r"([A-Za-z]+)\s*(?:\^\s*\{?\s*(-?[1-9])\s*\}?|([23])(?![\d.]))?|(/)|([^\s.*()])")


@dataclass(frozen=True)
class Unit:
    """A unit as powers of the basic ones, and its size in them: km/h is length 1, time -1, size 1000/3600."""

    kinds: frozenset[tuple[str, int]] = frozenset()
    size: Fraction = Fraction(1)


NO_UNIT = Unit()


def read_unit(text: str) -> Unit:
    """The unit that a phrase begins with; words that are no known unit (apples, in total) count as none.

    >>> read_unit("m/s^2") == read_unit("meters per second squared"), read_unit("apples") == NO_UNIT
    (True, True)
    """
    powers: Counter[str] = Counter()
    size, direction = Fraction(1), 1
    for word, raised, digit, slash, other in _PART.findall(_replaced(text, _SPELT)):
        known = _UNITS.get(word) or _UNITS.get(word.lower() if len(word) > 1 else "")
        if other or (word and not known and powers and direction == 1):
            break
        if known:
            exponent = direction * int(raised or digit or 1)
            powers[known[0]] += exponent
            size *= known[1] ** exponent
        direction = -1 if slash else 1
    if {"celsius", "fahrenheit"} & set(powers):
        del powers["degree"]
    return Unit(frozenset((kind, n) for kind, n in powers.items() if n), size)


def is_unit_sign(text: str) -> bool:
    """Whether a phrase is made of known units and nothing else, as `m`, `m^2`, `m/s`.

    >>> is_unit_sign("m/s^2"), is_unit_sign("x^2")
    (True, False)
    """
    words = [word for word, *_ in _PART.findall(text) if word]
    bare = re.sub(r"[A-Za-z]+|\^\s*\{?\s*-?[1-9]\s*\}?|[\s/*.]", "", text)
    return bool(words) and not bare and all(word in _UNITS or word in _SHORT for word in words)


_ONES = {word: n for n, word in enumerate(WORDS["ones"].split())}
_TENS = {word: 10 * n for n, word in enumerate(WORDS["tens"].split(), 2)}
_SMALL = {**_ONES, **_TENS, "none": 0, "nothing": 0}
_ORDINALS = {word: n for n, word in enumerate(WORDS["ordinals"].split(), 1)}
_ORDINALS |= {"twentieth": 20, "thirtieth": 30, "hundredth": 100}
_PARTS = {word + end: n for word, n in _ORDINALS.items() if n > 2 for end in ("", "s")}
_PARTS |= {"half": 2, "halves": 2, "quarter": 4, "quarters": 4}
LARGE = {name: n for word, n in WORDS["large"].items() for name in (word, f"{word}s")}
_WORD = rf"(?:{'|'.join({**_SMALL, **_ORDINALS, **_PARTS, **LARGE})})"
_MINUS = re.compile(r"\b(?:minus|negative)\s+(?=[\d\\])")
_INWORDS = re.compile(
    rf"(?<![^\s-])[.,!?]*({_WORD}(?:[ \t-]+(?:(?:and|a)[ \t-]+)*{_WORD})*)[.,!?]*(?![^\s-])", re.IGNORECASE
)


def digits_for_words(text: str) -> str:
    """The text with `minus` as a sign and, where it has no digits, with its numbers in words replaced by digits.

    >>> digits_for_words("minus twenty-one apples"), digits_for_words("three quarters"), digits_for_words("the third")
    ('-21 apples', '3/4', 'the 3')
    """
    text = _MINUS.sub("-", text)
    if any(c.isdigit() for c in text):
        return text
    return _MINUS.sub("-", _INWORDS.sub(lambda found: str(_number_of(re.findall("[a-z]+", found[1].lower()))), text))


def _number_of(words: list[str]) -> Fraction:
    if "and" in words:
        cut = len(words) - 1 - words[::-1].index("and")
        return _number_of(words[:cut]) + _number_of(words[cut + 1 :])
    run = [word for word in words if word != "a"]
    total = current = Fraction(0)
    for i, word in enumerate(run):
        if word in _SMALL:
            current += _SMALL[word]
        elif word in LARGE:
            current = (current or 1) * LARGE[word]
            if LARGE[word] > 100:
                total, current = total + current, Fraction(0)
        elif word in _PARTS and (word not in _ORDINALS or (i and run[i - 1] in _ONES)):
            return ((total + current) or 1) * Fraction(LARGE.get("".join(run[i + 1 : i + 2]), 1), _PARTS[word])
        else:
            return total + current + _ORDINALS[word]
    return total + current
