"""Calling a reward's code: under a deadline, what it raised as one line, what it returned checked.

One finite number, None or Failure is expected for each completion. Nothing is broadcast and nothing is guessed: a
one-element list for 16 completions is an error, not 16 equal rewards.

The deadline of code in this process uses the alarm signal. So it works in the main thread only, and it cannot stop C
code that never returns to Python. Code that may do that belongs in a child (`rung/child.py`), which can be killed.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any, TypeVar

from rung.child import RAISED, TIMEOUT, WRONG_TYPE, Failure
from rung.errors import LeaveAtOnce, RewardError, last_line
from rung.rewards.reward import NOT_FINITE, WRONG_LENGTH, Score
from rung.waiting import TURN_S, turns

T = TypeVar("T")


def checked_scores(name: str, returned: Any, expected: int) -> list[Score]:
    """One score for each completion, as Python floats.

    Booleans, numpy scalars and tensors of one element become floats; lists, tuples and one-dimensional arrays are
    read in order.

    >>> checked_scores("f", [True, None, 0.5], 3)
    [1.0, None, 0.5]
    >>> checked_scores("f", [1.0], 16)
    RewardError: reward 'f': wrong length: returned 1 value for 16 completions

    Raises RewardError: a wrong length, a scalar, dict, generator or text instead of a list, a value that is not a
    number, a NaN or an infinity. It names the reward and the index.
    """
    if not isinstance(returned, (list, tuple)):
        kind, dimensions = type(returned).__name__, getattr(returned, "ndim", None)
        if dimensions != 1 or not hasattr(returned, "tolist"):
            what = f"one {kind}" if dimensions is None else f"one {dimensions}-d {kind}"
            wanted = f"expected a list of {expected} numbers"
            if isinstance(returned, (bool, int, float)) or dimensions == 0:
                raise RewardError(name, WRONG_LENGTH, f"returned 1 value for {expected} completions ({what}); {wanted}")
            raise RewardError(name, WRONG_TYPE, f"returned {what} for {expected} completions; {wanted}")
        returned = returned.tolist()
    if len(returned) != expected:
        count = "1 value" if len(returned) == 1 else f"{len(returned)} values"
        raise RewardError(name, WRONG_LENGTH, f"returned {count} for {expected} completions")
    return [_as_score(name, value, index) for index, value in enumerate(returned)]


def _as_score(name: str, value: Any, index: int) -> Score:
    if value is None or isinstance(value, Failure):
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, (bool, int, float)):
        kind, text = type(value).__name__, repr(value)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise RewardError(name, WRONG_TYPE, f"value {index} is a {kind} ({shown}); expected a number or None")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RewardError(name, NOT_FINITE, f"value {index} is {number}; a reward must be a finite number or None")
    return number


class DeadlinePassed(BaseException):
    """Raised inside the guarded block. Not an Exception: an `except Exception` in user code must not swallow it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `DeadlinePassed` in the block once `seconds` have passed; outside the main thread there is no guard.

    The alarm rings in short turns, of which a process that is stopped misses all but one: that time does not count.
    Once the time is over every turn raises: user code may swallow the first in an `except:`. An alarm that was already
    running goes on afterwards with what it has left.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    turn = min(seconds, TURN_S)
    left = math.ceil(seconds / turn)

    def ring(signum: int, frame: FrameType | None) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise DeadlinePassed

    started = time.monotonic()
    handler_before = signal.signal(signal.SIGALRM, ring)
    left_before, interval_before = signal.setitimer(signal.ITIMER_REAL, turn, turn)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler_before or signal.SIG_DFL)
        if left_before:
            rest = max(left_before - (time.monotonic() - started), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, rest, interval_before)


def called_within(seconds: float | None, name: str, call: Callable[[], T]) -> T:
    """The call's result; whatever goes wrong in it is a `RewardError` of that reward's name. None: no deadline.

    Raises RewardError: it did not return in time, raised, or called `sys.exit`.
    """
    try:
        with deadline(seconds) if seconds is not None else nullcontext():
            return call()
    except (RewardError, LeaveAtOnce):
        raise
    except DeadlinePassed:
        raise RewardError(name, TIMEOUT, f"did not return within {seconds:g} s") from None
    except (Exception, SystemExit) as error:
        raise RewardError(name, RAISED, last_line(error)) from error


def called_in_thread(seconds: float, name: str, call: Callable[[], T]) -> T:
    """As `called_within`, from any thread, and also where C code never returns. What hangs is left in its thread.

    Raises RewardError: it did not return in time, raised, or called `sys.exit`.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(called_within(None, name, call))
        except BaseException as error:  # noqa: BLE001  it is raised again in the caller's thread
            future.set_exception(error)

    threading.Thread(target=run, name=f"reward {name}", daemon=True).start()
    for turn in turns(seconds):
        wait([future], turn)
        if future.done():
            return future.result()
    todo = "give the reward as FILE.py:FUNCTION, which runs in a child that is killed then"
    raise RewardError(name, TIMEOUT, f"did not return within {seconds:g} s and cannot be stopped here; {todo}")
