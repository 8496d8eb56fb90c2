"""Files of pairs, votes, clips and stores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rung.lab.labels.comparison import Answer, Vote, Which
from rung.lab.labels.comparison_rows import read_comparisons
from rung.lab.labels.store import LabelStore


@pytest.fixture
def pairs_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows to a JSONL file."""

    def write(rows: Sequence[dict[str, Any]], name: str = "pairs.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def some_rows(n: int) -> list[dict[str, Any]]:
    return [{"id": f"p{i}", "prompt": f"{i}+{i}=", "completions": [f"{2 * i}", f"{2 * i + 1}"]} for i in range(n)]


@pytest.fixture
def rows() -> Callable[[int], list[dict[str, Any]]]:
    return some_rows


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(pairs_file: Callable[..., Path], clock: Clock) -> Iterator[LabelStore]:
    """A store with the pairs p0 to p3, whose clock stands."""
    path = pairs_file(some_rows(4))
    with LabelStore(path.with_name("pairs.jsonl.labels"), now=clock) as it:
        it.take_in(read_comparisons(path))
        yield it


@pytest.fixture
def vote(store: LabelStore) -> Callable[..., Vote]:
    """A vote that the store takes: as shown, with an id of its own."""
    made = iter(range(1000))

    def build(pair: str, labeller: str = "anna", answer: Answer = "first", **other: Any) -> Vote:
        left: Which = store.left_of(pair, labeller)
        return Vote(
            **{"submit": f"submit-{next(made)}", "left": left, "at": store.now(), **other},
            pair=pair,
            labeller=labeller,
            answer=answer,
        )

    return build
