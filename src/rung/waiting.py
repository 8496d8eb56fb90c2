"""Waiting with a deadline that counts only time in which this process ran: not while it was stopped or suspended."""

from __future__ import annotations

import time
from collections.abc import Iterator

TURN_S = 0.25
"""Longest single wait. One that took much longer was an interruption, and counts as two of them."""


def turns(seconds: float) -> Iterator[float]:
    """How long to wait now, again and again until `seconds` are over; 0 at last, for an answer that lies there.

    >>> list(turns(0))
    [0.0]
    """
    while seconds > 0:
        began = time.monotonic()
        yield min(seconds, TURN_S)
        seconds -= min(time.monotonic() - began, 2 * TURN_S)
    yield 0.0
