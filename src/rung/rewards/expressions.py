r"""Formulas as values: read by a small grammar of LaTeX and ASCII, worked out in 120 digits. No eval, no sympy.

A formula with variables is worked out at a few fixed points: two formulas are the same when they agree at all of them.
Closeness is relative, so that e^{-50} is not e^{-60}. What grows beyond 2^{131072}, nests deeper than 80 or takes more
than 600 operations is not worked out: every reading ends soon, whatever the text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath

_DIGITS, _SAME_DIGITS = 120, 90
_mp: Any = mpmath.MPContext()
_mp.dps = _DIGITS
"""Of our own: the precision that others set, in whatever thread, is not touched and does not touch us."""
_MOST_BITS, _DEEPEST, _MOST_OPERATIONS = 2**17, 80, 600
_POINTS = 3
_ROUNDED_DIGITS = 6
"""A decimal with so many places is the irrational number that it is the rounding of."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.\d*\(\d+\)|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,6}(?![\d.]))?)"
    r"|\\(?P<command>[a-zA-Z]+)|(?P<word>[a-zA-Z]+)|(?P<sign>\\[{}|]|\S))"
)
_SIDE = r"\s*(?:\{\s*\d+\s*\}|\d)"
_MIXED = re.compile(rf"(?<![\d.])(?<!frac)(\d+)( +\d+/\d+|\s*\\frac{_SIDE}{_SIDE})(?![\d.])")
r"""A whole number and a fraction: `1 1/4`, `2\frac{1}{2}`."""
_BY_NAME = "sin cos tan cot sec csc sinh cosh tanh exp floor ceil asin acos atan log sqrt cbrt abs"
_FUNCTIONS: Mapping[str, str] = {
    **{name: name for name in _BY_NAME.split()},
    **{"arcsin": "asin", "arccos": "acos", "arctan": "atan", "ln": "log", "Re": "re", "Im": "im"},
}
_CONSTANTS: Mapping[str, Any] = {
    **{"pi": +_mp.pi, "e": +_mp.e, "i": _mp.mpc(0, 1)},
    **dict.fromkeys(("infty", "infinity", "inf", "oo"), _mp.inf),
}
_GREEK = frozenset(
    ["alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "omega", "phi", "sigma", "rho", "tau", "epsilon"]
)
MATH_WORDS = frozenset({*_FUNCTIONS, *_CONSTANTS, *_GREEK, "frac", "binom"})
"""Words of formulas; any other of two letters or more is a word of the language."""


class Unread(Exception):
    """The text is no formula of this grammar."""


class TooLarge(Exception):
    """The formula is one, but its value is beyond what is worked out."""


@dataclass(frozen=True)
class Value:
    """What a formula is worth at each point (one point where it has no variable); None where it is not defined."""

    at: tuple[Any, ...]
    symbols: frozenset[str]
    places: int | None = None
    """Decimal places, where the formula is a decimal and nothing else."""

    @property
    def is_constant(self) -> bool:
        return not self.symbols

    def same(self, other: Value) -> bool:
        """Equal at every point where both are defined, and there is one; a decimal of six places may be a rounding."""
        if self.symbols != other.symbols and (self.is_constant or other.is_constant):
            short, long = (self, other) if self.is_constant else (other, self)
            return all(_close(short.at[0], value) for value in long.at)
        pairs = list(zip(self.at, other.at, strict=True))
        agree = all(_close(a, b) for a, b in pairs) or _rounds(self, other) or _rounds(other, self)
        return agree and any(a is not None for a, _ in pairs)

    def times(self, factor: Fraction | int) -> Value:
        """The value times a fraction; it is no plain decimal any more."""
        if factor == 1:
            return self
        ratio = _mp.mpf(factor.numerator) / factor.denominator
        return Value(tuple(None if v is None else v * ratio for v in self.at), self.symbols)

    def factor_of(self, other: Value) -> float | None:
        """c where this is c times the other at every point, as 1 or -1; None where it is no multiple."""
        if self.symbols != other.symbols or not all((*self.at, *other.at)):
            return None
        ratios = [a / b for a, b in zip(self.at, other.at, strict=True)]
        return float(_mp.sign(_mp.re(ratios[0]))) if all(_close(ratio, ratios[0]) for ratio in ratios) else None

    @property
    def order(self) -> Any:
        """Where a constant stands on the line."""
        return _mp.re(self.at[0])


def _close(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    if _mp.isinf(a) or _mp.isinf(b):
        return bool(a == b)
    return bool(abs(a - b) <= _mp.mpf(10) ** -_SAME_DIGITS * max(abs(a), abs(b)))


def _rounds(decimal: Value, exact: Value) -> bool:
    """Whether a decimal of six places or more is the rounding of an irrational number."""
    places = decimal.places or 0
    if places < _ROUNDED_DIGITS or exact.places is not None or not exact.is_constant or exact.at[0] is None:
        return False
    if _mp.isinf(exact.at[0]) or _is_ratio(exact.at[0]):
        return False
    return bool(abs(decimal.at[0] - exact.at[0]) <= _mp.mpf(10) ** -places / 2)


def _is_ratio(value: Any) -> bool:
    """Whether a value is a fraction with a denominator of at most thirty digits: its continued fraction ends."""
    for _ in range(60):
        part = value - _mp.floor(value)
        if part < _mp.mpf(10) ** -60:
            return True
        value = 1 / part
    return False


def worked_out(text: str, sign: int = 1) -> Value:
    r"""The value of a text in one spelling; `sign` is what `\pm` means this time.

    >>> worked_out(r"\sqrt{12}").same(worked_out(r"2\sqrt{3}")), worked_out("e^{-50}").same(worked_out("e^{-60}"))
    (True, False)

    Raises:
        Unread: it is no formula.
        TooLarge: its value is out of bounds.
    """
    tokens = _tokens(_MIXED.sub(r"(\1+\2)", text.strip()))
    first = _Reader(tokens, 0, sign)
    values = [first.whole()]
    if first.symbols:
        values += [_Reader(tokens, k, sign).whole() for k in range(1, _POINTS)]
    places = re.fullmatch(r"[-+]?\d*\.(\d+)", text.strip())
    return Value(tuple(values), frozenset(first.symbols), len(places[1]) if places else None)


def _tokens(text: str) -> list[tuple[str, str]]:
    """Kinds and texts. A word that is no function is a product of letters, if it is short: `ab`; `xsin` is not read."""
    out: list[tuple[str, str]] = []
    for found in _TOKEN.finditer(text):
        kind = str(found.lastgroup)
        word = found[kind]
        if kind != "word" or word in MATH_WORDS:
            out.append(("word" if kind == "command" else kind, word))
        elif len(word) > 3:
            raise Unread(word)
        else:
            out += [(kind, letter) for letter in word]
    return [*out, ("end", "")]


class _Reader:
    """Recursive descent over the tokens, working out as it goes, with the variables' values of point `k`."""

    def __init__(self, tokens: list[tuple[str, str]], k: int, sign: int) -> None:
        self.tokens, self.k = list(tokens), k
        self.signs = {"+": 1, "-": -1, "pm": sign}
        self.place = self.depth = self.operations = 0
        self.symbols: set[str] = set()

    def whole(self) -> Any:
        """The value, None where it is not defined (a division by zero)."""
        try:
            value = self.sum()
        except (ZeroDivisionError, ValueError, OverflowError):
            return None
        kind, text = self.tokens[self.place]
        if kind != "end":
            raise Unread(text)
        return value

    def here(self, *texts: str) -> bool:
        return self.tokens[self.place][1] in texts

    def taken(self, *texts: str) -> str | None:
        if not self.here(*texts):
            return None
        self.place += 1
        return self.tokens[self.place - 1][1]

    def group(self, closing: str) -> Any:
        """A sum and the bracket after it."""
        value = self.sum()
        if not self.taken(closing):
            raise Unread(f"no {closing}")
        return value

    def sum(self) -> Any:
        total = self.product()
        while sign := self.taken(*self.signs):
            term = self.signs[sign] * self.product()
            c = total + term
            # What is left of two equal numbers is noise of the last digits: it is zero.
            small = not _mp.isinf(c) and abs(c) < _mp.mpf(10) ** (5 - _DIGITS) * max(abs(total), abs(term))
            total = self.bounded(_mp.mpf(0) if small else c)
        return total

    def product(self, *stops: str) -> Any:
        """Factors; with `stops` those without a sign between, up to one of these."""
        value = self.signed()
        while (mark := None if stops else self.taken("*", "/")) or self.starts_factor(*stops):
            factor = self.signed() if mark else self.power()
            value = self.bounded(value / factor if mark == "/" else value * factor)
        return value

    def starts_factor(self, *stops: str) -> bool:
        kind, text = self.tokens[self.place]
        if text in stops:
            return False
        if kind == "number":  # `2 3` is no product, `x2` is none either; `)2` and `\pi 2` are
            before = self.tokens[self.place - 1]
            return before[0] != "number" and before[1] != "}"
        return (kind == "word" and text not in ("pm", "circ")) or (kind == "sign" and text in ("(", "[", "{"))

    def signed(self) -> Any:
        sign = 1
        while found := self.taken(*self.signs):
            sign *= self.signs[found]
        return sign * self.power()

    def power(self) -> Any:
        value = self.postfix(self.atom())
        if self.taken("^"):
            exponent = self.argument()
            if self.here("^"):
                raise TooLarge("a tower of powers")
            value = self.postfix(self.raised(value, exponent))
        return value

    def postfix(self, value: Any) -> Any:
        while self.taken("!"):
            if _mp.im(value) or not abs(value) <= 20_000:
                raise TooLarge("factorial")
            value = self.bounded(_mp.factorial(value))
        return value

    def raised(self, base: Any, exponent: Any) -> Any:
        if _mp.isinf(base) or _mp.isinf(exponent):
            raise Unread("infinity's power")
        if base == 0:
            return _mp.power(base, exponent)
        if abs(exponent) * abs(_mp.log(abs(base), 2)) > _MOST_BITS:
            raise TooLarge("power")
        return self.bounded(_mp.power(base, exponent))

    def argument(self) -> Any:
        """What stands after `^`, `_` or a command: a group, or one token, of a number its first digit."""
        if self.here("{", "("):
            return self.atom()
        kind, text = self.tokens[self.place]
        if kind == "number" and text.isdigit() and self.tokens[self.place - 1][1] != "^":
            self.tokens[self.place : self.place + 1] = [(kind, digit) for digit in text]
        return self.signed() if self.here("-", "+") else self.postfix(self.atom())

    def atom(self) -> Any:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise TooLarge("depth")
        value = self.one()
        self.depth -= 1
        return value

    def one(self) -> Any:
        """A number, a letter, a function with its argument, or what stands in brackets."""
        kind, text = self.tokens[self.place]
        self.place += 1
        if kind == "number":
            whole, opening, repeated = text.rstrip(")").partition("(")
            value = _mp.mpf(whole)
            if opening:
                places = len(whole.partition(".")[2])
                value += _mp.mpf(int(repeated)) / (10 ** len(repeated) - 1) / _mp.mpf(10) ** places
            return self.bounded(value)
        if kind == "word":
            return self.named(text)
        closing = {"(": ")", "[": "]", "{": "}", "|": "|"}.get(text)
        if closing is None:
            raise Unread(text)
        value = self.group(closing)
        return abs(value) if text == "|" else value

    def fraction(self) -> Any:
        above = self.argument()
        return self.bounded(above / self.argument())

    def named(self, name: str) -> Any:
        if name == "frac":
            return self.fraction()
        if name == "binom":
            n, k = self.argument(), self.argument()
            if not (abs(n) <= 20_000 and abs(k) <= 20_000):
                raise TooLarge("binomial")
            return self.bounded(_mp.binomial(n, k))
        if name in _FUNCTIONS:
            return self.function(_FUNCTIONS[name])
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if len(name) > 1 and name not in _GREEK:
            raise Unread(name)
        if self.taken("_"):
            start = self.place
            self.argument()
            name += "_" + "".join(text for _, text in self.tokens[start : self.place] if text not in "{}")
        self.symbols.add(name)
        # between 0.5 and 2.5, at the first point positive, then of either sign
        digest = hashlib.blake2b(f"{name}/{self.k}".encode(), digest_size=8).digest()
        size = _mp.mpf(int.from_bytes(digest, "little")) / 2**63 + _mp.mpf(1) / 2
        return -size if self.k and digest[0] % 2 == self.k % 2 else size

    def function(self, name: str) -> Any:
        degree = self.group("]") if name == "sqrt" and self.taken("[") else None
        base = self.argument() if self.taken("_") else None
        exponent = self.argument() if self.taken("^") else None
        bare = name != "sqrt" and not self.here("{", "(", "|")  # then it takes factors that are no functions
        inner = self.product(*_FUNCTIONS, "(") if bare else self.argument()
        value = self.applied(name, inner, base, degree)
        if exponent == -1 and name in ("sin", "cos", "tan"):
            return self.bounded(getattr(_mp, f"a{name}")(inner))
        return value if exponent is None else self.raised(value, exponent)

    def applied(self, name: str, inner: Any, base: Any, degree: Any) -> Any:
        if name in ("exp", "sinh", "cosh", "tanh") and abs(inner) > _MOST_BITS / 2:
            raise TooLarge(name)
        if name == "abs":
            return abs(inner)
        if name in ("sqrt", "cbrt"):
            n = _mp.mpf(3) if name == "cbrt" else _mp.mpf(2) if degree is None else degree
            if _mp.im(inner) == 0 and _mp.re(inner) < 0 and n % 2 == 1:
                return -self.raised(-inner, 1 / n)
            return self.raised(inner, 1 / n)
        if name == "log" and base is not None:
            return self.bounded(_mp.log(inner) / _mp.log(base))
        return self.bounded(getattr(_mp, name)(inner))

    def bounded(self, value: Any) -> Any:
        self.operations += 1
        size = abs(value)
        out = size and not _mp.isinf(size) and abs(_mp.mag(size)) > _MOST_BITS
        if out or self.operations > _MOST_OPERATIONS:
            raise TooLarge("value")
        if _mp.isnan(size):
            raise ValueError("not defined")
        return value
