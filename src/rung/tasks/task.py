"""The shapes of a task: items to answer, held-out items, rewards, worked examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from rung.rewards.reward import Message, Prompt, WeightedReward

__all__ = ["Example", "Item", "Lazy", "Message", "Prompt", "TextTask"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to answer.

    Example: `Item(id="train-0", prompt="47+38=", columns={"answer": 85})`.
    """

    id: str
    """Unique within its side (train or held-out) of the task."""
    prompt: Prompt
    """A text is continued as it stands, messages go through the model's chat template."""
    columns: Mapping[str, Any]
    """`answer` and anything else the rewards look at, JSON-like."""
    place: str = field(default="", compare=False)
    """Where it was read, as `rows.jsonl:7`; empty where it was made."""
    answers: ClassVar[tuple[str, ...]] = ()
    """Texts to learn from: none."""

    @property
    def answer(self) -> str | None:
        """The right answer as text, for people; None where there is none, or one that is no text and no number."""
        answer = self.columns.get("answer")
        return str(answer) if isinstance(answer, str | int | float) else None


@dataclass(frozen=True, kw_only=True)
class Example:
    """A worked example for SFT: the prompt and the completion to imitate."""

    prompt: Prompt
    completion: str
    place: str = field(default="", compare=False)
    """Where it was read, as `rows.jsonl:7`; empty where it was made."""

    @property
    def answers(self) -> tuple[str, ...]:
        return (self.completion,)


@dataclass(frozen=True, kw_only=True)
class TextTask:
    """A text task. `load_task("arithmetic")` gives one."""

    name: str
    train: Sequence[Item]
    """May be lazy; `train[i]` depends on i alone."""
    held_out: Sequence[Item]
    """Shares no problem with `train`."""
    rewards: tuple[WeightedReward, ...]
    """The task's own judgement; the first part is the accuracy, in [0, 1]. Empty: the user must bring a reward."""
    examples: Sequence[Example] = ()
    """Worked examples for SFT, from the train side only."""
    stop: tuple[str, ...] = ()
    """Texts that end an episode, each of one token or several. The token that completes one is the policy's own."""
    characters: str | None = None
    """All that its prompts and answers are written with, where that is an alphabet of its own: its tiny model then has
    these and no others as tokens."""
    plays: Callable[[], Any] | None = None
    """Makes the environment that answers each turn (`rung.tasks.turns`), one an episode; None: one turn is all."""
    most_turns: int = 8
    """Turns of an episode at most; one that has more to say is cut."""
    said: tuple[str, ...] = ()
    """What was seen in its data, as sentences for the plan."""

    def notes(self) -> tuple[str, ...]:
        """What the plan says of its data."""
        return self.said


@dataclass(frozen=True)
class Lazy(Sequence[T], Generic[T]):
    """A sequence whose entries are made when they are asked for; `make(i)` must depend on i alone.

    >>> Lazy(3, lambda i: i * i)[-1]
    4
    """

    length: int
    make: Callable[[int], T]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.make(i) for i in range(*index.indices(self.length))]
        if not -self.length <= index < self.length:
            raise IndexError(f"index {index} of {self.length} entries")
        return self.make(int(index) % self.length)
