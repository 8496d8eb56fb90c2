"""Answers whose form is their meaning: a choice's letter, yes or no, a time, a date, a ratio, a number in a base.

Each form says whether an answer is right where the row's answer has the form, and None where it has not.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rung.rewards.spelling import WORDS

_LETTER = r"\(?([A-Z])\)?"
_ONE_LETTER = re.compile(rf"{_LETTER}\.?")
_LETTERS = re.compile(rf"{_LETTER}(?:(?:\s*,\s*(?:and\s)?|\s+and\s+){_LETTER})+")
_CHOSEN = re.compile(
    rf"(?:.*\b(?:is|choose|pick|select|option|choice|letter|answer)\b[\s:]*)?{_LETTER}(?:$|[.:),]|\s+(?![a-z]))",
    re.IGNORECASE,
)
_ANOTHER = re.compile(r"(?:,|\b(?:or|and|but|maybe)\b)\s*(?:option\s+|choice\s+)?\(?[A-Z](?:\)|\b(?!')(?!\s+[a-z]))")

_MONTHS: list[str] = WORDS["months"].split()
_MONTH = re.compile(r"\b(" + "|".join(f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS) + r")\b\.?", re.IGNORECASE)
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_TIME = re.compile(r"(?:at\s+)?(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s*(?:([ap])\.?\s*m\.?)?", re.IGNORECASE)
_RATIO = re.compile(r"[-\d./\s]+(?:(?::|\bto\b)[-\d./\s]+)+")
_ONE_NUMBER = re.compile(r"\s*(-?\d+(?:/0*[1-9]\d*|\.\d+)?)\s*|\s*\\frac\{?(\d+)\}?\s*\{?(\d+)\}?\s*")
_BASE = re.compile(
    r"\(?([0-9A-Fa-f]+)\)?\s*(?:_\s*\{?\s*(?:\\?\w*\s)?(\d{1,2})\s*\}?|in base (\d{1,2})|\(base (\d{1,2})\))"
)
_SAID = re.compile(r"^.*\b(?:is|are|was|at|in|on|of)\s+(?=[\d(A-Z])")
_YES_NO: dict[str, bool] = WORDS["affirmed"]


def letters(gold: str, answer: str) -> bool | None:
    """B, (B) and `B. Paris` choose B; A, C and `C and A` choose the same two.

    >>> letters("B", "(B) 12"), letters("B", "B or C"), letters("B", "A triangle"), letters("12", "B")
    (True, False, None, None)
    """
    if _LETTERS.fullmatch(gold):
        answer = " ".join(answer) if re.fullmatch("[A-Z]{2,9}", answer) else answer
        wanted, found = (set(re.findall(r"\b[A-Z]\b", text)) for text in (gold, answer))
        rest = re.sub(r"\b[A-Z]\b|\band\b|\b(?:options?|choices?)\b|[\s,()&]", "", answer)
        return (wanted == found) if not rest else None
    one, chosen = _ONE_LETTER.fullmatch(gold), _CHOSEN.match(answer.strip())
    if not one or not chosen:
        return None
    return chosen.group(1).upper() == one.group(1) and not _ANOTHER.search(answer[chosen.end(1) :])


def letter_with_text(gold: str, answer: str) -> bool | None:
    """Where the row's answer is `(B) 12`, the letter alone is right."""
    found = re.fullmatch(r"\(?([A-Z])\)\s*\S.*", gold)
    return True if found and letters(found.group(1), answer) else None


def yes_or_no(gold: str, answer: str) -> bool | None:
    """The first word counts: `Yes, because 4 is even` is yes.

    >>> yes_or_no("Yes", "true."), yes_or_no("No", "Yes"), yes_or_no("Yes", "4")
    (True, False, None)
    """
    wanted = _YES_NO.get(gold.lower().strip("."))
    words = re.findall(r"[a-z']+", answer.lower())
    if wanted is None or not words or words[0] not in _YES_NO:
        return None
    return _YES_NO[words[0]] is wanted and not {"or", "maybe"} & set(words[1:2])


def _date_of(text: str) -> dict[str, int] | None:
    if iso := _ISO.search(text):
        return dict(zip(("year", "month", "day"), map(int, iso.groups()), strict=True))
    month = _MONTH.search(text)
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    if not month or not numbers or len(numbers) > 2:
        return None
    number = [name[:3] for name in _MONTHS].index(month.group(1)[:3].lower()) + 1
    return {"month": number, **{("day" if n <= 31 else "year"): n for n in numbers}}


