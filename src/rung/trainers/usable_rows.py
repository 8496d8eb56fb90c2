"""Rows that the model can take: before anything is trained each of them is encoded once.

A row is a prompt, with the answers that are learnt from where it has any. What the tokenizer, the chat template or the
context cannot take is named with file and row, or left out and counted where `task.skip_bad_rows` says so. What was
found is kept in the cache by the content of rows, tokenizer and lengths, so that a second start is quick.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from rung.errors import DataError, SettingsError
from rung.models.language.load import as_reader, read_tokens
from rung.models.language.text_reader import Encoded, TextReader
from rung.models.language.tiny import CHARACTERS, tiny_reader
from rung.rewards.reward import Prompt
from rung.settings import Settings
from rung.settings.objects import GIVEN
from rung.tasks.pairs import PairTask
from rung.tasks.task import Lazy, TextTask
from rung.trainers.handed import Handed
from rung.trainers.kind import Kind
from rung.whole_files import cache_folder, write_whole

AT_ONCE = 256
MADE = 1024
"""Of rows that are made when they are asked for this many are looked at, evenly spread; all where some may be left
out."""
LISTED = 10
VERSION = 1
"""Counts up whenever the same rows would be judged otherwise, so that nothing stale is used."""

T = TypeVar("T", TextTask, PairTask)


class Row(Protocol):
    """An item, a worked example, a pair."""

    @property
    def prompt(self) -> Prompt: ...

    @property
    def answers(self) -> tuple[str, ...]: ...

    @property
    def place(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Usable(Generic[T]):
    """A task less the rows that were left out. Example: 60 of 61 rows, the longest prompt has 212 tokens."""

    task: T
    longest: int
    """Tokens of the longest prompt."""
    notes: tuple[str, ...]
    """What was found, in sentences; `task.notes()` has them too."""


@dataclass(kw_only=True)
class _Found:
    """What is said of a sequence of rows."""

    rows: int = 0
    longest: int = 0
    wrong: dict[int, str] = field(default_factory=dict[int, str])
    ends: list[int] = field(default_factory=list[int])
    unknown: list[int] = field(default_factory=list[int])

    def take(self, index: int, one: Encoded | str, room: int, new_tokens: int) -> None:
        """Notes one row. `room`: the model's context."""
        if isinstance(one, str):
            self.wrong[index] = one
            return
        length = len(one.prompt)
        if one.answers and one.longest > room:
            self.wrong[index] = (
                f"prompt and answer have {one.longest:,} tokens, expected at most {room:,} (the model's context); "
                "shorten them"
            )
        elif not one.answers and length + new_tokens > room:
            self.wrong[index] = (
                f"the prompt has {length:,} tokens, expected at most {room - new_tokens:,} (context {room:,} - "
                f"max_new_tokens {new_tokens:,}); shorten it or lower max_new_tokens"
            )
        else:
            self.longest = max(self.longest, length)
            self.ends += [index] * one.end_taken_off
            self.unknown += [index] * one.unknown


def usable(
    task: T,
    reader: TextReader,
    *,
    new_tokens: int = 0,
    skip: bool = False,
    sides: Sequence[str] = ("train", "held_out"),
) -> Usable[T]:
    """The task with rows that this reader can take, and room for `new_tokens` after each prompt.

    Args:
        skip: leave out the others, and say so.
        sides: the fields of the task whose rows are looked at.

    Raises:
        DataError: with file, row, what is wrong and what to do; or no row of a side is left.
        SettingsError: no prompt has room for `new_tokens`.
    """
    room = reader.context_length
    if new_tokens >= room:
        raise SettingsError(
            f"max_new_tokens: got {new_tokens}, but the model's context of {room} tokens holds prompt and completion "
            "together"
        )
    looked = {side: getattr(task, side) for side in sides}
    found = {side: _looked_at(rows, reader, new_tokens, skip) for side, rows in looked.items()}
    wrong = [(_name(looked[side], i), words) for side, one in found.items() for i, words in one.wrong.items()]
    total = sum(one.rows for one in found.values())
    emptied = any(one.rows and len(one.wrong) == one.rows for one in found.values())
    if wrong and (not skip or emptied):
        hint = "" if emptied else "; task.skip_bad_rows=true (--skip-bad-rows) leaves them out"
        raise DataError([*_listed(wrong), f"{task.name}: {len(wrong):,} of {total:,} rows cannot be used{hint}"])
    notes: list[str] = []
    if wrong:
        notes.append(f"{len(wrong):,} of {total:,} rows are left out (task.skip_bad_rows): {'; '.join(_listed(wrong))}")
    for what, places in (
        ("have an answer that ends with the model's own end token; it is taken off, as each gets exactly one", "ends"),
        (f"hold characters that the tokenizer does not know and reads as {reader.tokenizer.unk_token}", "unknown"),
    ):
        those = [(side, index) for side, one in found.items() for index in getattr(one, places)]
        if those:
            side, index = those[0]
            notes.append(f"{len(those):,} of {total:,} rows {what} (first: {_name(looked[side], index)})")
    kept = {side: _without(looked[side], one.wrong) for side, one in found.items() if one.wrong}
    return Usable(
        task=dataclasses.replace(task, **kept, said=(*task.said, *notes)),
        longest=max((one.longest for one in found.values()), default=0),
        notes=tuple(notes),
    )


