"""Signals: the first finishes the step, saves and leaves with exit code 75; the second leaves at once."""

from __future__ import annotations

import signal
from types import FrameType

from rung.errors import LeaveAtOnce

STOPPED_BY_SIGNAL = 75
"""Exit code of a run that was stopped by a signal with its state saved (EX_TEMPFAIL: try again later)."""


class StopRequest:
    """While active, the first SIGTERM, SIGUSR1 or SIGINT sets `asked`; the second ends the process at once."""

    _signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self) -> None:
        self.asked: str | None = None

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._handle) for number in self._signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise LeaveAtOnce(128 + number)
        self.asked = signal.Signals(number).name
