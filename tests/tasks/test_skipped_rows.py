"""Bad rows are refused, or skipped with their number said; never silently."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from rung.errors import DataError
from rung.tasks.file_task import file_task
from rung.tasks.rows import read_rows

ROWS = """{"prompt": "a", "answer": "1", "id": "x"}
{"prompt": "b", "answer": "2"
{"question": "c"}
{"prompt": "d", "answer": "4", "id": "x"}
{"prompt": "e", "answer": "5"}
"""


def file_of(folder: Path, text: str = ROWS) -> Path:
    (folder / "rows.jsonl").write_text(text)
    return folder / "rows.jsonl"


def test_the_default_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:2"):
        read_rows(file_of(tmp_path))


def test_skipped_rows_are_counted_and_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"3 of 5 rows are skipped .*rows.jsonl:2: .*:3: .*'prompt'.*:4: id 'x'"):
        rows = read_rows(file_of(tmp_path), skip_bad=True)
    assert [(row.number, row.prompt) for row in rows] == [(1, "a"), (5, "e")]


def test_the_task_keeps_what_is_left(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="3 of 5 rows"):
        task = file_task(file_of(tmp_path), skip_bad_rows=True, held_out=0.0)
    assert len(task.train) == 2


def test_nothing_is_said_of_a_sound_file(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_rows(file_of(tmp_path, '{"prompt": "a"}\n'), skip_bad=True)) == 1


@pytest.mark.parametrize("text", ['{"question": "c"}\n', "", "\x1f\x8b"])
def test_what_is_wrong_with_the_whole_file_stays_an_error(tmp_path: Path, text: str) -> None:
    file = file_of(tmp_path)
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError):
        read_rows(file, skip_bad=True)


def test_a_bad_worked_example_is_skipped_too(tmp_path: Path) -> None:
    file = file_of(tmp_path, '{"prompt": "a", "completion": "1"}\n{"prompt": "b", "completion": ""}\n')
    with pytest.raises(DataError, match="completion"):
        file_task(file, held_out=0.0)
    with pytest.warns(UserWarning, match="1 worked examples are skipped"):
        assert len(file_task(file, held_out=0.0, skip_bad_rows=True).examples) == 1
