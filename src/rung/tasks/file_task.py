"""A task from a JSONL or Parquet file.

Columns: `prompt` (text, or messages), and as wanted `answer` (judged by the math answer check), `completion` (a
worked example for SFT), `id` (else the row's number), and anything else, which a user's reward receives.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.random import keyed_share
from rung.rewards.math_answer import MathAnswer
from rung.rewards.reward import WeightedReward
from rung.tasks.prompts import repeated, without_prompt
from rung.tasks.rows import P, Problems, Prompted, Row, read_rows
from rung.tasks.task import Example, Item, TextTask


def file_task(
    path: str | Path,
    *,
    seed: int = 0,
    held_out: float = 0.1,
    held_out_file: str | Path | None = None,
    skip_bad_rows: bool = False,
    stop: Sequence[str] = (),
) -> TextTask:
    """The task of a .jsonl or .parquet file.

    Args:
        seed: not used; which rows are held out depends on their ids alone, so that runs can be compared.
        held_out: the share of prompts kept from training, by a hash of the row's id; at least one. Rows with one
            prompt stay on one side: that of the first of them. 0: none.
        held_out_file: a second file that is the held-out side; then every row of the first is trained on.
        skip_bad_rows: leave out rows that cannot be used, and warn of how many, instead of refusing the file.
        stop: an answer ends at the first token whose text contains one of these, as `["."]`, for models that do not
            end by themselves.

    SettingsError where a file is missing or a side would be empty; DataError for rows that cannot be used.
    """
    path = Path(path)
    if "" in stop:
        raise SettingsError("stop: got an empty text, which every token contains; expected texts as '.'")
    train, held, said = two_sides(path, held_out, held_out_file, lambda file: _rows(file, skip_bad_rows))
    keys = {prompt_key(row) for row in train}
    shared = [row.number for row in held if prompt_key(row) in keys]
    if shared:
        what = f"{len(shared)} of {len(held)} prompts of {held_out_file} are also in {path} (first: row {shared[0]})"
        warnings.warn(f"{what}: the held-out score counts what was trained on", UserWarning, stacklevel=2)
    has_answer = any("answer" in row.columns for row in (train if held_out_file else [*train, *held]))
    examples, shortened = _examples(path, train, skip_bad_rows)
    return TextTask(
        name=path.stem,
        train=tuple(map(_item, train)),
        held_out=tuple(map(_item, held)),
        rewards=(WeightedReward(reward=MathAnswer()),) if has_answer else (),
        examples=examples,
        stop=tuple(stop),
        said=(*said, *shortened),
    )


def _rows(path: Path, skip_bad: bool) -> tuple[list[Row], tuple[str, ...]]:
    """The rows, and what is to be said of their columns."""
    problems = Problems(path)
    rows = read_rows(path, skip_bad=skip_bad, problems=problems)
    others = dict.fromkeys(name for row in rows for name in row.columns if name not in ("answer", "completion"))
    return rows, problems.notes(others, " (rewards of your own are given them)")


def _item(row: Row) -> Item:
    return Item(id=row.id, prompt=row.prompt, columns=row.columns, place=row.place)


def two_sides(
    path: Path, share: float, held_out_file: str | Path | None, read: Callable[[Path], tuple[list[P], tuple[str, ...]]]
) -> tuple[list[P], list[P], tuple[str, ...]]:
    """Train and held-out rows, of two files or of one that is split, and what is to be said of them."""
    if not 0 <= share < 1:
        raise SettingsError(f"held_out: got {share}, expected a share from 0 to below 1")
    rows, said = read(path)
    if held_out_file is None:
        return (*split_by_prompt(path, rows, share), said)
    held, more = read(Path(held_out_file))
    return rows, held, (*said, *more)


def split_by_prompt(path: Path, rows: Sequence[P], share: float) -> tuple[list[P], list[P]]:
    """Train and held-out rows, by the hash of the first id among the rows of one prompt. The smallest hash is always
    held out. SettingsError when there is one prompt only."""
    if share == 0:
        return list(rows), []
    first_id: dict[Any, str] = {}
    for row in rows:
        first_id.setdefault(prompt_key(row), row.id)
    if len(first_id) < 2:
        raise SettingsError(
            f"held_out: {path} has one prompt, which cannot be split; give held_out_file=FILE, or held_out=0 for none"
        )
    places = {key: keyed_share("held-out row", row_id) for key, row_id in first_id.items()}
    limit = max(share, min(places.values()) * (1 + 1e-12))
    chosen = {key for key, place in places.items() if place <= limit}
    if len(chosen) == len(places):
        chosen.discard(max(places, key=lambda key: places[key]))
    train = [row for row in rows if prompt_key(row) not in chosen]
    return train, [row for row in rows if prompt_key(row) in chosen]


def prompt_key(row: Prompted) -> Any:
    """The prompt as a key: equal for equal prompts."""
    prompt = row.prompt
    return prompt if isinstance(prompt, str) else tuple((m["role"], m["content"]) for m in prompt)


def _examples(path: Path, rows: Sequence[Row], skip_bad: bool) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """The worked examples, and what was done to them."""
    examples, problems, shortened = [], Problems(path), 0
    for row in rows:
        completion = row.columns.get("completion")
        if completion is None:
            continue
        text = completion_text(completion)
        if text:
            own = without_prompt(row.prompt, text)
            shortened += own != text
            examples.append(Example(prompt=row.prompt, completion=own, place=row.place))
        else:
            problems.add(row.number, "completion: expected a text or one assistant message, not empty")
    if not skip_bad:
        problems.raise_any()
    elif problems.count:
        what = f"{problems.count} worked examples are skipped (skip_bad_rows): {problems.listed[0]}"
        warnings.warn(what, UserWarning, stacklevel=3)
    return tuple(examples), repeated(path, shortened)


def completion_text(completion: Any) -> str | None:
    """The text of a completion, or of a list of one assistant message; None when it is neither."""
    if isinstance(completion, list) and len(completion) == 1 and isinstance(completion[0], dict):
        message = completion[0]
        completion = message.get("content") if message.get("role") == "assistant" else None
    return completion if isinstance(completion, str) else None
