r"""What an answer can mean: a quantity, several readings, a region, an equation, words, or nothing.

Each kind compares itself with another by `same`; `agree` asks both. The form counts only where it changes the meaning:
(1,2) is not (2,1), [0,1] is not (0,1), and 18 dollars are 18.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rung.rewards.expressions import Value, worked_out
from rung.rewards.spelling import NO_UNIT, Unit

WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z][A-Za-z'.]*[A-Za-z](?:-[A-Za-z]{2,})*\.?(?![A-Za-z])")
_NAME = re.compile(
    r"\\?[A-Za-z]+(?:_\{?\w{1,4}\}?)?'*(?:\([^()+*/]{1,12}\))?|\\?angle.{1,6}|[A-Z]{2,3}|\([a-z](?:,[a-z])+\)"
)
_PERCENT = frozenset({("percent", 1)})
_DEGREE = frozenset({("degree", 1)})


@dataclass(frozen=True)
class Quantity:
    """A formula's value with its unit; `formula` is the whole text as one, where a letter may be unit or variable."""

    value: Value
    unit: Unit = NO_UNIT
    formula: Value | None = None

    def same(self, other: Reading) -> bool:
        if not isinstance(other, Quantity):
            return False
        if self.formula and (other.formula or other.value).same(self.formula):
            return True
        if other.formula and other.formula.same(self.value):
            return True
        if _PERCENT in (self.unit.kinds, other.unit.kinds) and self.unit != other.unit:
            return self.value.same(other.value) or self.in_basic().same(other.in_basic())
        if NO_UNIT.kinds in (self.unit.kinds, other.unit.kinds):
            return self.value.same(other.value) or self._turned().same(other._turned())
        return self.unit.kinds == other.unit.kinds and self.in_basic().same(other.in_basic())

    def _turned(self) -> Value:
        """An angle in degrees as one in radians; any other value as it is."""
        is_angle = self.unit.kinds == _DEGREE
        turn = worked_out(r"\pi/180").at[0]
        return Value(tuple(v and v * turn for v in self.value.at), self.value.symbols) if is_angle else self.value

    def in_basic(self) -> Value:
        """The value in the unit's basic units: 50% is 0.5, 2 km are 2000."""
        return self.value.times(self.unit.size)


@dataclass(frozen=True)
class Items:
    """Several readings between two brackets; without brackets and between braces their order says nothing."""

    kind: str
    parts: tuple[Reading, ...]

    def same(self, other: Reading) -> bool:
        if not isinstance(other, Items):
            return len(self.parts) == 1 and agree(self.parts[0], other)
        kinds = {self.kind, other.kind}
        if len(kinds) > 1 and "" not in kinds:
            return False
        if kinds <= {"", "{}"}:
            return _covers(self.parts, other.parts) and _covers(other.parts, self.parts)
        return len(self.parts) == len(other.parts) and all(
            agree(a, b) for a, b in zip(self.parts, other.parts, strict=True)
        )


def _covers(some: Sequence[Reading], others: Sequence[Reading]) -> bool:
    return all(any(agree(a, b) for b in others) for a in some)


@dataclass(frozen=True)
class Region:
    """Intervals of the line: lower end, whether it belongs, upper end, whether it belongs."""

    intervals: tuple[tuple[Value, bool, Value, bool], ...]

    def same(self, other: Reading) -> bool:
        if isinstance(other, Items):
            found = as_region(other)
            return found is not None and self.same(found)
        if not isinstance(other, Region) or len(self.intervals) != len(other.intervals):
            return False
        ordered = (sorted(region.intervals, key=lambda interval: interval[0].order) for region in (self, other))
        pairs = zip(*ordered, strict=True)
        return all(a[0].same(b[0]) and a[2].same(b[2]) and (a[1], a[3]) == (b[1], b[3]) for a, b in pairs)

    def within(self, other: Region) -> Region:
        """What two intervals share."""
        (a, b) = (self.intervals[0], other.intervals[0])
        low, high = max((a, b), key=lambda i: i[0].order), min((a, b), key=lambda i: i[2].order)
        return Region(((low[0], low[1], high[2], high[3]),))


@dataclass(frozen=True)
class Equation:
    """`left = right` or another relation; `difference` is left - right, where both are formulas."""

    operator: str
    left: str
    right: Reading
    difference: Value | None

    def same(self, other: Reading) -> bool:
        if isinstance(other, Equation):
            if self.operator != other.operator:
                return False
            names = [_NAME.fullmatch(left) for left in (self.left, other.left)]
            is_same = self.left == other.left or all(left == "y" or "(" in left for left in (self.left, other.left))
            return (is_same and agree(self.right, other.right)) or (
                (self.left == other.left or not all(names)) and self._is_multiple(other)
            )
        if self.operator not in ("=", r"\approx"):
            return False
        is_asked = _NAME.fullmatch(self.left) or bool(WORD.search(self.left)) or is_number(other)
        return bool(is_asked) and agree(self.right, other)

    def _is_multiple(self, other: Equation) -> bool:
        """Whether one is the other times a constant, positive where the relation is no equality."""
        a, b = self.difference, other.difference
        factor = a.factor_of(b) if a and b else None
        return factor is not None and (factor > 0 or self.operator in ("=", r"\ne"))


@dataclass(frozen=True)
class Words:
    """Words without articles and punctuation; synonyms are one."""

    words: str
    may_be_formula: bool = False
    """Whether there are signs of mathematics in them: then it was not read, and another reader may."""

    def same(self, other: Reading) -> bool:
        return isinstance(other, Words) and self.words == other.words and bool(self.words)


@dataclass(frozen=True)
class Chain:
    """Sides of an equality that holds: each of them is what is said."""

    sides: tuple[Reading, ...]

    def same(self, other: Reading) -> bool:
        return any(agree(side, other) for side in self.sides)


Reading: TypeAlias = Quantity | Items | Region | Equation | Words | Chain
"""One meaning of a text."""
NOTHING = Chain(())
"""A chain of equalities that does not hold, or a number beyond all bounds: it is the same as nothing."""


def is_number(reading: Reading) -> bool:
    return isinstance(reading, Quantity) and reading.value.is_constant


def agree(a: Reading, b: Reading) -> bool:
    """Whether two readings say the same; each kind knows which others it can be."""
    return a.same(b) or b.same(a)


def is_read(reading: Reading) -> bool:
    """Whether no part of a text is a formula that was not read."""
    if isinstance(reading, Items):
        return all(is_read(part) for part in reading.parts)
    if isinstance(reading, Equation):
        return reading.difference is not None or is_read(reading.right)
    return not (isinstance(reading, Words) and reading.may_be_formula)


def as_region(reading: Reading) -> Region | None:
    """A pair between brackets as an interval, where it can be one."""
    if isinstance(reading, Region):
        return reading
    if not isinstance(reading, Items) or len(reading.parts) != 2 or reading.kind not in ("()", "[]", "(]", "[)"):
        return None
    low, high = (part.value if isinstance(part, Quantity) else None for part in reading.parts)
    if low is None or high is None or not (low.is_constant and high.is_constant):
        return None
    return Region(((low, reading.kind[0] == "[", high, reading.kind[1] == "]"),))
