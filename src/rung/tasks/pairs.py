"""Preference pairs: two answers to one prompt, of which one was preferred; read from and written to rows of files.

Columns: `prompt`, `chosen`, `rejected` (text, or messages), and optionally `id` and `margin` (by how much the chosen
one is better). Chosen and rejected may be whole conversations: what they share before the last message is the prompt.
Answers labelled one by one have `prompt`, `completion` and `label` (true: good).

Rows that would do harm are left out and counted:
    unlabelled    `prompt` and `completions`, of which none was chosen yet
    identical     chosen and rejected are the same text
    conflicting   the same two answers are in the file both ways round; all of these rows are left out
    empty         an answer of white space
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError
from rung.random import raw_numbers
from rung.tasks.file_task import prompt_key, two_sides
from rung.tasks.prompts import prompt_problem, prompt_value, repeated, without_prompt
from rung.tasks.rows import (
    Problems,
    Prompted,
    checked_id,
    counts_in_words,
    no_columns,
    prompt_row,
    raw_rows,
    with_own_ids,
)

COLUMNS = ("id", "prompt", "chosen", "rejected", "margin", "completion", "label", "completions")
"""What is read of a row."""


@dataclass(frozen=True, kw_only=True)
class Pair(Prompted):
    """Two answers to one prompt, or one answer that was called good (`rejected` None) or bad (`chosen` None).

    Example: `Pair(number=1, id="1", prompt="2+3=", chosen="5", rejected="6")`.
    """

    chosen: str | None
    rejected: str | None
    margin: float = 0.0
    """By how much the chosen one is better; 0 where it is not known."""

    @property
    def answers(self) -> tuple[str, ...]:
        """Those there are, the chosen one first."""
        return tuple(answer for answer in (self.chosen, self.rejected) if answer is not None)


@dataclass(frozen=True, kw_only=True)
class PairTask:
    """Pairs to learn from, and held-out pairs. `pair_task("pairs.jsonl")` gives one."""

    name: str
    train: Sequence[Pair]
    held_out: Sequence[Pair]
    excluded: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many rows were left out, by reason."""
    said: tuple[str, ...] = ()
    """What was seen in the file, as sentences for the plan."""

    def notes(self) -> tuple[str, ...]:
        """What was left out, as a sentence, and what was seen in the file; none where nothing was."""
        return (*([left_out(self.excluded)] if self.excluded else []), *self.said)


def left_out(excluded: Mapping[str, int]) -> str:
    """The counts in words.

    >>> left_out({"identical": 2, "empty": 1})
    'pairs left out: 2 identical, 1 empty'
    """
    return f"pairs left out: {counts_in_words(excluded)}"


def pair_task(
    path: str | Path,
    *,
    held_out: float = 0.1,
    held_out_file: str | Path | None = None,
    keep_conflicts: bool = False,
    resample: int | None = None,
    skip_bad_rows: bool = False,
) -> PairTask:
    """The pairs of a .jsonl or .parquet file.

    Args:
        held_out: the share of prompts kept from training, by a hash of the row's id; at least one. Pairs of one
            prompt stay on one side. 0: none.
        held_out_file: a second file that is the held-out side; then every pair of the first is trained on.
        keep_conflicts: keep pairs that are in the file both ways round, as from people who disagree.
        resample: the seed of a draw with replacement of as many training pairs as there are: what each member of an
            ensemble learns from (Christiano et al. 2017, arXiv:1706.03741, section 2.2.3).
        skip_bad_rows: leave out rows that cannot be used, and warn of how many, instead of refusing the file.

    SettingsError where a file is missing or a side would be empty; DataError for rows that cannot be used.
    """
    path, excluded = Path(path), Counter[str]()
    train, held, said = two_sides(
        path, held_out, held_out_file, lambda file: _read(file, keep_conflicts, skip_bad_rows, excluded)
    )
    keys = {prompt_key(pair) for pair in held}
    shared = [pair.number for pair in train if prompt_key(pair) in keys]
    if shared:
        raise SettingsError(
            f"held_out_file: {len(shared)} pairs of {path} have prompts that are also in {held_out_file} "
            f"(first: row {shared[0]}); a prompt must stand on one side only"
        )
    if resample is not None:
        drawn = raw_numbers("resampled pairs", resample, n=len(train)) % len(train)
        train = [train[int(number)] for number in drawn]
    return PairTask(name=path.stem, train=tuple(train), held_out=tuple(held), excluded=excluded, said=said)


def pair_row(pair: Pair, /, **more: Any) -> dict[str, Any]:
    """The row of a pair of two answers, to be written.

    >>> pair_row(Pair(number=1, id="1", prompt="2+3=", chosen="5", rejected="6"), chosen_reward=1.0)
    {'id': '1', 'prompt': '2+3=', 'chosen': '5', 'rejected': '6', 'chosen_reward': 1.0}
    """
    assert pair.chosen is not None and pair.rejected is not None, f"{pair.id} was labelled alone"
    return prompt_row(pair.id, pair.prompt, chosen=pair.chosen, rejected=pair.rejected, **more)


def written_pair(number: int, row: Mapping[str, Any]) -> Pair:
    """The pair of a row that `pair_row` made. KeyError or TypeError for another."""
    prompt, chosen, rejected = prompt_value(row["prompt"]), str(row["chosen"]), str(row["rejected"])
    return Pair(number=number, id=row["id"], prompt=prompt, chosen=chosen, rejected=rejected)


