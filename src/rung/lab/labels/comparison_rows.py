"""Rows of comparisons in JSONL and Parquet files: read to be labelled, and written with the votes.

A row has `prompt` and either `completions` (two or more: every two of them are a comparison) or `chosen` and
`rejected` (labelled elsewhere, to be labelled again; people do not see which was which).

The column `votes`, as `rung label` writes it, holds what people said; each vote is one answer of one person:

    {"submit": "6f0c...", "labeller": "anna", "answer": "chosen", "left": "rejected",
     "at": "2026-11-22T18:30:05.250Z", "seconds": 6.2, "undone": false}

Beside `chosen` and `rejected` these two words are used, beside `completions` the words `first` and `second`.

Left out and counted: two equal completions, an empty one, one too long to read. Everything else that is wrong is
refused with file and row.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rung.errors import SettingsError, nearest
from rung.lab.labels.comparison import ANSWERS, LONGEST_NAME, Comparison, Vote, clip_digest, clip_problem, is_clip
from rung.random import keyed_hash
from rung.tasks.prompts import ROLES, prompt_value, surrogate_problem
from rung.tasks.rows import Problems, Row, counts_in_words, read_rows

LONGEST = 1_000_000
"""Characters of a completion."""
LONGEST_ID = 200
MOST = 16
"""Completions of one row."""
FIRST_SECOND, CHOSEN_REJECTED = ("first", "second"), ("chosen", "rejected")
IDENTICAL, EMPTY, LONG = "of two equal completions", "with an empty completion", "with one too long to read"
_OWN = {"completions", "votes", *CHOSEN_REJECTED}
_VOTE = ("submit", "labeller", "answer", "left", "at")
"""The texts of a vote."""


@dataclass(frozen=True, kw_only=True)
class ComparisonFile:
    """The comparisons and votes of a file."""

    path: Path
    pairs: tuple[Comparison, ...]
    fingerprints: Mapping[str, str]
    """By comparison: a hash of what is shown, clips included."""
    row_numbers: Mapping[str, int]
    votes: tuple[Vote, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter[str])
    """How many comparisons were left out, by reason."""

    def in_words(self) -> str:
        """ "48 pairs (2 left out: 2 of two equal completions)"."""
        left_out = f" ({self.left_out.total():,} left out: {counts_in_words(self.left_out)})" if self.left_out else ""
        return number_of_pairs(len(self.pairs)) + left_out


def number_of_pairs(count: int) -> str:
    return f"{count:,} {'pair' if count == 1 else 'pairs'}"


def read_comparisons(path: Path) -> ComparisonFile:
    """The comparisons of a .jsonl or .parquet file. SettingsError where there is none; DataError for rows that cannot
    be used, or when every comparison was left out."""
    if not path.is_file():
        raise SettingsError([f"PAIRS: there is no file {path}"])
    problems, left_out, numbers = Problems(path), Counter[str](), dict[str, int]()
    pairs: list[Comparison] = []
    votes: list[Vote] = []
    for row in read_rows(path):
        wrong = _row_problem(row, path.parent)
        if wrong:
            problems.add(row.number, wrong)
            continue
        for pair in _comparisons(row):
            why = _left_out_because(pair.completions)
            if why:
                left_out[why] += 1
            elif pair.id in numbers:
                problems.add(row.number, f"id {pair.id!r} is also that of a pair of row {numbers[pair.id]}")
            else:
                pairs.append(pair)
                numbers[pair.id] = row.number
                votes += [_vote(values, pair.id, _words(row.columns)) for values in row.columns.get("votes") or []]
    if not pairs and not problems.count:
        problems.add(None, f"no pair is left to label: {counts_in_words(left_out)}")
    problems.raise_any()
    return ComparisonFile(
        path=path,
        pairs=tuple(pairs),
        fingerprints={pair.id: _fingerprint(pair, path.parent) for pair in pairs},
        row_numbers=numbers,
        votes=tuple(votes),
        left_out=left_out,
    )


def _row_problem(row: Row, folder: Path) -> str | None:
    """What is wrong with a row as a sentence, None when it can be used, and exported with its other columns."""
    wrong = _completions_problem(row.columns, folder)
    if wrong is None and len(row.id) > LONGEST_ID:
        return f"id: has {len(row.id):,} characters, expected at most {LONGEST_ID}"
    if wrong is None and (no_text := surrogate_problem(row.id)):
        return f"id: {no_text}"
    if wrong is None and (no_text := surrogate_problem(json.dumps(row.columns, ensure_ascii=False))):
        return f"a column {no_text.partition(' at ')[0]}, which is no text"
    return wrong


def _completions_problem(columns: Mapping[str, Any], folder: Path) -> str | None:
    given = columns.get("completions")
    named = [name for name in CHOSEN_REJECTED if columns.get(name) is not None]
    if given is not None and named:
        return "has both 'completions' and 'chosen' or 'rejected'; give one or the other"
    if given is None and len(named) < 2:
        return _no_completions(columns)
    if given is not None and (not isinstance(given, list) or not 2 <= len(given) <= MOST):
        what = f"{len(given)}" if isinstance(given, list) else type(given).__name__
        return f"completions: got {what}, expected a list of 2 to {MOST}"
    for name, completion in _named(columns):
        if wrong := _completion_problem(completion, folder):
            return f"{name}: {wrong}"
    votes = columns.get("votes")
    return None if votes is None else _votes_problem(votes, _words(columns), len(_named(columns)))


def _completion_problem(completion: Any, folder: Path) -> str | None:
    """What is wrong with one completion, None for a text, messages that end with the assistant's, or a clip."""
    if isinstance(completion, str):
        return surrogate_problem(completion)
    if is_clip(completion):
        return clip_problem(completion, folder)
    if not isinstance(completion, list):
        return f'got {type(completion).__name__}, expected a text, a list of messages, or {{"clip": "FILE.gif"}}'
    for message in completion:
        kept = {k: v for k, v in message.items() if v is not None} if isinstance(message, dict) else {}
        if set(kept) != {"role", "content"} or kept["role"] not in ROLES or not isinstance(kept["content"], str):
            return f'a message is {{"role": one of {", ".join(ROLES)}, "content": text}} and nothing else'
        if wrong := surrogate_problem(kept["content"]):
            return wrong
    if not completion or completion[-1]["role"] != "assistant":
        return "the last message is not the assistant's"
    return None