def usable_in_run(settings: Settings, kind: Kind, task: Any, handed: Handed) -> Usable[Any] | None:
    """`usable` for a run's settings; None where its model reads no rows."""
    if not kind.reads_text or not isinstance(task, TextTask | PairTask):
        return None
    new_tokens = 0 if kind.stored_pairs else settings.max_new_tokens
    found = usable(
        task,
        reader_for(settings.model, task, handed),
        new_tokens=new_tokens,
        skip=settings.task.skip_bad_rows,
    )
    if settings.teacher is not None:
        room = reader_for(settings.teacher, task, handed, teacher=True).context_length
        if found.longest + new_tokens > room:
            raise SettingsError(
                f"teacher: its context holds {room:,} tokens, but the longest prompt has {found.longest:,} and "
                f"max_new_tokens is {new_tokens:,}; choose a teacher with a longer context or lower max_new_tokens"
            )
    return found


def reader_for(
    model: str, task: TextTask | PairTask, handed: Handed | None = None, *, teacher: bool = False
) -> TextReader:
    """How a run's model, or its teacher, reads text, by its name in the settings; no weight is loaded."""
    if handed is not None and model.startswith(GIVEN):
        return as_reader(handed.model(model, teacher=teacher))
    if model == "tiny":
        return tiny_reader(getattr(task, "characters", None) or CHARACTERS)
    return read_tokens(model)


def _listed(wrong: Sequence[tuple[str, str]]) -> list[str]:
    """Rows with what is wrong with them, those with the same trouble together, ten of each at most."""
    by_words: dict[str, list[str]] = {}
    for name, words in wrong:
        by_words.setdefault(words, []).append(name)
    said: list[str] = []
    for words, (first, *others) in list(by_words.items())[:LISTED]:
        more = f" and {len(others) - LISTED:,} more" if len(others) > LISTED else ""
        same = f" (the same: {', '.join(others[:LISTED])}{more})" if others else ""
        said.append(f"{first}: {words}{same}")
    return said


def _name(rows: Sequence[Any], index: int) -> str:
    row = rows[index]
    return row.place or f"item {getattr(row, 'id', index)!r}"


def _without(rows: Sequence[Any], wrong: dict[int, str]) -> Sequence[Any]:
    kept = [index for index in range(len(rows)) if index not in wrong]
    if isinstance(rows, Lazy):
        return Lazy(len(kept), lambda i: rows[kept[i]])
    return tuple(rows[index] for index in kept)


def _looked_at(rows: Sequence[Row], reader: TextReader, new_tokens: int, skip: bool) -> _Found:
    """What is found of the rows, from the cache where the same was asked before."""
    few = isinstance(rows, Lazy) and not skip and len(rows) > MADE
    picks = range(0, len(rows), -(-len(rows) // MADE)) if few else range(len(rows))
    chosen = [rows[index] for index in picks]
    digest = hashlib.sha256(_tokenizer_print(reader))
    digest.update(json.dumps([new_tokens, reader.context_length, reader.num_embeddings, reader.end_ids]).encode())
    for row in chosen:
        digest.update(json.dumps([row.prompt, row.answers]).encode() + b"\n")
    file = cache_folder() / "rows" / f"{digest.hexdigest()[:32]}.json"
    found = _kept(file)
    if found is None or found.rows != len(chosen):
        found = _Found(rows=len(chosen))
        for index, one in enumerate(_encoded(chosen, reader)):
            found.take(index, one, reader.context_length, new_tokens)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time at the next start, nothing else
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(vars(found)).encode())
    found.wrong = {picks[index]: words for index, words in found.wrong.items()}
    found.ends, found.unknown = [picks[index] for index in found.ends], [picks[index] for index in found.unknown]
    return found


def _kept(file: Path) -> _Found | None:
    """What the cache's file holds; None where it holds nothing that can be used, so that it is made again."""
    try:
        return TypeAdapter(_Found).validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _encoded(rows: Sequence[Row], reader: TextReader) -> Iterator[Encoded | str]:
    starts = range(0, len(rows), AT_ONCE)
    for first in tqdm(starts, desc="reading rows", unit=f" x {AT_ONCE} rows", delay=2, disable=None, leave=False):
        yield from reader.encode_rows([(row.prompt, row.answers) for row in rows[first : first + AT_ONCE]])


def _tokenizer_print(reader: TextReader) -> bytes:
    """All that decides how a text is read."""
    tokenizer = reader.tokenizer
    whole = getattr(tokenizer, "backend_tokenizer", None)
    text = whole.to_str() if whole is not None else json.dumps([type(tokenizer).__name__, tokenizer.get_vocab()])
    template, marks = tokenizer.chat_template, tokenizer.special_tokens_map
    versions = (VERSION, version("transformers"), version("tokenizers"))
    return json.dumps([versions, text, template, marks], default=str, sort_keys=True).encode()
