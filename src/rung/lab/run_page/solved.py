"""Which prompts were solved at which step: a share a prompt and step, read once from each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rung.batch import OK
from rung.errors import DataError
from rung.lab.run_page.follow import Follow
from rung.lab.run_page.step_shown import finite
from rung.lab.run_page.stored_samples import StoredSamples
from rung.runs.record.visible import visible

PARTS_AT_ONCE = 100
"""Parts read for one answer, so that the first answer of a long run comes soon."""


class Solved:
    """Rows `{"step": 3, "items": [["add-7", 0.25, 8], ...]}`: item, share solved, answers judged.

    The share is the mean accuracy, null where no answer had one. A part that is written anew, or is gone, begins a new
    epoch.
    """

    def __init__(self, stored: StoredSamples) -> None:
        self.stored = stored
        self.problem = ""
        self._found = Follow()
        self._seals: dict[int, object] = {}

    def since(self, epoch: int, begin: int) -> dict[str, Any]:
        """Reads parts that are new, then what came after the first `begin` rows of that epoch."""
        more = False
        try:
            more = self._look()
        except DataError as error:
            self.problem = visible(str(error), limit=300)
        answer = self._found.since(epoch, begin)
        return {**answer, "more": answer["more"] or more, "problem": self.problem}

    def _look(self) -> bool:
        """True when there are more parts than were read now."""
        steps = self.stored.steps()
        known = [step for step in self._seals if step in set(steps)]
        if len(known) < len(self._seals) or any(
            self.stored.seal(step) not in (self._seals[step], 0) for step in known[-50:]
        ):
            self._found.restart()
            self._seals, self.problem = {}, ""
        new = [step for step in steps if step not in self._seals]
        for step in new[:PARTS_AT_ONCE]:
            self._seals[step] = self.stored.seal(step)
            try:
                rows = self.stored.read(step, ("item", "status", "accuracy"))
            except DataError as error:  # the other steps are still worth seeing
                self.problem = visible(str(error), limit=300)
                continue
            self._found.extend([{"step": step, "items": solved_items(rows)}])
        return len(new) > PARTS_AT_ONCE


def solved_items(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Item, share solved, answers judged, in the order of the rows.

    >>> solved_items([{"item": "a", "status": "ok", "accuracy": x} for x in (1.0, 0.0)])
    [['a', 0.5, 2]]
    """
    found: dict[str, list[float | None]] = {}
    for row in rows:
        values = found.setdefault(visible(row["item"] or "", limit=200), [])
        if row["status"] == OK:
            values.append(finite(row["accuracy"]))
    scores = {item: [value for value in values if value is not None] for item, values in found.items()}
    return [[item, fmean(own) if own else None, len(found[item])] for item, own in scores.items()]
