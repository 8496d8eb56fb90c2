"""Words that stand with numbers: units with their sizes, and numbers written as words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

_KINDS: Mapping[str, str] = {
    "length": "m meter metre 1|cm centimeter centimetre 1/100|mm millimeter millimetre 1/1000"
    "|km kilometer kilometre 1000|inch inches in 254/10000|ft foot feet 3048/10000"
    "|yd yard 9144/10000|mi mile 1609344/1000",
    "mass": "kg kilogram kilo 1000|g gram 1|mg milligram 1/1000|tonne ton 1000000",
    "time": "s sec second 1|ms millisecond 1/1000|min minute 60|h hr hour 3600|day 86400|week 604800",
    "years": "year yr 12|month 1",
    "volume": "L l liter litre 1/1000|mL ml milliliter millilitre 1/1000000|cc 1/1000000",
    "dollar": "dollar buck USD usd 1|cent penny pennies 1/100",
    "euro": "euro EUR eur 1",
    "pound": "pound lb GBP gbp 1|pence 1/100",
    "yen": "yen JPY 1",
    "rupee": "rupee INR Rs 1",
    "degree": "degree deg 1",
    "radian": "radian rad 1",
    "celsius": "celsius Celsius C 1",
    "fahrenheit": "fahrenheit Fahrenheit F 1",
    "force": "N newton 1",
    "energy": "J joule 1|kJ kilojoule 1000",
    "power": "W watt 1|kW kilowatt 1000",
    "voltage": "V volt 1",
    "current": "A ampere amp 1",
    "heat": "K kelvin 1",
    "frequency": "Hz hertz 1|kHz kilohertz 1000|MHz megahertz 1000000",
    "percent": "percent pct 1/100",
}


def _units() -> dict[str, tuple[str, Fraction]]:
    found: dict[str, tuple[str, Fraction]] = {}
    for kind, listed in _KINDS.items():
        for unit in listed.split("|"):
            *names, size = unit.split()
            for name in names:
                found[name] = (kind, Fraction(size))
                if len(name) > 2:
                    found[f"{name}s"] = found[name]
    return found


_UNITS = _units() | {"lbs": ("pound", Fraction(1)), "hrs": ("time", Fraction(3600)), "mins": ("time", Fraction(60))}
_SHORT = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h", "kmph": "km/h", "fps": "ft/s"}
_SPELT = (
    (re.compile(r"\b(?:square|sq)\b\.?\s*([A-Za-z]+)|([A-Za-z]+)\s+squared\b"), r"\1\2^2"),
    (re.compile(r"\b(?:cubic|cu)\b\.?\s*([A-Za-z]+)|([A-Za-z]+)\s+cubed\b"), r"\1\2^3"),
    (re.compile(r"\bper\b"), "/"),
    (re.compile(rf"\b({'|'.join(_SHORT)})\b"), lambda found: _SHORT[found.group()]),
)
_PART = re.compile(r"([A-Za-z]+)\s*(?:\^\s*\{?\s*(-?[1-9])\s*\}?|([23])(?![\d.]))?|(/)|([^\s.*()])")


@dataclass(frozen=True)
class Unit:
    """A unit as powers of the basic ones, and its size in them: km/h is length 1, time -1, size 1000/3600."""

    kinds: frozenset[tuple[str, int]]
    size: Fraction


NO_UNIT = Unit(frozenset(), Fraction(1))


def read_unit(text: str) -> Unit:
    """The unit that a phrase begins with; words that are no known unit (apples, in total) count as none.

    >>> read_unit("m/s^2") == read_unit("meters per second squared"), read_unit("apples") == NO_UNIT
    (True, True)
    """
    for pattern, sign in _SPELT:
        text = pattern.sub(sign, text)
    powers: Counter[str] = Counter()
    size, direction = Fraction(1), 1
    for word, raised, digit, slash, other in _PART.findall(text):
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


_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_ONES = {word: n for n, word in enumerate(_TO_NINETEEN.split())}
_BY_TEN = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * n for n, word in enumerate(_BY_TEN.split(), 2)}
_FIRST_TEN = "first second third fourth fifth sixth seventh eighth ninth tenth"
_ORDINALS = {
    **{word: n for n, word in enumerate(_FIRST_TEN.split(), 1)},
    **{"eleventh": 11, "twelfth": 12, "twentieth": 20, "thirtieth": 30, "hundredth": 100},
    **{f"{word}th": n for word, n in _ONES.items() if n > 12},
}
_PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    word + end: n for word, n in _ORDINALS.items() if n > 2 for end in ("", "s")
}
_LARGE = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
LARGE = _LARGE | {f"{word}s": n for word, n in _LARGE.items()}
_NOTHING = {"none": 0, "nothing": 0}
_MINUS = re.compile(r"\b(?:minus|negative)\s+(?=[\d\\])")
_NUMBER_WORDS = {*_ONES, *_TENS, *_ORDINALS, *_PARTS, *LARGE, *_NOTHING}


def digits_for_words(text: str) -> str:
    """The text with `minus` as a sign and, where it has no digits, with its numbers in words replaced by digits.

    >>> digits_for_words("minus twenty-one apples"), digits_for_words("three quarters"), digits_for_words("the third")
    ('-21 apples', '3/4', 'the 3')
    """
    text = _MINUS.sub("-", text)
    if any(c.isdigit() for c in text):
        return text
    words = re.split(r"([\s-]+)", text)
    out: list[str] = []
    i = 0
    while i < len(words):
        run, after = _run(words, i)
        if not run:
            out.append(words[i])
            i += 1
            continue
        out.append(str(_number_of(run)))
        i = after
    return _MINUS.sub("-", "".join(out))


def _run(words: list[str], start: int) -> tuple[list[str], int]:
    """The words of the number that begins here, and the place after it."""
    run: list[str] = []
    place = after = start
    while place < len(words):
        word = words[place].lower().strip(".,!?")
        if word in _NUMBER_WORDS:
            run.append(word)
            after = place + 1
            if words[place][-1] in ".,!?":
                break
        elif not (run and (word in ("and", "a") or not word.strip(" -\t"))):
            break
        elif word == "and":
            run.append(word)
        place += 1
    while run and run[-1] == "and":
        run.pop()
    return run, after


def _number_of(run: list[str]) -> Fraction:
    if "and" in run:
        cut = len(run) - 1 - run[::-1].index("and")
        return _number_of(run[:cut]) + _number_of(run[cut + 1 :])
    total = current = Fraction(0)
    seen = False
    for i, word in enumerate(run):
        if word in _NOTHING or word in _ONES or word in _TENS:
            current += _NOTHING.get(word, 0) + _ONES.get(word, 0) + _TENS.get(word, 0)
        elif word in LARGE:
            current = (current if seen and current else Fraction(1)) * LARGE[word]
            if LARGE[word] > 100:
                total, current = total + current, Fraction(0)
        elif word in _PARTS and (word not in _ORDINALS or (seen and run[i - 1] in _ONES)):
            return ((total + current) or 1) * Fraction(LARGE.get("".join(run[i + 1 : i + 2]), 1), _PARTS[word])
        else:
            return total + current + _ORDINALS[word]
        seen = True
    return total + current
