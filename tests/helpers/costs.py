"""The operations of a method for a policy, of whatever kind they are."""

from __future__ import annotations

from typing import Any

from rung.trainers.choose import kind_of
from rung.trainers.work import Work


def work_of(method: Any, policy: Any) -> Work:
    """`Kind.work` of the kind that such a policy is trained by."""
    environment = type(policy).__name__ in ("SmallPolicy", "QNetwork")
    return kind_of(method, environment=environment).work(method, policy)
