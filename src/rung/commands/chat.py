"""`rung chat`: talk to a model, or let it continue a text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from rung.commands.options import argument, option
from rung.commands.output import say, tell
from rung.runs.folders import found

if TYPE_CHECKING:
    from rung.rollouts.sampler import InProcessSampler
    from rung.tasks.task import Message


def chat(
    model: Annotated[str, argument("chat.model")],
    temperature: Annotated[float, option("chat.temperature")] = 1.0,
    max_new_tokens: Annotated[int, option("chat.max_new_tokens")] = 256,
    seed: Annotated[int, option("chat.seed")] = 0,
) -> None:
    """Talk to a model.

    With a chat template it answers, without one it continues your text. Ctrl-D leaves.
    """
    from rung.models.language.load import load_policy
    from rung.rollouts.sampler import InProcessSampler

    with found(model, say=tell) as it:
        policy = load_policy(folder_of(it.model))
    talk = Talk(InProcessSampler(policy), temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    tell("talks by turns; an empty line starts afresh" if talk.by_turns else "continues your text: no chat template")
    for line in _lines():
        if not line.strip():
            talk.start_afresh()
            continue
        say(talk.answer(line).rstrip("\n"))


class Talk:
    """A conversation, or a series of texts to continue, with one model."""

    def __init__(self, sampler: InProcessSampler, *, temperature: float, max_new_tokens: int, seed: int) -> None:
        self.sampler, self.policy = sampler, sampler.policy
        self.temperature, self.max_new_tokens, self.seed = temperature, max_new_tokens, seed
        self.by_turns = bool(self.policy.tokenizer.chat_template)
        self.messages: list[Message] = []
        self.turn = 0

    def start_afresh(self) -> None:
        """Forgets what was said."""
        self.messages = []

    def answer(self, line: str) -> str:
        """What the model says to this line. The oldest turns are forgotten when they do not fit its context."""
        from rung.random import Stream
        from rung.rollouts.sampling import Prompt

        if self.by_turns:
            self.messages.append({"role": "user", "content": line})
        room = self.policy.context_length - self.max_new_tokens
        while len(self.messages) > 2 and len(self.policy.encode(tuple(self.messages))) > room:
            del self.messages[:2]
        ids = self.policy.encode(tuple(self.messages) if self.by_turns else line)
        (episode,) = self.sampler.sample(
            [Prompt("chat", 0, ids)],
            samples_per_prompt=1,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            stream=Stream(self.seed, self.turn, "chat"),
        )
        self.turn += 1
        if self.by_turns:
            self.messages.append({"role": "assistant", "content": episode.text})
        return episode.text


def folder_of(model: str) -> str:
    """The model to load; `tiny` is made once, for the task it is best known for."""
    if model != "tiny":
        return model
    from rung.runs.recipes.sft import tiny_for
    from rung.settings import TaskSettings

    return str(tiny_for(TaskSettings(name="arithmetic")))


def _lines() -> Iterator[str]:
    """What is typed or piped, line by line, until the end of the input."""
    asks = sys.stdin.isatty()
    while True:
        if asks:
            typer.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line.removesuffix("\n")
