"""One episode of a text task, played by a model or by whoever writes lines: what is said, its tokens, its rewards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from rung.batch import Episode
from rung.errors import SettingsError
from rung.models.language.between_turns import BetweenTurns
from rung.models.language.load import load_policy
from rung.models.language.text_reader import NO_LIMIT, TextReader
from rung.random import Stream
from rung.rewards.judge import Judge
from rung.rollouts.judged import judged
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt
from rung.rollouts.turns import answers
from rung.runs.evaluate import asked_task, found
from rung.runs.own_code import own_code
from rung.runs.recipes.sft import model_of, tiny_for
from rung.settings import read_eval
from rung.tasks.prompts import plain_prompt
from rung.tasks.task import TextTask
from rung.trainers.build import rewards_of
from rung.trainers.handed import Handed

_TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


class Spoken:
    """A sampler whose answers are lines that somebody wrote, each a turn. A JSON string may hold several lines."""

    def __init__(self, reader: TextReader, lines: Iterator[str], show: Callable[[str], None]) -> None:
        self.reader, self.lines, self.show = reader, lines, show
        self.read = 0
        """Tokens of the conversation that were shown, or written, before."""

    def sample(self, prompts: Sequence[Prompt], *, max_new_tokens: int, stop: Sequence[str] = (), **_: Any) -> Any:
        """The next line as an episode. SettingsError: there is none."""
        (prompt,) = prompts
        self.show(self.reader.decode_whole([prompt.ids[self.read :].tolist()])[0])
        line = next(self.lines, None)
        if line is None:
            raise SettingsError(["play: the lines ended before the episode did; write one for each turn"])
        text = json.loads(line) if _is_json_text(line) else line
        for one in stop:
            text = text.partition(one)[0]
        text += stop[0] if stop else ""
        ends = [] if stop else [self.reader.turn_end or self.reader.end_ids[0]]
        ids = np.asarray([*BetweenTurns(self.reader).words(text), *ends], np.int64)
        cut, ids = len(ids) > max_new_tokens, ids[:max_new_tokens]
        self.read = len(prompt.ids) + len(ids)
        return [
            Episode(
                item=prompt.item,
                group=prompt.group,
                sample=0,
                context=prompt.ids,
                actions=ids,
                action_mask=np.ones(len(ids), bool),
                log_probs=np.zeros(len(ids), np.float32),
                terminated=not cut,
                truncated=cut,
                text=self.reader.decode(ids) if cut else text,
            )
        ]

    def deliver(self, weights: Mapping[str, Any], version: int) -> None:
        """A writer learns by itself."""


def _is_json_text(line: str) -> bool:
    try:
        return isinstance(json.loads(line), str)
    except (ValueError, RecursionError):
        return False


def bytes_reader() -> TextReader:
    """A reader where there is no model: a token a byte, and a chat template of the plainest kind."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {mark: number for number, mark in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab={**alphabet, "<end>": len(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>")
    tokenizer.chat_template = _TEMPLATE
    return TextReader(tokenizer, context_length=NO_LIMIT, end_ids=[], num_embeddings=None)


def played(
    task: str,
    model: str | None,
    lines: Iterator[str] | None,
    show: Callable[[str], None],
    *,
    item: int,
    tools: Sequence[str],
    flags: Mapping[str, Any],
    sets: Sequence[str],
) -> dict[str, Any]:
    """Plays the item of the split and tells of it, JSON-like.

    `lines`: what is said, a turn each, in the model's tokens where one is named; None: the model plays.
    """
    own = own_code({"task": task}, tools=tools)
    handed = Handed(tiny=tiny_for, objects=own.objects)
    given = {**flags, "task": own.flags["task"], **({"tools": list(tools)} if tools else {})}
    asked = read_eval(flags=given, sets=sets).required()
    to_play = asked_task(asked, handed)
    if not isinstance(to_play, TextTask):
        raise SettingsError([f"play: '{task}' is no text task, so nothing is said in it"])
    side = to_play.held_out if asked.split == "held_out" else to_play.train
    if item >= len(side):
        raise SettingsError([f"--item: got {item}, but '{task}' has {len(side):,} items on this side; they begin at 0"])
    chosen, judges = side[item], rewards_of(asked.rewards, to_play, handed, accuracy=asked.rewarding.accuracy)
    with ExitStack() as stack:
        reader: Any = bytes_reader()
        if model is not None:
            name = stack.enter_context(found(model)).model
            reader = load_policy(model_of(name, asked.task, to_play))
        sampler = InProcessSampler(reader) if lines is None else Spoken(reader, lines, show)
        (episode,) = answers(
            sampler,
            reader,
            to_play,
            [chosen],
            samples_per_prompt=1,
            max_new_tokens=asked.max_new_tokens,
            temperature=asked.temperature,
            stream=Stream(asked.seed, 0, "play"),
        )
        judgement = None
        if judges:
            judge = stack.enter_context(Judge(judges, deadline_s=asked.rewarding.deadline_s, max_failed_share=1.0))
            (judgement,) = judged(judge, reader, [chosen], [episode])
    told = {"task": task, "item": chosen.id, "prompt": reader.decode_whole([episode.context.tolist()])[0]}
    told |= {"messages": plain_prompt(chosen.prompt), "prompt_tokens": len(episode.context)}
    parts = {} if judgement is None else dict(judgement.parts)
    return {**told, **_turns(reader, episode), "rewards": parts, "status": judgement and judgement.status}


def _turns(reader: TextReader, episode: Episode) -> dict[str, Any]:
    """The turns, each with its own tokens and those that were read after it, which are holes."""
    actions = episode.actions.tolist()

    def pieces(first: int, end: int) -> list[str]:
        return reader.decode_whole([[one] for one in actions[first:end]]) if end > first else []

    if episode.played is None:
        said = {"said": episode.text, "tokens": pieces(0, len(actions)), "told": "", "holes": []}
        ending = "cut" if episode.truncated else "done"
        return {"turns": [{**said, "reward": None, "calls": []}], "ending": ending, "return": None, "success": None}
    turns, rows = episode.played.turns, list[dict[str, Any]]()
    for n, turn in enumerate(turns):
        then = turns[n + 1].end + 1 - turns[n + 1].own if n + 1 < len(turns) else len(actions)
        row = {"said": turn.said, "tokens": pieces(turn.end + 1 - turn.own, turn.end + 1), "told": turn.told}
        rows.append(
            {**row, "holes": pieces(turn.end + 1, then), "reward": float(turn.reward), "calls": list(turn.calls)}
        )
    found = {"return": float(episode.played.total), "success": episode.played.success}
    return {"turns": rows, "ending": episode.played.ending, **found}
