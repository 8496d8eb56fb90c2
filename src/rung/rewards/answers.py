"""Final answers: found in a completion, and read as exact numbers. No eval, no sympy, linear time.

A final answer is the last of its kind in what follows the last `</think>` (within the last `<answer>`, where there is
one), the kinds in this order:

1. `\\boxed{...}` (or `\\fbox`), with nested braces; boxes with only `and`, `or` or a comma between them are one answer;
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
_JOINING = re.compile(
    r"[\s$.\\()\[\]]*(?:\\text\s*\{\s*)?(?:,|\band\b|\bor\b|,\s*(?:and|or)\b)[\s$\\()\[\]}]*"
    r"(?:[a-zA-Z](?:_\{?\w\}?)?\s*=\s*)?"
)
_FORMULA = re.compile(r"\$\$?([^$]{1,300})\$\$?|\\\((.{1,300}?)\\\)|\\\[(.{1,300}?)\\\]")
_CLAUSE_END = re.compile(
    r"[.!?](?=\s+(?:[A-Z*(]|$))|;\s(?=[A-Za-z])|\s[—–-]\s(?=[a-z]{2})"
    r"|,?\s(?:because|since|so that|where|which|when|if|assuming|given|as)\s"
    r"|,\s(?=(?!and\b|or\b)[A-Za-z'’.]{2,}(?!\w|\s*=))"
)
_ASIDE = re.compile(r"(?<=[\w})%$*])\s+\((?!or\b)(?=[^()]*(?<![\\A-Za-z])[A-Za-z.]{2,})[^()]*\)")
_REFUSED = re.compile(r"(?:\b(?:not|never|than|least|most)|n[’']t)\s+(?:\w+\s+)?$")
_WHOLE_BEFORE = re.compile(r"(?<![\d.,/])-?\d+\s+$")
_SIGN_BEFORE = re.compile(r"(?:[€£¥₹√]\s?)?$")
_MATH_SIGN = re.compile(r"[√π^]|\\[a-z]|\b(?:sqrt|pi)\b")
_SAYING = re.compile(r"^.*(?:\b(?:is|are|get|gets|have|be|equals)\b|[=:≈])\s*")


def final_answer(text: str) -> str | None:
    """The final answer, without decoration; None when the completion is blank.

    >>> final_answer(r"So it is \\boxed{\\frac{1}{2}}."), final_answer("9 apples.\\n#### 9"), final_answer("5+3 = 8.")
    ('\\\\frac{1}{2}', '9', '8')
    """
    text = _searched(text)
    for find in (_boxed, _after_hashes, _after_mark, _last_number, lambda text: _line(text, -1)):
        found = find(text)
        if found:
            return found
    return None


def possible_answers(text: str, *, number: bool) -> list[str]:
    """What a completion may be said to answer, where the answer is a number, or is none: an answer in prose without
    its explanation, and with `!` as an exclamation or a factorial.

    >>> possible_answers("So the answer is 12, which is even.", number=True), possible_answers("It is 4!", number=True)
    (['12'], ['4!', '4'])
    """
    text = _searched(text)
    found = _boxed(text)
    if found:
        return [_ASIDE.sub("", found)]
    marked = _after_hashes(text) or _after_mark(text)
    if marked:
        return [*_of_sentence(marked), *(() if number else _subject(marked))]
    line = _line(text, -1)
    formulas = list(_FORMULA.finditer(text))
    last = formulas[-1] if formulas and not re.search(r"[0-9]", text[formulas[-1].end() :]) else None
    if number and last is None:
        numbers = list(_LAST_NUMBER.finditer(text))
        if numbers:
            start, last = numbers[-1].start(), numbers[-1].group()
            start += (_last_number(text) != last) - _before(_SIGN_BEFORE, text[max(0, start - 3) : start])
            start -= _before(_WHOLE_BEFORE, text[max(0, start - 12) : start]) if "/" in last else 0
            start -= _before(_REFUSED, text[max(0, start - 40) : start])
            found = _of_sentence(text[start:].splitlines()[0])
            said = _SAYING.sub("", line)
            return [*found, said] if _MATH_SIGN.search(said) and said.rstrip(".!$ ").endswith(found[-1]) else found
    said = _SAYING.sub("", line)
    formula = next(filter(None, last.groups()), "") if last else ""
    return [
        *([formula] if formula else ()),
        *_of_sentence(line),
        *(_of_sentence(said) if said and said != line else ()),
    ]


def _subject(sentence: str) -> list[str]:
    """What stands before the verb: `Tom is the tallest` says Tom."""
    found = re.match(r"((?:\S+\s+){1,3}?)(?:is|are|was|were)\s(?!.*(?:\bnot\b|n't))", sentence)
    return [found.group(1).strip()] if found else []


def _before(pattern: re.Pattern[str], text: str) -> int:
    """How many characters at the end of a text the pattern takes."""
    found = pattern.search(text)
    return len(found.group()) if found else 0


def _of_sentence(sentence: str) -> list[str]:
    """A sentence up to the end of what it says: without asides and reasons."""
    said = _CLAUSE_END.split(_ASIDE.sub("", sentence), maxsplit=1)[0]
    said = _plain(said.strip()) or sentence
    ends = sentence[len(said) :].lstrip()[:1] == "!" and not said.endswith("!")
    return [f"{said}!", said] if ends else [said, said[:-1]] if said.endswith("!") else [said]


def _searched(text: str) -> str:
    text = text[-_SEARCHED:].rpartition("</think>")[2]
    _, tag, inside = text.rpartition("<answer>")
    return inside.partition("</answer>")[0] if tag else text


def _boxed(text: str) -> str | None:
    """What stands in the last box whose braces close, with the boxes that it is joined to."""
    found: list[str] = []
    start_of_last = end = len(text)
    for _ in range(_MOST_BOXES):
        start = max(text.rfind("\\boxed", 0, end), text.rfind("\\fbox", 0, end))
        if start < 0:
            break
        opening = text.find("{", start, start + 10)
        content = None if opening < 0 else _braced(text, opening)
        closing = opening + 2 + len(content) if content is not None else start
        if found and not _JOINING.fullmatch(text[closing:start_of_last].rstrip()[-60:] + " "):
            break
        if opening < 0 and not found:
            word = text[start:].partition(" ")[2].split(maxsplit=1)
            if word:
                return _plain(word[0])
        elif content is not None:
            found.insert(0, content.strip())
            start_of_last = start
        end = start
    return ", ".join(found) or None


def _braced(text: str, opening: int) -> str | None:
    depth = 0
    for i in range(opening, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[opening + 1 : i]
    return None


def _after_hashes(text: str) -> str | None:
    _, mark, after = text.rpartition("####")
    return _line(after, 0) if mark else None


def _after_mark(text: str) -> str | None:
    marks = list(_MARK.finditer(text))
    return _line(text[marks[-1].end() :], 0) if marks else None


def _last_number(text: str) -> str | None:
    found = list(_LAST_NUMBER.finditer(text))
    if not found:
        return None
    number = found[-1].group()
    before = text[: found[-1].start()][-1:]
    is_operator = number[0] in "-−+" and (before.isalnum() or before in (")", "]", "}"))
    return number[1:] if is_operator else number


def _line(text: str, which: int) -> str:
    lines = text.strip().splitlines()
    return _plain(lines[which]) if lines else ""


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

_PLAIN = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"
_NUMBER = re.compile(
    rf"(?P<one>{_PLAIN})(?:(?:[eE]|\s*(?:×|\\times|\\cdot|\*)\s*10\s*\^)\s*\{{?(?P<tens>[+-]?[0-9]{{1,5}})\}}?)?"
    rf"|(?P<above>[+-]?{_PLAIN})\s*/\s*(?P<below>[+-]?{_PLAIN})"
    rf"|(?P<whole>[0-9]+)?\s*\\[dt]?frac\s*(?:\{{\s*(?P<over>[+-]?{_PLAIN})\s*\}}\s*\{{\s*(?P<under>[+-]?{_PLAIN})\s*\}}"
    r"|(?P<up>[0-9])(?P<down>[0-9]))"
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
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    exponent = int(found["tens"] or 0)
    first, below = (
        Fraction(next(filter(None, found.group(*names)), "1").replace(",", "").removesuffix("."))
        for names in (("one", "above", "over", "up"), ("below", "under", "down"))
    )
    if abs(exponent) > _LARGEST_EXPONENT or not below:
        return None
    return first * Fraction(10) ** exponent / below + int(found["whole"] or 0)
