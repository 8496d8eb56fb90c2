"""A turn's call, answered by an episode's tools."""

from __future__ import annotations

from typing import Any

from rung.tasks.tools import answered
from rung.tasks.turns import Step


def called(episode: Any, reply: str) -> Step:
    found = answered(dict.fromkeys(episode.schemas, episode), reply)
    assert found is not None
    return found
