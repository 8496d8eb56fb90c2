"""A deadline for code that runs in this process.

It uses the alarm signal, so it works in the main thread only, and it cannot stop C code that never returns to
Python. Code that may do that belongs in a child (`child.py`), which can be killed.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TypeVar

from rung.errors import RewardError
from rung.rewards.last_line import last_line
from rung.rewards.reward import RAISED, TIMEOUT

T = TypeVar("T")

_AGAIN_S = 0.2
"""The alarm rings again after this long: user code may swallow the first one in an `except:`."""


class DeadlinePassed(BaseException):
    """Raised inside the guarded block. Not an Exception: an `except Exception` in user code must not swallow it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `DeadlinePassed` in the block once `seconds` have passed; outside the main thread there is no guard.

    An alarm that was already running goes on afterwards with what it has left.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(signum: int, frame: FrameType | None) -> None:
        raise DeadlinePassed

    started = time.monotonic()
    handler_before = signal.signal(signal.SIGALRM, ring)
    left_before, interval_before = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler_before or signal.SIG_DFL)
        if left_before:
            left = max(left_before - (time.monotonic() - started), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, left, interval_before)


def called_within(seconds: float | None, name: str, call: Callable[[], T]) -> T:
    """The call's result; whatever goes wrong in it is a `RewardError` of that reward's name. None: no deadline.

    Raises:
        RewardError: it did not return in time, raised, or called `sys.exit`.
    """
    try:
        with deadline(seconds) if seconds is not None else nullcontext():
            return call()
    except RewardError:
        raise
    except DeadlinePassed:
        raise RewardError(name, TIMEOUT, f"did not return within {seconds:g} s") from None
    except (Exception, SystemExit) as error:
        raise RewardError(name, RAISED, last_line(error)) from error
