"""Reading the meaning of an answer from a text in one spelling. `read` never fails: what is no mathematics is words."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import accumulate

from rung.rewards.expressions import MATH_WORDS, TooLarge, Unread, Value, worked_out
from rung.rewards.meanings import (
    NOTHING,
    WORD,
    Chain,
    Equation,
    Items,
    Quantity,
    Reading,
    Region,
    Words,
    agree,
    as_region,
    is_number,
)
from rung.rewards.spelling import LARGE, NO_UNIT, SYNONYMS, WORDS, Unit, digits_for_words, is_unit_sign, read_unit

_PRODUCT = re.compile(r"(?<=[\d)}*/+^=-])[A-Za-z]{2,3}(?![A-Za-z'.])|[A-Za-z]{2,3}(?=[\^_*+])")
_NOT_MEANT, _HEDGES, _OPERATIONS = (frozenset(WORDS[key].split()) for key in ("refusing", "hedges", "operations"))
_MONEY = frozenset({"dollar", "euro", "pound", "yen", "rupee"})
_ARTICLES = frozenset({"the", "a", "an"})
_DEEPEST, _MOST_PARTS = 40, 120
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MATRIX = re.compile(r"\\begin\{([a-z]*matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}")
_SAYS = re.compile(r"\d|\\[a-zA-Z]|(?<![A-Za-z'])[b-zB-HJ-Z](?![A-Za-z'])")
"""A digit, a command, or a letter by itself that is no word."""


def read(text: str) -> Reading:
    r"""The meaning of a text in one spelling.

    >>> read("18 dollars").same(read("18")), read(r"x \ge 5").same(read(r"[5, \infty)"))
    (True, True)
    """
    text = digits_for_words(text.strip().rstrip(".,;").strip())
    text = re.sub(r"^(?:\\approx|[=:≈~])\s*|^(?:.*\s)?not [^,]*,? but (?:rather )?| or so$", "", text)
    text = re.sub(r"\s\((or [^()]*)\)", r" \1", text)
    text = re.sub(r"(?<![\d/])(\d+) and (\d+/\d+)", r"\1 \2", text)
    if max(accumulate((c in "([{") - (c in ")]}") for c in text), default=0) > _DEEPEST:
        return NOTHING
    if SYNONYMS.get(text) == "none":
        return Words("none")
    if text.lower() in WORDS["reals"]:
        return Region(((worked_out(r"-\infty"), False, worked_out(r"\infty"), False),))
    for reader in (_compound, _several, _matrix, _union, _relation, _bracketed, _plus_minus, _quantity):
        try:
            found = reader(text)
        except Unread:
            found = None
        except TooLarge:
            found = NOTHING
        if found is not None:
            return found
    return Words(_plain_words(text), "\\" in text)


def _plain_words(text: str) -> str:
    found = re.sub(r"[\"'.,;:!?()\s-]+", " ", text.lower()).strip()
    found = SYNONYMS.get(text.lower().strip(), SYNONYMS.get(found, found))
    words = [word for word in found.split() if word not in _ARTICLES]
    return " ".join(words or found.split())


def split_outside(text: str, separator: re.Pattern[str]) -> list[str]:
    """The text cut at a separator outside of brackets, and the separators between: part, separator, part, ...

    >>> split_outside("a,(b,c)", re.compile(","))
    ['a', ',', '(b,c)']
    """
    parts, start, depth, i = [], 0, 0, 0
    while i < len(text):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        found = separator.match(text, i) if depth <= 0 else None
        if found and found.end() > i:
            parts += [text[start:i].strip(), found.group().strip()]
            start = i = found.end()
        else:
            i += 1
    return [*parts, text[start:].strip()]


_SEPARATOR = re.compile(r",\s*(?:and|or)\b|[,;]|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])")


def _several(text: str) -> Reading | None:
    cut = split_outside(re.sub(r"^(?:either|both)\s+", "", text), _SEPARATOR)
    if len(cut) == 1:
        return None
    if len(cut) > _MOST_PARTS:
        raise TooLarge("parts")
    parts = tuple(read(part) for part in cut[::2] if part)
    if not parts:
        return None
    if (
        cut[1] == "and"
        and is_number(parts[0])
        and isinstance(parts[-1], Words)
        and not re.search(r"\d|more|half", cut[2])
    ):
        return parts[0]
    regions = [part for part in parts if isinstance(part, Region)]
    if len(regions) == len(parts):
        if any("or" in mark for mark in cut[1::2]):
            return Region(tuple(interval for region in regions for interval in region.intervals))
        if len(parts) == 2 and all(len(region.intervals) == 1 for region in regions):
            return regions[0].within(regions[1])
    flat: list[Reading] = []
    for part in parts:
        flat += part.parts if isinstance(part, Items) and not part.kind else (part,)
    return flat[0] if all(is_number(part) and agree(part, flat[0]) for part in flat) else Items("", tuple(flat))


def _matrix(text: str) -> Reading | None:
    found = _MATRIX.fullmatch(text)
    if not found:
        return None
    rows = [row for row in found.group(2).split(r"\row") if row.strip()]
    return Items("matrix", tuple(Items("row", tuple(read(cell) for cell in row.split("&"))) for row in rows))


def _union(text: str) -> Reading | None:
    text = re.sub(r"^[A-Za-z]\s*\\in(?![a-z])\s*", "", text)
    parts = split_outside(text, re.compile(r"\\cup(?![a-z])"))[::2]
    regions = [as_region(read(part)) for part in parts] if len(parts) > 1 else []
    if text.strip() == r"\R":
        return read(text)
    if not regions:
        return _bracketed(text)
    if None in regions:
        return Items("{}", tuple(read(part) for part in parts))
    return Region(tuple(interval for region in regions if region for interval in region.intervals))


def _bracketed(text: str) -> Reading | None:
    text = re.sub(r"^[A-Z]'*\s*(?=\(.*,)", "", text.replace(r"\{", "{").replace(r"\}", "}").strip())
    if not text or text[0] not in _CLOSING or text[-1] not in ")]}" or len(split_outside(text, _SEPARATOR)) > 1:
        return None
    inner = text[1:-1]
    if min(accumulate((c in "([{") - (c in ")]}") for c in inner), default=0) < 0:
        return None
    kind = text[0] + text[-1]
    parts = split_outside(inner, re.compile("[,;]"))[::2]
    if len(parts) == 1 and kind != "{}":
        return read(inner) if kind == "()" else None
    if "{" in kind and kind != "{}":
        return None
    return Items(kind, tuple(read(part) for part in parts if part))


def _plus_minus(text: str) -> Reading | None:
    return Items("", (_quantity(text, 1), _quantity(text, -1))) if r"\pm" in text else None


def _relation(text: str) -> Reading | None:
    pattern = re.compile(r"\\(?:le|ge|ne|approx)(?![a-z])|[<>]=?|==?")
    cut = split_outside(text, pattern)
    if len(cut) == 1:
        return None
    if not all(cut[::2]):
        return NOTHING
    marks = [{"<=": r"\le", ">=": r"\ge", "==": "="}.get(mark, mark) for mark in cut[1::2]]
    sides = [read(side) for side in cut[::2]]
    if set(marks) <= {"=", r"\approx"}:
        return _chain(marks, cut[::2], sides)
    return _region(marks, sides) or (_equation(marks[0], cut[0], cut[2], sides[1]) if len(sides) == 2 else None)


def _chain(marks: list[str], texts: list[str], sides: list[Reading]) -> Reading:
    """What `a = b = c` says: the last side, if what can be compared agrees."""
    if r"\approx" in marks:  # the exact side stands first
        exact = next((side for side in sides if is_number(side)), sides[-1])
        sides = sides[: marks.index(r"\approx") + 1] if is_number(sides[0]) else sides
        return exact if is_number(sides[0]) else Equation("=", texts[0], sides[-1], None)
    numbers = [side for side in sides if is_number(side)]
    if any(not side.same(numbers[-1]) for side in numbers):
        return NOTHING
    if len(numbers) == len(sides) or all(isinstance(s, Quantity) and s.same(sides[0]) for s in sides):
        return Chain(tuple(sides))
    return _equation("=", texts[0], texts[-1], sides[-1])


def _equation(mark: str, left: str, right: str, right_read: Reading) -> Reading:
    flipped = {">": "<", r"\ge": r"\le"}.get(mark)
    try:
        difference = worked_out(f"({right}) - ({left})" if flipped else f"({left}) - ({right})")
    except (Unread, TooLarge):
        difference = None
    return Equation(flipped or mark, left.replace(" ", ""), right_read, difference)


def _region(marks: list[str], sides: list[Reading]) -> Region | None:
    """The values of the one variable in `1 < x \\le 3`, `x > 5`, `5 < x`."""
    values = [side.value for side in sides if isinstance(side, Quantity)]
    places = [i for i, value in enumerate(values) if not value.is_constant]
    if len(values) != len(sides) or not set(marks) <= {"<", ">", r"\le", r"\ge"} or len(places) != 1:
        return None
    (place,), (name, *others) = places, values[places[0]].symbols
    if others or (len(sides) != 2 and (len(sides), place) != (3, 1)):
        return None
    if not worked_out(name if len(name) == 1 or "_" in name else f"\\{name}").same(values[place]):
        return None
    low: tuple[Value, bool] = (worked_out(r"-\infty"), False)
    high: tuple[Value, bool] = (worked_out(r"\infty"), False)
    for i, mark in enumerate(marks):
        other = i + 1 if i == place else i
        is_below = (mark in ("<", r"\le")) == (other < place)  # the constant is a lower bound
        bound = (values[other], mark in (r"\le", r"\ge"))
        low, high = (bound, high) if is_below else (low, bound)
    return Region(((*low, *high),))


def _compound(text: str) -> Reading | None:
    """2 hours and 30 minutes are one quantity."""
    pairs = re.findall(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text)
    rest = re.sub(r"\d+(?:\.\d+)?\s*[A-Za-z]+|\band\b|[,\s]", "", text)
    units = [read_unit(word) for _, word in pairs]
    if len(pairs) < 2 or rest or len({unit.kinds for unit in units}) != 1 or units[0] == NO_UNIT:
        return None
    total = sum((Fraction(number) * unit.size for (number, _), unit in zip(pairs, units, strict=True)), Fraction(0))
    return Quantity(worked_out(f"{total.numerator}/{total.denominator}"), Unit(units[0].kinds, Fraction(1)))


def _quantity(text: str, sign: int = 1) -> Reading:
    """The one quantity of a phrase: its words before and after are dropped, but for its unit."""
    text = _after_verb(text.replace("%", " percent "))
    words = [found for found in WORD.finditer(text) if not _is_of_formula(text, found)]
    edges = [(0, 0), *((found.start(), found.end()) for found in words), (len(text), len(text))]
    gaps = [(edges[i][1], edges[i + 1][0]) for i in range(len(edges) - 1)]
    found = [i for i, (start, end) in enumerate(gaps) if _SAYS.search(text[start:end])]
    if not found and not words:
        return Quantity(worked_out(text, sign))
    if not found:
        raise Unread(text)
    start, end = gaps[found[0]]
    said = [word.group().lower() for word in words]
    before, between = said[: found[0]], said[found[0] : found[1] if len(found) > 1 else None]
    refused = any(word in _NOT_MEANT or word.endswith("n't") for word in before)
    has_more = any(re.search(r"\d", text[slice(*gaps[i])]) for i in found[1:])
    if refused or (between and between[0] in _OPERATIONS) or (has_more and _HEDGES & set(between)):
        raise Unread(text)
    formula, tail = text[start:end].strip(" ,:\"'"), text[end:].strip()
    return _with_unit(formula, tail, words[found[0] - 1].group() if found[0] else "", sign)


def _is_of_formula(text: str, word: re.Match[str]) -> bool:
    """Whether a word is a function's name, or a product of two or three letters as in `6xy`."""
    name = word.group().strip(".")
    return name in MATH_WORDS or (bool(_PRODUCT.match(text, word.start())) and not is_unit_sign(name))


