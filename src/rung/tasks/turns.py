"""Tasks in turns: the policy says something, an environment answers, until it says that it is done.

    class Guess:
        def reset(self, item, seed):             # what the policy reads first: text, or messages
            self.secret = seed % 15 + 1
            return "1-15:"

        def step(self, reply):                   # reply: what the policy wrote in this turn
            right = int(reply) == self.secret
            return Step("higher\\n", reward=float(right), done=right)

Such a class is a task: `task=Guess`. The samples of one item begin with the same seed, so their start is the same; what
an environment draws later must come from that seed too, and then a run can be resumed exactly.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from rung.errors import EnvironmentFailure, RewardError, SettingsError
from rung.random import keyed_hash
from rung.rewards.reward import Columns, Prompt, Score, WeightedReward
from rung.rewards.values import called_within
from rung.tasks.task import Example, Item, Lazy, TextTask

ITEMS, HELD_OUT = 20_000, 200
"""Of an environment that lists none: its items are then whole numbers."""
DEADLINE_S = 10.0
"""Of one answer of an environment or a tool."""
EVERY_ITEM = "item"
"""The column in which an item's start state stands."""


@dataclass(frozen=True)
class Step:
    """What an environment answers to one turn.

    Example: `Step("higher\\n")`, and at the end `Step(reward=1.0, done=True)`.
    """

    text: str = ""
    """Read by the policy before its next turn; it is no part of what is learnt."""
    reward: float = 0.0
    """Of this turn; the episode's return is their sum."""
    done: bool = False
    success: float | None = None
    """Whether the task is solved, 0 to 1, apart from the reward; None: nothing is said, and the return counts."""
    calls: tuple[str, ...] = ()
    """Statuses of the tool calls in this turn."""
    state: str = ""
    """Where the environment stands now, as `state()` says; equal states are compared by some methods (StateGroups)."""
    results: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    """(tool, what it answered) for each call, where the text is made of them."""


class TurnEnvironment(Protocol):
    """An environment that answers in text. It is made anew for each episode.

    Beside these it may have `items(seed)`, the start states as a list of JSON-like values, `examples(seed)`, worked
    examples as pairs (prompt, completion), `stop`, texts that end a turn, `state()`, which tells where it
    stands, and `close()`, for what it holds.
    """

    def reset(self, item: Any, seed: int) -> Prompt:
        """Begin at an item's start state; what the policy reads first."""
        ...

    def step(self, reply: str) -> Step:
        """The answer to what the policy wrote."""
        ...


class OwnEnvironment:
    """An environment as a task plays it: made anew at a whole item, each answer within a deadline.

    Whatever goes wrong is a RewardError with a status. In this process only code that returns to Python is stopped.
    """

    def __init__(self, make: Callable[[], TurnEnvironment], name: str, deadline_s: float | None) -> None:
        self.make, self.name, self.deadline_s = make, name, deadline_s
        self.environment: Any = None

    def reset(self, item: Item, seed: int) -> Prompt:
        return called_within(self.deadline_s, self.name, lambda: self.begun(item.columns[EVERY_ITEM], seed))

    def begun(self, start: Any, seed: int) -> Prompt:
        """What the policy reads first of a start state. ValueError where it is neither a text nor messages."""
        self.environment = self.make()
        return first_read(self.environment.reset(start, seed))

    def step(self, reply: str) -> Step:
        def answered() -> Step:
            given, state = checked_step(self.environment.step(reply)), getattr(self.environment, "state", None)
            return replace(given, state=str(state())) if callable(state) and not given.done else given

        return called_within(self.deadline_s, self.name, answered)

    def close(self) -> None:
        """Frees what the environment holds, where it says how; nobody is there to be told that it fails."""
        if hasattr(self.environment, "close"):
            with suppress(Exception):
                self.environment.close()


def first_read(begins: Any) -> Prompt:
    """What a reset gave, as a prompt. ValueError where it is neither a text nor messages."""
    if isinstance(begins, list | tuple):
        return tuple(dict(message) for message in begins)
    if not isinstance(begins, str) or not begins:
        raise ValueError(f"reset gave {begins!r:.80}, expected a text of at least one character, or messages")
    return begins