def _read(
    path: Path, keep_conflicts: bool, skip_bad: bool, excluded: Counter[str]
) -> tuple[list[Pair], tuple[str, ...]]:
    """The pairs of a file, and what is to be said of it."""
    problems = Problems(path)
    read: list[Pair] = []
    others: dict[str, None] = {}
    shortened = 0
    for number, values in raw_rows(path, problems):
        given = {name: value for name, value in values.items() if value is not None}  # Parquet's missing values
        others |= dict.fromkeys(name for name in given if name not in COLUMNS)
        pair = _pair(number, given, problems)
        if isinstance(pair, str):
            excluded[pair] += 1
        elif pair is not None:
            own = [answer and without_prompt(pair.prompt, answer) for answer in (pair.chosen, pair.rejected)]
            shortened += sum(new != old for new, old in zip(own, (pair.chosen, pair.rejected), strict=True))
            read.append(replace(pair, chosen=own[0], rejected=own[1]))
    read = with_own_ids(read, problems)
    problems.settle(read, skip=skip_bad)
    kept = read if keep_conflicts else _without_conflicts(read, excluded)
    if not kept:
        unlabelled = f"; label them with `rung label {path}`" if "unlabelled" in excluded else ""
        raise DataError(f"{path}: no pair is left to learn from: {left_out(excluded)}{unlabelled}")
    return kept, (*problems.notes(others), *repeated(path, shortened))


def _pair(number: int, values: Mapping[str, Any], problems: Problems) -> Pair | str | None:
    """The row's pair; the reason why it is left out; or None, with a problem, when it cannot be read."""
    if "completions" in values and not values.keys() & {"chosen", "rejected"}:
        return "unlabelled"
    row_id = checked_id(number, values, problems)
    margin = values.get("margin", 0.0)
    try:
        alone = "label" in values and "completion" in values
        prompt, chosen, rejected = _labelled_alone(values) if alone else _labelled_pair(values)
        if wrong := prompt_problem(prompt):
            raise ValueError(wrong)
        if type(margin) not in (int, float) or not math.isfinite(margin):
            raise ValueError(f"margin: got {margin!r}, expected a finite number")
    except ValueError as error:
        problems.add(number, str(error))
        return None
    if row_id is None:
        return None
    if not all(answer.strip() for answer in (chosen, rejected) if answer is not None):
        return "empty"
    if chosen == rejected:
        return "identical"
    place, answers = f"{problems.path}:{number}", {"chosen": chosen, "rejected": rejected}
    return Pair(number=number, id=row_id, prompt=prompt_value(prompt), margin=float(margin), place=place, **answers)


def _labelled_alone(values: Mapping[str, Any]) -> tuple[Any, str | None, str | None]:
    """The prompt, not yet checked, and the two answers. ValueError with what is wrong."""
    if "prompt" not in values:
        raise ValueError(no_columns(["prompt"], values))
    label = values["label"]
    if not isinstance(label, bool):
        raise ValueError(f"label: got {label!r}, expected true (a good answer) or false")
    prompt, answer = _common("completion", values["completion"], values["prompt"])
    return (prompt, answer, None) if label else (prompt, None, answer)


def _labelled_pair(values: Mapping[str, Any]) -> tuple[Any, str | None, str | None]:
    missing = [name for name in ("chosen", "rejected") if name not in values]
    if not missing and "prompt" not in values and not all(isinstance(values[n], list) for n in ("chosen", "rejected")):
        missing = ["prompt"]
    if missing:
        raise ValueError(no_columns(missing, values))
    prompt, chosen = _common("chosen", values["chosen"], values.get("prompt"))
    other, rejected = _common("rejected", values["rejected"], values.get("prompt"))
    if prompt != other:
        raise ValueError("prompt: chosen and rejected are conversations that differ before their last message")
    return prompt, chosen, rejected


def _common(name: str, answer: Any, prompt: Any) -> tuple[Any, str]:
    """The prompt and the answer's text. A whole conversation is taken apart: its last message is the answer, and the
    messages before it are the prompt, or the prompt once more."""
    if isinstance(answer, str):
        return prompt, answer
    if not isinstance(answer, list):
        got = f"{name}: got {type(answer).__name__}"
        raise ValueError(f"{got}, expected a text or messages that end with the assistant's")
    if answer and all(isinstance(message, dict) for message in answer):
        last, before = answer[-1], answer[:-1]
        text = last.get("content") if last.get("role") == "assistant" else None
        if isinstance(text, str) and (not before or prompt is None or _says(before, prompt)):
            return (before if prompt is None else prompt), text
    what = "expected the assistant's message last, and before it nothing but the messages of the prompt"
    raise ValueError(f"{name}: a list of messages, {what}")


def _says(messages: list[Any], prompt: Any) -> bool:
    """Whether the messages are the prompt: message by message, or one user's message with its text."""
    plain = [(message.get("role"), message.get("content")) for message in messages]
    if isinstance(prompt, str):
        return plain == [("user", prompt)]
    return isinstance(prompt, list) and plain == [(m.get("role"), m.get("content")) for m in prompt]


def _without_conflicts(pairs: Sequence[Pair], excluded: Counter[str]) -> list[Pair]:
    ways: defaultdict[Any, set[bool]] = defaultdict(set)
    for key, way in map(_way, pairs):
        ways[key].add(way)
    kept = [pair for pair in pairs if len(ways[_way(pair)[0]]) == 1]
    if len(kept) < len(pairs):
        excluded["conflicting"] += len(pairs) - len(kept)
    return kept


def _way(pair: Pair) -> tuple[Any, bool]:
    """The pair without its order (or the answer without its label), and which way round it is."""
    if pair.chosen is None or pair.rejected is None:
        return (prompt_key(pair), pair.chosen or pair.rejected), pair.chosen is not None
    return (prompt_key(pair), *sorted((pair.chosen, pair.rejected))), pair.chosen < pair.rejected
