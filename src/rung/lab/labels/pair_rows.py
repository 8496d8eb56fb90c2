"""Pairs from a JSONL or Parquet file.

A row has `prompt` and either `completions` (two or more: every two of them are a pair) or `chosen` and `rejected`
(labelled elsewhere, to be labelled again: who is asked does not see which was which). With `votes`, as `rung label`
writes them, what people said before comes along.

Left out and counted: pairs of two equal completions, pairs with an empty one, pairs with one too long for anybody to
read. Everything else that is wrong is refused with file and row.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rung.errors import SettingsError, nearest
from rung.lab.labels.clips import clip_digest, clip_problem, is_clip
from rung.lab.labels.pair import Pair, Vote
from rung.lab.labels.vote_rows import vote_of, vote_problem
from rung.random import keyed_hash
from rung.tasks.prompts import ROLES
from rung.tasks.rows import Problems, Row, read_rows

LONGEST = 1_000_000
"""Characters of a completion."""
LONGEST_ID = 200
MOST = 16
"""Completions of one row."""
FIRST_SECOND, CHOSEN_REJECTED = ("first", "second"), ("chosen", "rejected")
_OWN = {"completions", "votes", *CHOSEN_REJECTED}

IDENTICAL, EMPTY, LONG = "of two equal completions", "with an empty completion", "with one too long to read"


@dataclass(frozen=True, kw_only=True)
class PairFile:
    """What a file of pairs brought."""

    path: Path
    pairs: tuple[Pair, ...]
    fingerprints: Mapping[str, str]
    """By pair: a hash of what is shown, clips included."""
    row_numbers: Mapping[str, int]
    votes: tuple[Vote, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter[str])
    """How many pairs were left out, by why."""

    @property
    def folder(self) -> Path:
        return self.path.parent

    def in_words(self) -> str:
        """ "48 pairs (2 left out: 2 of two equal completions)"."""
        count = f"{len(self.pairs):,} {'pair' if len(self.pairs) == 1 else 'pairs'}"
        if not self.left_out:
            return count
        reasons = ", ".join(f"{number:,} {why}" for why, number in self.left_out.items())
        return f"{count} ({self.left_out.total():,} left out: {reasons})"


def read_pairs(path: Path) -> PairFile:
    """The pairs of a .jsonl or .parquet file.

    Raises:
        SettingsError: there is no such file.
        DataError: at least one row cannot be used, or every pair was left out.
    """
    if not path.is_file():
        raise SettingsError([f"PAIRS: there is no file {path}"])
    problems, left_out = Problems(path), Counter[str]()
    pairs: list[Pair] = []
    votes: list[Vote] = []
    numbers: dict[str, int] = {}
    for row in read_rows(path):
        wrong = row_problem(row.columns, path.parent) or _id_problem(row.id) or _unwritable(row.columns)
        if wrong:
            problems.add(row.number, wrong)
            continue
        for pair in _pairs(row):
            why = left_out_because(pair.completions)
            if why:
                left_out[why] += 1
            elif pair.id in numbers:
                problems.add(row.number, f"id {pair.id!r} is also that of a pair of row {numbers[pair.id]}")
            else:
                pairs.append(pair)
                numbers[pair.id] = row.number
                votes += _votes(pair.id, row.columns)
    if not pairs and not problems.count:
        problems.add(None, f"no pair is left to label: {', '.join(f'{n} {why}' for why, n in left_out.items())}")
    problems.raise_any()
    return PairFile(
        path=path,
        pairs=tuple(pairs),
        fingerprints={pair.id: _fingerprint(pair, path.parent) for pair in pairs},
        row_numbers=numbers,
        votes=tuple(votes),
        left_out=left_out,
    )


def row_problem(columns: Mapping[str, Any], folder: Path) -> str | None:
    """What is wrong with a row's completions and votes as a sentence, None when they can be used."""
    both = all(columns.get(name) is not None for name in CHOSEN_REJECTED)
    given = columns.get("completions")
    if given is not None and any(columns.get(name) is not None for name in CHOSEN_REJECTED):
        return "has both 'completions' and 'chosen' or 'rejected'; give one or the other"
    if given is None and not both:
        return _no_completions(columns)
    if given is not None and (not isinstance(given, list) or not 2 <= len(given) <= MOST):
        what = f"{len(given)}" if isinstance(given, list) else type(given).__name__
        return f"completions: got {what}, expected a list of 2 to {MOST}"
    for name, completion in _named(columns):
        wrong = completion_problem(completion, folder)
        if wrong:
            return f"{name}: {wrong}"
    votes = columns.get("votes")
    return None if votes is None else vote_problem(votes, _names(columns), len(_named(columns)))


