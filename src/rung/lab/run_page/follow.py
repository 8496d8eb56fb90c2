"""What grows in a run's folder, told once: whoever follows says how far they are and gets what came since.

A resumed run takes rows back. Then a new epoch begins, and whoever followed the old one gets its rows from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MOST_AT_ONCE = 1000
"""Rows in one answer; whoever follows asks again at once while there are more."""


class Follow:
    """Rows that grow, and the epoch they belong to.

    >>> rows = Follow()
    >>> rows.extend(["a", "b"])
    >>> rows.since(0, 1)
    {'epoch': 0, 'from': 1, 'rows': ['b'], 'more': False}
    >>> rows.restart()
    >>> rows.since(0, 2)
    {'epoch': 1, 'from': 0, 'rows': [], 'more': False}
    """

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.epoch = 0

    def extend(self, rows: Sequence[Any]) -> None:
        """Adds rows."""
        self.rows += rows

    def restart(self) -> None:
        """Begins a new epoch without rows: a resume took the old ones back."""
        self.rows, self.epoch = [], self.epoch + 1

    def since(self, epoch: int, begin: int) -> dict[str, Any]:
        """What came after the first `begin` rows of that epoch; everything when the epoch is over."""
        start = min(begin, len(self.rows)) if epoch == self.epoch else 0
        rows = self.rows[start : start + MOST_AT_ONCE]
        return {"epoch": self.epoch, "from": start, "rows": rows, "more": start + len(rows) < len(self.rows)}
