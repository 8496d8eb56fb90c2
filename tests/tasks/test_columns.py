"""Columns that nothing uses refuse no row and are said; one that is used is named with its row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from rung.errors import DataError
from rung.tasks.load import load_pairs, load_task
from rung.tasks.task import TextTask

TIMES = pyarrow.array([1, 2, 10**17 + 1], pyarrow.int64()).cast(pyarrow.timestamp("ns"))


def parquet(folder: Path, **columns: Any) -> str:
    path = folder / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["1+1=", "1+2=", "1+3="], **columns}), path)
    return str(path)


def jsonl(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


UNFIT = {
    "not a number": [1.0, float("nan"), 2.0],
    "infinite": [float("inf"), 1.0, 2.0],
    "decimal": [Decimal("1.5"), None, None],
    "bytes": [b"a", b"\xff", None],
    "date": [date(2026, 1, 1)] * 3,
    "time": [time(1, 2)] * 3,
    "zoned": [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
    "nanoseconds": TIMES,
    "nested": [[{"at": date(2026, 1, 1)}]] * 3,
    "not text": pyarrow.Array.from_buffers(
        pyarrow.string(), 3, pyarrow.array([b"a", b"\xff\xfe", b"b"], pyarrow.binary()).buffers()
    ),
    "far": pyarrow.array([1, 10**14, 3], pyarrow.int64()).cast(pyarrow.timestamp("s")),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_is_no_json_value_is_left_out_and_said(tmp_path: Path, kind: str) -> None:
    task = load_task(parquet(tmp_path, answer=[2, 3, 4], odd=UNFIT[kind], topic=["a"] * 3), held_out=0)
    assert isinstance(task, TextTask)
    assert [dict(item.columns) for item in task.train] == [{"answer": n, "topic": "a"} for n in (2, 3, 4)]
    unused, left_out = task.notes()
    assert unused.endswith("columns that are not used: 'topic' (rewards of your own are given them)")
    assert "because they hold what is no JSON value: 'odd' (row " in left_out


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("name", ["answer", "completion"])
def test_a_used_column_is_named_with_its_row(tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(DataError, match=rf"rows.parquet:[123]: {name}: (is no JSON value|expected a text)"):
        load_task(parquet(tmp_path, **{name: UNFIT[kind]}), held_out=0)


def test_a_prompt_that_cannot_be_read_is_named_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": UNFIT["not text"]}), path)
    with pytest.raises(DataError, match=r"rows.parquet:2: prompt: got"):
        load_task(str(path), held_out=0)


@pytest.mark.parametrize("ids", [["x", None, "z"], [None] * 3, [float("nan")] * 3])
def test_a_missing_id_is_the_rows_number(tmp_path: Path, ids: list[Any]) -> None:
    task = load_task(parquet(tmp_path, id=ids), held_out=0)
    assert [item.id for item in task.train] == [a if isinstance(a, str) else str(n + 1) for n, a in enumerate(ids)]


def test_json_with_nan_as_python_writes_it(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"prompt": "1+1=", "answer": 2, "score": float("nan")}, {"prompt": "1+2=", "answer": 3}])
    task = load_task(path, held_out=0)
    assert [dict(item.columns) for item in task.train] == [{"answer": 2}, {"answer": 3}]
    assert "'score' (row 1: Out of range float values" in task.notes()[0]


def test_tools_and_images_are_said_once(tmp_path: Path) -> None:
    rows = [{"prompt": f"<image> {n}+1=", "images": ["a.png"], "tools": [{"name": "sum"}]} for n in range(20)]
    assert load_task(jsonl(tmp_path, rows)).notes() == (
        f"{tmp_path}/rows.jsonl: columns that are not used: 'images', 'tools' (rewards of your own are given them)",
    )
    pairs = [{"prompt": f"{n}+1=", "chosen": "a", "rejected": "b", "images": ["a.png"], "at": n} for n in range(20)]
    assert load_pairs(jsonl(tmp_path, pairs)).notes() == (
        f"{tmp_path}/rows.jsonl: columns that are not used: 'images', 'at'",
    )
    plain = [{"id": f"r{n}", "prompt": f"{n}+1=", "answer": n, "completion": "a"} for n in range(20)]
    assert load_task(jsonl(tmp_path, plain)).notes() == ()


def test_answers_that_repeat_their_prompt_are_learnt_without_it(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}+1=", "chosen": f"{n}+1={n + 1}", "rejected": f" {n}"} for n in range(8)]
    task = load_pairs(jsonl(tmp_path, rows), held_out=0)
    assert [(pair.chosen, pair.rejected) for pair in task.train] == [(str(n + 1), f" {n}") for n in range(8)]
    assert task.notes() == (f"{tmp_path}/rows.jsonl: 8 answers began with their prompt, which is taken off",)
    rows = [{"prompt": f"{n}+1=", "completion": f"{n}+1= {n + 1}"} for n in range(8)]
    task = load_task(jsonl(tmp_path, rows), held_out=0)
    assert [one.completion for one in task.examples] == [f" {n + 1}" for n in range(8)]
    assert "8 answers began with their prompt" in task.notes()[0]


@pytest.mark.parametrize(
    ("prompt", "chosen"),
    [
        ("Q", "Quite so"),  # two letters alike are chance
        ("echo", "echo"),  # nothing would be left
        ("2+3=", "It is: 2+3=5"),
        ([{"role": "user", "content": "def f(x):"}], "def f(x):\n    return x"),  # who answers may quote
    ],
)
def test_other_answers_stay_as_they_are(tmp_path: Path, prompt: Any, chosen: str) -> None:
    task = load_pairs(jsonl(tmp_path, [{"prompt": prompt, "chosen": chosen, "rejected": "no"}]), held_out=0)
    assert task.train[0].chosen == chosen and task.notes() == ()


def test_bad_pairs_are_left_out_where_that_is_wanted(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "b"}])
    with pytest.raises(DataError, match=r"rows.jsonl:2: has no column 'rejected'"):
        load_pairs(path, held_out=0)
    with pytest.warns(UserWarning, match="1 of 2 rows are skipped"):
        assert len(load_pairs(path, held_out=0, skip_bad_rows=True).train) == 1
