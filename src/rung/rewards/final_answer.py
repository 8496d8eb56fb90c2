"""Find the final answer in a completion: a box, a mark such as "Answer:", or the last number.

In this order, the last one of its kind each time, in what follows the last `</think>`:

1. `\\boxed{...}` (or `\\fbox`), with nested braces;
2. `#### ...` up to the line's end;
3. `Answer: ...` or `the answer is ...` up to the line's end;
4. the last number;
5. the last line that is not empty.
"""

from __future__ import annotations

import re

_SEARCHED = 20_000
"""The last so many characters: an answer stands at the end."""
_MOST_BOXES = 20

_MARK = re.compile(r"answer(?:[ \t]+is)?[ \t*_]*[:=][ \t*_]*|answer[ \t]+is\b[ \t*_]*", re.IGNORECASE)
_NUMBER = re.compile(
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
    found = list(_NUMBER.finditer(text))
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