def checked_step(given: Any) -> Step:
    """A step as it was given. ValueError, saying what is wrong, where it is none."""
    if not isinstance(given, Step):
        raise ValueError(f"step gave a {type(given).__name__} ({given!r:.60}), expected a rung.Step")
    if not isinstance(given.text, str):
        raise ValueError(f"Step.text: got a {type(given.text).__name__}, expected a text")
    for name in ("reward", "success"):
        value: Any = getattr(given, name)
        if not (name == "success" and value is None) and not _is_number(value):
            raise ValueError(f"Step.{name}: got {value!r:.60}, expected a finite number")
    given.text.encode("utf-8")
    return given


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and math.isfinite(value)


@dataclass(frozen=True)
class Success:
    """What the environment said of success; the return where it said nothing."""

    name: str = "success"

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        said = zip(columns["success"], columns["episode_return"], strict=True)
        return [total if success is None else success for success, total in said]


@dataclass(frozen=True)
class Return:
    """The sum of the rewards that the environment gave in an episode."""

    name: str = "return"

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        return list(columns["episode_return"])


ITS_OWN = (WeightedReward(reward=Success(), weight=0.0), WeightedReward(reward=Return()))
"""The rewards of an environment: success is the accuracy, the return is learnt from."""


def described(name: str, make: Callable[..., Any], options: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What an environment's class says of itself. SettingsError: it takes no such option, or cannot be made."""
    try:
        inspect.signature(make).bind(**options)
        first = make(**options)
        return {
            "items": [*first.items(seed)] if hasattr(first, "items") else None,
            "examples": [*first.examples(seed)] if hasattr(first, "examples") else [],
            "stop": getattr(first, "stop", None),
        }
    except (Exception, SystemExit) as error:
        raise SettingsError([f"task: {name}: {type(error).__name__}: {error}"]) from error


def turn_task(name: str, make: Callable[..., Any], *, seed: int = 0, **options: Any) -> TextTask:
    """An environment's class as a task, played in this process. The options are its constructor's.

    Raises SettingsError: it takes no such option, cannot be made, or cannot begin.
    """

    def plays(deadline_s: float | None = DEADLINE_S) -> OwnEnvironment:
        return OwnEnvironment(partial(make, **options), name, deadline_s)

    return task_of(name, described(name, make, options, seed), plays, seed)


def task_of(name: str, about: Mapping[str, Any], plays: Callable[..., Any], seed: int) -> TextTask:
    """The task of an environment that said this of itself."""
    listed = about["items"]
    train: Sequence[Any] = range(ITEMS)
    held_out: Sequence[Any] = range(ITEMS, ITEMS + HELD_OUT)
    if listed is not None:
        every = len(listed)
        held_out = [one for i, one in enumerate(listed) if every > 1 and i % 5 == 4] or listed
        train = [one for i, one in enumerate(listed) if every < 5 or i % 5 != 4]

    def item(side: str, index: int, start: Any) -> Item:
        bare = Item(id=f"{side}-{index}", prompt="", columns={EVERY_ITEM: start})
        try:
            return replace(bare, prompt=plays().reset(bare, keyed_hash("shown", seed, bare.id) >> 97))
        except RewardError as error:
            what = f"reset of item {bare.id}: {error.status}: {error.detail}"
            raise EnvironmentFailure(f"environment '{name}': {what}") from error

    stop = about["stop"]
    if stop is None:
        stop = ("\n",) if isinstance(item("train", 0, train[0]).prompt, str) else ()
    return TextTask(
        name=name,
        train=Lazy(len(train), lambda i: item("train", i, train[i])),
        held_out=Lazy(len(held_out), lambda i: item("held-out", i, held_out[i])),
        rewards=ITS_OWN,
        examples=tuple(Example(prompt=prompt, completion=completion) for prompt, completion in about["examples"]),
        stop=tuple(stop),
        plays=plays,
    )
