"""Judge samples one after another in a child, each under a deadline, the whole in bounded time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rung.errors import SettingsError
from rung.rewards.child import SETTINGS, Child, ChildError
from rung.rewards.reward import DIED, TIMEOUT, Failure, Score

_SHARE_OF_TIMEOUTS = 0.1


def judged_one_by_one(child: Child, requests: Sequence[Any], deadline_s: float) -> list[Score]:
    """Ask for each request in turn; None as a request stands for a sample that needs no asking and gets None.

    A request that fails becomes a `Failure` of its sample alone. After a tenth of the batch (at least 2) has timed
    out or died, the rest is not tried: a step must end, and a judge stops the run at such a rate anyway.

    Raises:
        SettingsError: the job says that no sample can be judged.
    """
    most = max(2, math.ceil(_SHARE_OF_TIMEOUTS * len(requests)))
    scores: list[Score] = []
    slow = 0
    for request in requests:
        if request is None:
            scores.append(None)
            continue
        if slow > most:
            scores.append(Failure(TIMEOUT, f"not tried: {slow} samples of this batch had timed out or died"))
            continue
        try:
            scores.append(child.ask(request, deadline_s=deadline_s))
        except ChildError as error:
            if error.failure.status == SETTINGS:
                raise SettingsError(error.failure.detail.splitlines()) from None
            slow += error.failure.status in (TIMEOUT, DIED)
            scores.append(error.failure)
    return scores
