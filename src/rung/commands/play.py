"""`rung play`: one episode of a task by a person, a script or a model, with its tokens and rewards."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from rung.commands.shared import AsJson, Model, Seed, Sets, Tools, argument, number, only_the_result, option, show, tell
from rung.errors import SettingsError


def play(
    task: Annotated[str, argument("play.task")],
    model: Model = None,
    script: Annotated[Path | None, option("play.script")] = None,
    item: Annotated[int, option("play.item")] = 0,
    temperature: Annotated[str | None, option("eval.temperature")] = None,
    max_new_tokens: Annotated[str | None, option("eval.max_new_tokens")] = None,
    seed: Seed = None,
    split: Annotated[str | None, option("eval.split")] = None,
    tools: Tools = None,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Play one episode of a text task, over its turns, and see what is said, in which tokens, and the rewards.

    With --model the model plays; else a line of --script, or of what you type or pipe, is a turn. A line that is a JSON
    string stands for what it says, so that a turn can have several lines.
    """
    from rung.runs.play import played

    lines = None
    if script is not None:
        if not script.is_file():
            raise SettingsError([f"--script: there is no file {script}"])
        lines = iter(script.read_text("utf-8").splitlines())
    elif model is None:
        lines = (line.removesuffix("\n") for line in sys.stdin)
    flags = {"temperature": temperature, "max_new_tokens": max_new_tokens, "seed": seed, "split": split}
    aloud = tell if script is None else _silent
    with only_the_result(as_json):
        data = played(task, model, lines, aloud, item=item, tools=tools or (), flags=flags, sets=sets or ())
    show(data, lambda: transcript(data), as_json)


def _silent(text: str) -> None:
    """A script need not be shown what it reads."""


def transcript(data: Mapping[str, Any]) -> Iterator[str]:
    """An episode for people: own tokens between bars, holes between brackets."""
    yield f"{data['task']}, item {data['item']}: {data['prompt_tokens']:,} tokens"
    yield data["prompt"].rstrip("\n")
    for n, turn in enumerate(data["turns"], start=1):
        yield ""
        reward = "" if turn["reward"] is None else f"  reward {number(turn['reward'])}"
        calls = f"  calls: {', '.join(turn['calls'])}" if turn["calls"] else ""
        yield f"turn {n}: {len(turn['tokens']):,} own tokens, {len(turn['holes']):,} read{reward}{calls}"
        yield f"→ {turn['said']}".rstrip("\n")
        if turn["told"]:
            yield f"← {turn['told']}".rstrip("\n")
        yield f"  |{'|'.join(map(_in_line, turn['tokens']))}|{''.join(f' [{_in_line(one)}]' for one in turn['holes'])}"
    yield ""
    ended = {"done": "it came to its end", "cut": "a turn was cut at max_new_tokens", "turns": "turns.most was reached"}
    ended |= {"tokens": "the context is full", "failed": f"the environment failed: {data['status']}"}
    yield f"ended: {ended[data['ending']]}"
    rewards = {name: "not judged" if value is None else number(value) for name, value in data["rewards"].items()}
    yield "rewards: " + (", ".join(f"{name} {value}" for name, value in rewards.items()) or "none judges this task")


def _in_line(piece: str) -> str:
    return piece.replace("\n", "⏎")