def completion_problem(completion: Any, folder: Path) -> str | None:
    """What is wrong with one completion, None for a text, messages that end with the assistant's, or a clip."""
    if isinstance(completion, str):
        return _text_problem(completion)
    if is_clip(completion):
        return clip_problem(completion, folder)
    if not isinstance(completion, list):
        return f'got {type(completion).__name__}, expected a text, a list of messages, or {{"clip": "FILE.gif"}}'
    for message in completion:
        kept = {k: v for k, v in message.items() if v is not None} if isinstance(message, dict) else {}
        if set(kept) != {"role", "content"} or kept["role"] not in ROLES or not isinstance(kept["content"], str):
            return f'a message is {{"role": one of {", ".join(ROLES)}, "content": text}} and nothing else'
        if _text_problem(kept["content"]):
            return _text_problem(kept["content"])
    if not completion or completion[-1]["role"] != "assistant":
        return "the last message is not the assistant's"
    return None


def left_out_because(completions: Sequence[Any]) -> str | None:
    """Why a pair is not worth a person's time, None when it is."""
    texts = [_text(completion) for completion in completions]
    if any(text is not None and not text.strip() for text in texts):
        return EMPTY
    if completions[0] == completions[1]:
        return IDENTICAL
    return LONG if any(text is not None and len(text) > LONGEST for text in texts) else None


def _text_problem(text: str) -> str | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"holds half of a surrogate pair at character {error.start}, which is no text"
    return None


def _id_problem(row_id: str) -> str | None:
    if len(row_id) > LONGEST_ID:
        return f"id: has {len(row_id):,} characters, expected at most {LONGEST_ID}"
    wrong = _text_problem(row_id)
    return wrong and f"id: {wrong}"


def _unwritable(columns: Mapping[str, Any]) -> str | None:
    """Why other columns could not go out again in an export."""
    wrong = _text_problem(json.dumps(columns, ensure_ascii=False))
    return wrong and f"a column {wrong.partition(' at ')[0]}, which is no text"


def _no_completions(columns: Mapping[str, Any]) -> str:
    there = [name for name, value in columns.items() if value is not None]
    close = [(nearest(name, there), name) for name in ("completions", "chosen", "rejected") if name not in there]
    hints = [f"rename {found!r} to {name!r}" for found, name in close if found is not None and found not in _OWN]
    has = ", ".join(map(repr, there)) or "nothing else"
    return f"has no 'completions' (two or more), nor 'chosen' and 'rejected'; beside the prompt it has {has}" + (
        f"; {hints[0]}" if hints else ""
    )


def _names(columns: Mapping[str, Any]) -> tuple[str, str]:
    return FIRST_SECOND if columns.get("completions") is not None else CHOSEN_REJECTED


def _named(columns: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if columns.get("completions") is None:
        return [(name, columns[name]) for name in CHOSEN_REJECTED]
    return [(f"completions[{i}]", completion) for i, completion in enumerate(columns["completions"])]


def _pairs(row: Row) -> Iterator[Pair]:
    completions = [_value(completion) for _, completion in _named(row.columns)]
    columns = {name: value for name, value in row.columns.items() if name not in _OWN}
    for (i, one), (j, two) in itertools.combinations(enumerate(completions, start=1), 2):
        pair_id = row.id if len(completions) == 2 else f"{row.id}/{i}-{j}"
        yield Pair(id=pair_id, prompt=row.prompt, completions=(one, two), columns=columns)


def _value(completion: Any) -> Any:
    """Without the empty keys that a Parquet struct adds."""
    if isinstance(completion, list):
        return [{"role": message["role"], "content": message["content"]} for message in completion]
    return completion


def _votes(pair: str, columns: Mapping[str, Any]) -> list[Vote]:
    return [vote_of(values, pair, _names(columns)) for values in columns.get("votes") or []]


def _text(completion: Any) -> str | None:
    """What a completion says; None for a clip."""
    if isinstance(completion, list):
        return "".join(message["content"] for message in completion)
    return completion if isinstance(completion, str) else None


def _fingerprint(pair: Pair, folder: Path) -> str:
    shown = json.dumps([pair.prompt, *pair.completions], ensure_ascii=True)
    clips = [clip_digest(completion, folder) for completion in pair.completions if is_clip(completion)]
    return f"{keyed_hash('pair', shown, *clips):032x}"