def dates(gold: str, answer: str) -> bool | None:
    """All that the row's date names agrees: `5 March` is `March 5th`."""
    wanted, found = _date_of(gold), _date_of(answer)
    if wanted is None or (found is None and not re.search(r"\d", answer)):
        return None
    return found is not None and all(found.get(part) == value for part, value in wanted.items())


def _time_of(text: str) -> tuple[int, int, int, str] | None:
    found = _TIME.fullmatch(_SAID.sub("", text.strip()).rstrip(".,") + ("." if text.strip().endswith("m.") else ""))
    if not found or not (found.group(2) or found.group(4)):
        return None
    hour, minute, second = (int(part or 0) for part in found.groups()[:3])
    half = (found.group(4) or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return hour, minute, second, half


def times(gold: str, answer: str) -> bool | None:
    """2:30 PM is 14:30; where one side names no half of the day, the hour on the clock counts.

    >>> times("3:30 PM", "3:30 a.m."), times("14:30", "2:30 p.m."), times("3:30 PM", "3:30")
    (False, True, True)
    """
    wanted, found = _time_of(gold), _time_of(answer)
    if wanted is None or found is None:
        return None
    if wanted[:3] == found[:3]:
        return True
    is_open = bool(wanted[3]) != bool(found[3])  # one of them says am or pm
    unsaid = found[0] if wanted[3] else wanted[0]
    return is_open and 0 < unsaid <= 12 and wanted[0] % 12 == found[0] % 12 and wanted[1:3] == found[1:3]


def _sides_of(text: str) -> list[Fraction]:
    """The sides of a ratio; a number or a fraction alone is one too; none: it is neither."""
    said = _SAID.sub("", text)
    one = _ONE_NUMBER.fullmatch(text)
    sides = re.split(r":|\bto\b", said) if _RATIO.fullmatch(said) else [one[1] or one[2], one[3] or "1"] if one else ()
    try:
        return [Fraction(side.replace(" ", "")) for side in sides]
    except (ValueError, ZeroDivisionError):
        return []


def ratios(gold: str, answer: str) -> bool | None:
    """3:4 is `3 to 4`, 6:8 and 3/4.

    >>> ratios("3:4", "6 : 8"), ratios("3:4", "4:3"), ratios("3:4", "0.75")
    (True, False, True)
    """
    if ":" not in gold and ":" not in answer:
        return None
    a, b = _sides_of(gold), _sides_of(answer)
    if not a or not b:
        return None
    if ":" not in gold and not re.search("/|frac", gold):
        return False
    return len(a) == len(b) and all(x * b[0] == y * a[0] for x, y in zip(a, b, strict=True)) and any(a) == any(b)


def bases(gold: str, answer: str) -> bool | None:
    """101_2 is 101_{2}; 101 alone and 5 are right too.

    >>> bases("101_2", "101_{3}"), bases("101_2", "101"), bases("101_2", "5")
    (False, True, True)
    """
    wanted, found = (_BASE.fullmatch(text.strip()) for text in (gold, answer))
    if not wanted:
        return None
    digits, base = wanted.group(1).lower(), next(part for part in wanted.groups()[1:] if part)
    if found:
        return found.group(1).lower() == digits and next(part for part in found.groups()[1:] if part) == base
    try:
        value = str(int(digits, int(base)))
    except ValueError:
        return None
    return answer.strip().lower() in (digits, value)


def decimal_comma(gold: str, answer: str) -> bool | None:
    """1,5 is 1.5 where the row's answer is no whole number: two numbers it cannot be."""
    return answer.replace(",", ".") == gold or None if re.fullmatch(r"-?\d+\.\d*[1-9]", gold) else None


def out_of(gold: str, answer: str) -> bool | None:
    """2 out of 5 is 2/5 where the row's answer is a fraction."""
    found = re.fullmatch(r"(\d+) (?:out of|in) (\d+)(?: [a-z ]+)?", answer)
    wanted = re.fullmatch(r"\\?[a-z]*\s*\{?(\d+)\}?\s*[/{]\s*(\d+)\}?", gold)
    return (
        (Fraction(*map(int, found.groups())) == Fraction(*map(int, wanted.groups())) or None)
        if found and wanted and int(found.group(2))
        else None
    )


def is_form(gold: str) -> bool:
    """Whether a row's answer is a date, a time, a ratio, or letters, and not the number that stands in it."""
    return any(form(gold, gold) for form in (letters, dates, times, ratios))


FORMS = (decimal_comma, out_of, letters, letter_with_text, yes_or_no, dates, times, ratios, bases)
