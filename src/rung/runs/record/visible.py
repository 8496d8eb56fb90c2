"""Hostile text made harmless to look at.

A completion may hold terminal escapes, marks that turn the writing direction, NUL, or half a surrogate pair.
Shown as it is, it could recolour a terminal, hide words or crash an encoder. Here every such character becomes a
visible escape (`\\x1b`, `\\u202e`); what is stored in samples.parquet keeps the token ids, so nothing is lost.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are never shown as they are: controls, formats (bidi, zero width), surrogates, private,
unassigned, line and paragraph separators."""
_JOINERS = re.compile("([\u200c\u200d])")
"""They shape Persian, Indic scripts and emoji, and cannot reorder or hide anything."""


def visible(text: str, *, limit: int | None = None, keep_newlines: bool = False) -> str:
    """The text with every invisible or active character written as an escape, at most `limit` characters of it.

    >>> visible("a\\x1b[31mb\\n"), visible("abcdef", limit=3)
    ('a\\\\x1b[31mb\\\\n', 'abc… (3 more)')
    """
    kept = text if limit is None else text[:limit]
    if not (kept.isascii() and kept.isprintable()):
        kept = "".join(_shown(mark, keep_newlines) for mark in kept)
    rest = len(text) - limit if limit is not None else 0
    return f"{kept}… ({rest:,} more)" if rest > 0 else kept


def shown_text(text: str) -> str:
    """The text with control characters and marks that turn the writing direction as visible escapes.

    >>> shown_text("one\\r\\ntwo \\u202ethree\\x1b[31m")
    'one\\ntwo \\\\u202ethree\\\\x1b[31m'
    """
    parts = _JOINERS.split(text.replace("\r\n", "\n"))
    return "".join(part if _JOINERS.match(part) else visible(part, keep_newlines=True) for part in parts)


def encodable(text: str, encoding: str = "utf-8") -> str:
    """The text with an escape for every character that the encoding lacks; UTF-8 lacks half surrogate pairs alone.

    >>> encodable("ok \\ud800")
    'ok \\\\ud800'
    """
    return text.encode(encoding, "backslashreplace").decode(encoding)


def finite(value: Any) -> Any:
    """The value with None for every number in it that is not finite, which JSON does not know.

    >>> finite({"loss": float("nan"), "kl": [0.5]})
    {'loss': None, 'kl': [0.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(mark: str, keep_newlines: bool) -> str:
    if keep_newlines and mark in "\n\t":
        return "\n" if mark == "\n" else "    "
    if unicodedata.category(mark) not in _HIDDEN:
        return mark
    return mark.encode("unicode_escape").decode("ascii")
