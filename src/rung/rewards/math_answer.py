"""Is the final answer right? Exact text and exact numbers first, here; math-verify second, in a killable child.

Most answers are numbers and are decided here, fast and exactly, with no eval and no sympy in this process. What is
left (`x+1` against `1+x`, sets, roots) goes to math-verify, under a deadline for each sample: an answer that makes
sympy hang has the status `timeout`, it is not "wrong". Answers whose form is their meaning (a choice's letter, yes or
no, a time, a date, a ratio, a number in a base) stand at the end.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rung.child import Child, Limits, judged_one_by_one
from rung.errors import MissingExtra, RewardError
from rung.rewards.answers import final_answer, possible_answers, read_number, same_number
from rung.rewards.meanings import agree, is_number, is_read
from rung.rewards.reading import read
from rung.rewards.reward import REFUSED, Columns, Prompt, Score, judged_once
from rung.rewards.spelling import WORDS, one_spelling
from rung.rewards.text_is_not_code import CodeRefused, Guard

_LONGEST = 1000
"""A final answer longer than this is wrong: nobody writes one, and sympy must not read it. A row's answer that is
longer is text, which is right to the letter or not at all."""
_OPERATION = re.compile(r"(?<=[\d)}])\s*(?:[-+*/^]\s*[-({\d]|[({])")
_ARITHMETIC = re.compile(r"[0-9.\s+\-*/^(){}\[\]]+")
_ONE_NUMBER = re.compile(
    r"[-+(\s]*(?:\d*\.?\d*(?:\(\d+\))?|\d+ \d+)(?:\s*/\s*-?\d*\.?\d+)?\)?"
    r"|[-+]?(?:\d*\.?\d*\s*\*\s*)?10\s*\^\s*\{?[-+\d]+\}?"
)
_CHOICE_BEFORE = re.compile(r"^\(?[A-Z]\)[\s.:]*(?=\S)")


def decided(gold: str, answer: str) -> bool | None:
    """Whether the answer is right by its meaning; None where it was not read and only algebra can tell.

    A sum or product that is left to be worked out is no answer to a question for a number: `47+38` is not 85, or
    the question itself would be its answer. A decimal is exactly what it says: 0.333 is not 1/3. Only for an irrational
    number does its rounding to six places or more count. Where one side has a unit the other may leave it out.

    >>> decided("85", "85.0"), decided("1/3", "0.33"), decided("85", "47+38"), decided("x+1", "1+x")
    (True, False, False, True)
    """
    if _normal(gold) == _normal(answer):
        return True
    if len(answer) > _LONGEST or "\0" in answer:
        return False
    gold_number, answer_number = read_number(gold), read_number(answer)
    if gold_number and answer_number:
        return same_number(gold_number, answer_number)
    gold, answer = one_spelling(gold), one_spelling(answer)
    if _normal(gold) == _normal(answer):
        return True
    for form in FORMS:
        right = form(gold, answer)
        if right is not None:
            return right
    wanted, found = read(gold), read(_CHOICE_BEFORE.sub("", answer, count=1))
    if agree(wanted, found):
        left_to_do = _ARITHMETIC.fullmatch(answer) and _OPERATION.search(answer) and not _ONE_NUMBER.fullmatch(answer)
        return not (left_to_do and is_number(wanted) and _ONE_NUMBER.fullmatch(gold))
    return False if is_read(wanted) and is_read(found) else None


@dataclass(frozen=True, kw_only=True)
class MathAnswer:
    """1 where the completion's final answer equals the column `answer`, else 0; None where a row has no answer.

    The final answer is what `final_answer` finds; a completion that is nothing but the gold answer is right too.

    >>> MathAnswer()(["2+3?"], ["It is \\\\boxed{5.0}."], {"answer": ["5"]})
    [1.0]

    Called directly, a child lives for the one call; a `Judge` keeps one open.
    """

    name: str = "correct"
    deadline_s: float = 5.0
    """For one sample's algebra; a judge's shorter deadline wins."""
    algebra: bool = True
    """False: text and numbers only, math-verify is not needed and no child is started."""

    def open(self, deadline_s: float) -> OpenMathAnswer:
        """Ready to judge; the child starts at the first answer that needs it.

        Raises MissingExtra: math-verify is not installed.
        """
        if self.algebra and importlib.util.find_spec("math_verify") is None:
            raise MissingExtra("the math answer check", "tasks")
        return OpenMathAnswer(self, min(self.deadline_s, deadline_s))

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        return judged_once(self, self.deadline_s, prompts, completions, columns)

    def final_answer(self, completion: str) -> str | None:
        """The answer that counts; numbers in one form, so that 1,000 and 1000.0 are one vote."""
        found = final_answer(completion)
        number = read_number(found) if found is not None else None
        return found if number is None else str(number.value)


class OpenMathAnswer:
    """`MathAnswer` with its child; see there."""

    def __init__(self, reward: MathAnswer, deadline_s: float) -> None:
        self.name = reward.name
        self._algebra = reward.algebra
        self._deadline_s = deadline_s
        self._child = Child("math_verify", {}, limits=Limits(memory_bytes=2 * 2**30, file_bytes=2**20), closed=True)

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        answers = columns.get("answer", [None] * len(completions))
        scores: list[Score] = [_here(answer, text) for answer, text in zip(answers, completions, strict=True)]
        undecided = [i for i, score in enumerate(scores) if score is None and answers[i] is not None]
        if not self._algebra:
            return [0.0 if i in undecided else score for i, score in enumerate(scores)]
        requests = [{"gold": str(answers[i]), "answer": final_answer(completions[i])} for i in undecided]
        for i, score in zip(undecided, judged_one_by_one(self._child, requests, self._deadline_s), strict=True):
            scores[i] = score
        return scores

    def close(self) -> None:
        self._child.close()


def math_verify_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """Requests `{"gold": text, "answer": text}` are answered 1.0 or 0.0 by math-verify.

    An answer that would become code is wrong; a gold answer that would is an error.
    """
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns that the deadline is ours to keep: it is

    guard = Guard()

    def answer(request: Mapping[str, Any]) -> float:
        gold = None
        with contextlib.suppress(CodeRefused):
            gold = guard.run([], lambda: parse(f"${request['gold']}$", parsing_timeout=0))
        if guard.refused:
            raise RewardError("correct", REFUSED, f"the row's answer would run as code: {guard.refused[0]}")

        def compared() -> float:
            found = parse(f"${request['answer']}$", parsing_timeout=0)
            return float(verify(gold, found, timeout_seconds=0))

        try:
            score = guard.run([request["answer"]], compared)
        except CodeRefused:
            return 0.0
        return 0.0 if guard.refused else score

    # The first use builds grammars for a second or more: that must not eat the first answer's deadline.
    for gold, found in (("x+1", "1+x"), (r"\{1, \frac{1}{2}\}", r"\sqrt{2}")):
        answer({"gold": gold, "answer": found})
    return answer, None


def _here(answer: Any, completion: str) -> float | None:
    if answer is None:
        return None
    gold = str(answer)
    if _normal(completion) == _normal(gold):
        return 1.0
    if len(gold) > _LONGEST:
        return float(_normal(final_answer(completion) or "") == _normal(gold))
    plain = one_spelling(gold)
    found = possible_answers(completion, number=is_number(read(plain)) and not is_form(plain))
    verdicts = [decided(gold, text) for text in found]
    if any(verdicts):
        return 1.0
    return None if None in verdicts else 0.0


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


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
_SIDE_ALONE = re.compile(r"\s*(-?\d+(?:/0*[1-9]\d*|\.\d+)?)\s*|\s*\\frac\{?(\d+)\}?\s*\{?(\d+)\}?\s*")
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
    one = _SIDE_ALONE.fullmatch(text)
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
    (digits, base), *other = ([part.lower() for part in one.groups() if part] for one in (wanted, found) if one)
    if other:
        return other[0] == [digits, base]
    try:
        return answer.strip().lower() in (digits, str(int(digits, int(base))))
    except ValueError:
        return None


def decimal_comma(gold: str, answer: str) -> bool | None:
    """1,5 is 1.5 where the row's answer is no whole number: two numbers it cannot be."""
    return answer.replace(",", ".") == gold or None if re.fullmatch(r"-?\d+\.\d*[1-9]", gold) else None


def out_of(gold: str, answer: str) -> bool | None:
    """2 out of 5 is 2/5 where the row's answer is a fraction."""
    found = re.fullmatch(r"(\d+) (?:out of|in) (0*[1-9]\d*)(?: [a-z ]+)?", answer)
    wanted = re.fullmatch(r"\\?[a-z]*\s*\{?(\d+)\}?\s*[/{]\s*(\d+)\}?", gold)
    return (
        Fraction(*map(int, found.groups())) == Fraction(*map(int, wanted.groups())) or None
        if found and wanted
        else None
    )


def is_form(gold: str) -> bool:
    """Whether a row's answer is a date, a time, a ratio, or letters, and not the number that stands in it."""
    return any(form(gold, gold) for form in (letters, dates, times, ratios))


FORMS = (decimal_comma, out_of, letters, letter_with_text, yes_or_no, dates, times, ratios, bases)
"""Each says whether an answer is right where the row's answer has the form, and None where it has not."""
