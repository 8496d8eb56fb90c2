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

MCP = "mcp"
MOST_SERVERS = 32
"""Episodes in a process with a server of their own; the one that was asked longest ago goes, to be played again."""
NOT_REPEATABLE = "not repeatable"
"""An environment answered otherwise when it was asked the same again from the same seed."""


def hosted_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """Says what `described` does of an environment, or the tools' schemas; None where a class answers in no turns."""
    what = setup["what"]
    if what == MCP:
        from rung.tasks.mcp import McpTools, Server

        first = Server(setup["target"])
        shared = [first] if first.only_reads else None
        if shared is None:
            first.close()
        most = MOST_SERVERS if shared is None else None
        return _Episodes(partial(McpTools, setup["target"], first.schemas, shared), most), first.schemas
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

    def __init__(self, begin: Callable[[], Any], most: int | None = None) -> None:
        self.begin, self.most = begin, most
        self.live: dict[int, tuple[Any, int]] = {}

    def __call__(self, request: Mapping[str, Any]) -> Any:
        for key in request["ended"]:
            self.forget(key)
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
        if self.most is not None and len(self.live) > self.most:
            self.forget(next(iter(self.live)))
        return answer

    def forget(self, key: int) -> None:
        """An episode that is over, or that will be asked all of it again."""
        episode, _ = self.live.pop(key, (None, 0))
        if hasattr(episode, "close"):
            episode.close()


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