def _with_unit(formula: str, tail: str, word_before: str, sign: int) -> Quantity:
    formula = formula.rstrip("/").strip()
    whole = None
    letters = re.fullmatch(r"(.*[\d)}])\s*([A-Za-z][A-Za-z0-9^{}/\s*-]*)", formula)
    if letters and is_unit_sign(letters.group(2)):
        whole = worked_out(formula, sign) if not tail and formula.count("/") == 0 else None
        formula, tail = letters.group(1), f"{letters.group(2)} {tail}"
    value = worked_out(formula, sign)
    first, _, rest = tail.partition(" ")
    if first in LARGE:
        value, tail = value.times(LARGE[first]), rest
    unit, before = read_unit(tail), read_unit(word_before)
    if unit == NO_UNIT and {kind for kind, _ in before.kinds} <= _MONEY:
        unit = before
    return Quantity(value, unit, whole)


def _after_verb(text: str) -> str:
    """What stands after the last verb of a sentence, or before it where nothing is said there."""
    cut = re.split(r"\b(?:is equal to|equals|equal to|is|are|was|were|be|gives)\b|:(?=\s)", text)
    said = [part for part in cut if re.search(r"\d|\\[a-z]|(?<![A-Za-z])[b-z](?![A-Za-z])", part)]
    refused = any(_NOT_MEANT & set(re.findall(r"[a-z']+", part.lower())) for part in cut[1:])
    return text if refused or not said else said[-1].strip()
