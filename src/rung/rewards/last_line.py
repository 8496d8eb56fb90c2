"""The last line of a traceback, fit for a terminal."""

from __future__ import annotations

import traceback

_LONGEST = 1000


def last_line(error: BaseException) -> str:
    """What was raised and where, on one line; control characters are escaped, for it may quote a model's text.

    >>> last_line(ValueError("no\\x1b[31mred"))
    'ValueError: no\\\\x1b[31mred'
    """
    text = "".join(traceback.format_exception_only(error)).strip()
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} (at {frames[-1].filename}:{frames[-1].lineno})" if frames else text
