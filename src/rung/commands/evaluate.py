"""Asking a model: `rung eval`, mean@k, pass@k and maj@k on a task, paired with another model when one is named, and
`rung chat`, to talk to it or let it continue a text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rung.commands.shared import (
    AsJson,
    Rewards,
    Seed,
    Sets,
    Task,
    Tools,
    argument,
    columns,
    estimated,
    number,
    only_the_result,
    option,
    say,
    show,
    tell,
)
from rung.runs.own_code import own_code

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy
    from rung.rollouts.sampler import InProcessSampler
    from rung.tasks.task import Message


def evaluate(
    run_or_model: Annotated[str, argument("eval.run_or_model")],
    task: Task = None,
    k: Annotated[str | None, option("eval.k")] = None,
    base: Annotated[str | None, option("eval.base")] = None,
    items: Annotated[str | None, option("eval.items")] = None,
    temperature: Annotated[str | None, option("eval.temperature")] = None,
    max_new_tokens: Annotated[str | None, option("eval.max_new_tokens")] = None,
    seed: Seed = None,
    split: Annotated[str | None, option("eval.split")] = None,
    rewards: Rewards = None,
    tools: Tools = None,
    step: Annotated[int | None, option("eval.step")] = None,
    samples: Annotated[Path | None, option("eval.samples")] = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on a task's held-out items. With a run, task, limits and seed are the run's unless you say so.

    Completions are judged by --reward; else as in the run, by its own rewards; for another task, or a model alone, by
    the task's. With --base, the KL of whole completions to the base is told too.
    """
    flags = {"task": task, "k": k, "items": items, "split": split, "seed": seed}
    flags |= {"temperature": temperature, "max_new_tokens": max_new_tokens}
    objects = {**own_code({"task": task}).keywords(), "tools": tools or ()}
    flags |= {"task": None} if "task" in objects else {}
    from rung.tasks.rows import require_new_file, write_rows

    if samples is not None:
        require_new_file(samples, "--samples")
    from rung.runs.evaluate import evaluated

    with only_the_result(as_json):
        result = evaluated(
            run_or_model,
            base=base,
            step=step,
            flags=flags,
            rewards=rewards or (),
            sets=sets or (),
            say=tell,
            **objects,
        )
    if samples is not None:
        write_rows(result.samples, samples, "--samples")
    data = {"model": run_or_model, "task": result.task, "split": result.split, **result.as_data()}
    show(data, lambda: result_lines(data), as_json)


def result_lines(data: Mapping[str, Any]) -> list[str]:
    """A result for people, each estimate with its interval."""
    k, low, high = data["k"], *data["interval"]
    rows = {f"mean@{k}": estimated(data["score"], low, high)}
    parts = data.get("parts") or {}
    if len(parts) > 1:
        rows |= {n: f"{number(one['mean'])}, deviation {number(one['deviation'])}" for n, one in parts.items()}
    named = {f"pass@{k}": "pass_at_k", f"maj@{k}": "maj_at_k", "base": "base", "gain": "paired"}
    named["KL to base"] = "kl_to_base"
    told = {label: data[name] for label, name in named.items() if data.get(name) is not None}
    rows |= {label: estimated(one["value"], one["low"], one["high"]) for label, one in told.items()}
    lines = [f"{data['model']} on {data['task']}: {data['items']:,} items, {k} samples each"]
    if data["not_judged"]:
        lines.append(f"{data['not_judged']:,} samples could not be judged and are left out")
    return [*lines, *columns(rows, indent="  ")]


def chat(
    model: Annotated[str, argument("chat.model")],
    temperature: Annotated[float, option("chat.temperature")] = 1.0,
    max_new_tokens: Annotated[int, option("chat.max_new_tokens")] = 256,
    seed: Annotated[int, option("chat.seed")] = 0,
) -> None:
    """Talk to a model.

    With a chat template it answers, without one it continues your text. Ctrl-D leaves.
    """
    from rung.rollouts.sampler import InProcessSampler

    talk = Talk(
        InProcessSampler(asked_policy(model)), temperature=temperature, max_new_tokens=max_new_tokens, seed=seed
    )
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


def asked_policy(model: str) -> TextPolicy:
    """The model of a run or of a name, loaded; `tiny` is made once, for the task it is best known for."""
    from rung.models.language.load import load_policy
    from rung.runs.evaluate import found
    from rung.runs.recipes.sft import model_of
    from rung.settings import TaskSettings

    with found(model, say=tell) as it:
        return load_policy(model_of(it.model, TaskSettings(name="arithmetic")))


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
