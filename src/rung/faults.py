"""Named points at which a test can break a run; inert unless `RUNG_FAULT` is set.

`RUNG_FAULT="checkpoint.rename:2:kill"` kills the process (SIGKILL) the second time it gets there;
`:enospc` raises the operating system's "no space left" instead, `:erofs` its "read-only"; `:term` sends SIGTERM.
`write.NAME` is the moment before a file of that name is written whole.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter

_reached: Counter[str] = Counter()


def fault_point(point: str) -> None:
    """Marks a point of the run. Does nothing unless RUNG_FAULT names it."""
    wanted = os.environ.get("RUNG_FAULT")
    if not wanted:
        return
    name, nth, action = wanted.rsplit(":", 2)
    if name != point:
        return
    _reached[point] += 1
    if _reached[point] != int(nth):
        return
    if (code := {"enospc": errno.ENOSPC, "erofs": errno.EROFS}.get(action)) is not None:
        raise OSError(code, os.strerror(code), point)
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}[action])