def _left_out_because(completions: Sequence[Any]) -> str | None:
    """Why a comparison is not worth a person's time, None when it is."""
    texts = [_text(completion) for completion in completions]
    if any(text is not None and not text.strip() for text in texts):
        return EMPTY
    if completions[0] == completions[1]:
        return IDENTICAL
    return LONG if any(text is not None and len(text) > LONGEST for text in texts) else None


def _no_completions(columns: Mapping[str, Any]) -> str:
    there = [name for name, value in columns.items() if value is not None]
    close = [(nearest(name, there), name) for name in ("completions", *CHOSEN_REJECTED) if name not in there]
    hints = [f"; rename {found!r} to {name!r}" for found, name in close if found is not None and found not in _OWN]
    has = ", ".join(map(repr, there)) or "nothing else"
    missing = f"has no 'completions' (two or more), nor 'chosen' and 'rejected'; beside the prompt it has {has}"
    return missing + "".join(hints[:1])


def _words(columns: Mapping[str, Any]) -> tuple[str, str]:
    """The words by which a row's votes name the two completions."""
    return FIRST_SECOND if columns.get("completions") is not None else CHOSEN_REJECTED


def _named(columns: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if columns.get("completions") is None:
        return [(name, columns[name]) for name in CHOSEN_REJECTED]
    return [(f"completions[{i}]", completion) for i, completion in enumerate(columns["completions"])]


def _comparisons(row: Row) -> Iterator[Comparison]:
    completions = [  # without the empty keys that a Parquet struct adds
        list(prompt_value(completion)) if isinstance(completion, list) else completion
        for _, completion in _named(row.columns)
    ]
    columns = {name: value for name, value in row.columns.items() if name not in _OWN}
    for (i, one), (j, two) in itertools.combinations(enumerate(completions, start=1), 2):
        own_id = row.id if len(completions) == 2 else f"{row.id}/{i}-{j}"
        yield Comparison(id=own_id, prompt=row.prompt, completions=(one, two), columns=columns)


def _text(completion: Any) -> str | None:
    """What a completion says; None for a clip."""
    if isinstance(completion, list):
        return "".join(message["content"] for message in completion)
    return completion if isinstance(completion, str) else None


def _fingerprint(pair: Comparison, folder: Path) -> str:
    shown = json.dumps([pair.prompt, *pair.completions], ensure_ascii=True)
    clips = [clip_digest(completion, folder) for completion in pair.completions if is_clip(completion)]
    return f"{keyed_hash('pair', shown, *clips):032x}"


def vote_row(vote: Vote, names: Sequence[str]) -> dict[str, Any]:
    """A vote as the object that a file holds; `names` are the words for the first completion and the second."""
    words: dict[str, str] = dict(zip(FIRST_SECOND, names, strict=True))
    said = {"answer": words.get(vote.answer, vote.answer), "left": words[vote.left]}
    at = datetime.fromtimestamp(vote.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    rest = {"at": at, "seconds": vote.seconds, "undone": vote.undone}
    return {"submit": vote.submit, "labeller": vote.labeller, **said, **rest}


def _vote(values: Mapping[str, Any], pair: str, names: tuple[str, str]) -> Vote:
    """The vote of an object without problems."""
    words: dict[str, Any] = dict(zip(names, FIRST_SECOND, strict=True))
    said = {"answer": words.get(values["answer"], values["answer"]), "left": words[values["left"]]}
    at, undone = _moment(values["at"]).timestamp(), bool(values.get("undone"))
    kept = {name: values.get(name) for name in ("submit", "labeller", "seconds")}
    return Vote(**kept, **said, pair=pair, at=at, undone=undone)


def _votes_problem(votes: Any, names: tuple[str, str], completions: int) -> str | None:
    if not isinstance(votes, list):
        return f"votes: got {type(votes).__name__}, expected a list"
    if votes and completions != 2:
        return f"votes: given beside {completions} completions; votes are about two"
    wrong = ((i, _vote_problem(vote, names)) for i, vote in enumerate(votes))
    return next((f"votes[{i}]: {problem}" for i, problem in wrong if problem), None)


def _vote_problem(vote: Any, names: tuple[str, str]) -> str | None:
    if not isinstance(vote, dict):
        return f"got {type(vote).__name__}, expected an object"
    for key in _VOTE:
        if not isinstance(vote.get(key), str) or not vote[key]:
            return f"{key}: got {vote.get(key)!r}, expected a text"
    if len(vote["labeller"]) > LONGEST_NAME or len(vote["submit"]) > LONGEST_NAME:
        return f"labeller and submit have at most {LONGEST_NAME} characters"
    answers = (*names, *ANSWERS[2:])
    if vote["answer"] not in answers:
        return f"answer: got {vote['answer']!r}, expected one of {', '.join(answers)}"
    if vote["left"] not in names:
        return f"left: got {vote['left']!r}, expected {names[0]} or {names[1]}"
    try:
        _moment(vote["at"])
    except ValueError:
        return f"at: got {vote['at']!r}, expected a moment such as 2026-11-22T18:30:05.250Z"
    seconds = vote.get("seconds")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0):
        return f"seconds: got {seconds!r}, expected a number from 0, or nothing"
    return None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment
