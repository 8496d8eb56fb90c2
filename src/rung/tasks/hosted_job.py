"""The child's side of `hosted.py`: the environment or the tools of a user's files, for many episodes at once.

A request holds an episode's seed and all that was asked of it so far. Whatever this process has not done yet is done
again in order, so an episode goes on in a fresh process where the last one left it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import ArgsKwargs

from rung.errors import RewardError
from rung.rewards.user import loaded
from rung.tasks.own_environment import is_turn_environment
from rung.tasks.task import Item
from rung.tasks.tools import OwnTools, tools_of
from rung.tasks.turns import EVERY_ITEM, OwnEnvironment, described
from rung.worker import seed_from

NOT_REPEATABLE = "not repeatable"
"""An environment answered otherwise when it was asked the same again from the same seed."""


def hosted_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """Says what `described` does of an environment, or the tools' schemas; None where a class answers in no turns."""
    what = setup["what"]
    given: list[Any] = [loaded(Path(file), name, what) for file, name in setup["of"]]
    if what == "tools":
        tools = tools_of([one() if isinstance(one, type) else one for one in given])
        about: Any = {name: tool.schema() for name, tool in tools.items()}
        return _Episodes(partial(OwnTools, given, None)), about
    (make,) = given
    if not is_turn_environment(make):
        return lambda request: None, None
    options, name = setup["options"], setup["name"]
    about = described(name, make, options, setup["seed"])
    return _Episodes(partial(OwnEnvironment, partial(make, **options), name, None)), about


class _Episodes:
    """Answers `{"key", "seed", "log", "ended"}`: `log` is what was asked of the episode, the newest last."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self.begin = begin
        self.live: dict[int, tuple[Any, int]] = {}

    def __call__(self, request: Mapping[str, Any]) -> Any:
        for key in request["ended"]:
            self.live.pop(key, None)
        key, log = request["key"], request["log"]
        episode, done = self.live.pop(key, (None, 0))
        if episode is None or done >= len(log):
            episode, done = self.begin(), 0
        answer: Any = None
        for place in range(done, len(log)):
            ask, again, digest = log[place]
            if place < len(log) - 1 and not again:
                continue
            seed_from(json.dumps([request["seed"], place, ask]).encode())
            answer = _asked(episode, ask)
            if digest is not None and digest_of(answer) != digest:
                what = f"answer {place + 1} is another one than before; draw from `seed` alone"
                raise RewardError("environment", NOT_REPEATABLE, what)
        self.live[key] = (episode, len(log))
        return answer


def _asked(episode: Any, ask: Sequence[Any]) -> Any:
    what, *given = ask
    if what == "reset":
        start, seed = given
        return episode.reset(Item(id="", prompt="", columns={EVERY_ITEM: start}), seed)
    if what == "step":
        return asdict(episode.step(*given))
    name, arguments = given
    return episode.call(
        name, arguments if isinstance(arguments, str) else ArgsKwargs(tuple(arguments[0]), arguments[1])
    )


def digest_of(answer: Any) -> str:
    """What is kept of an answer, to compare a second one with."""
    return hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()[:16]
