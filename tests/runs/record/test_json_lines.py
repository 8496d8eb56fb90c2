from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.errors import DataError
from rung.runs.record.files import JsonLines, cut_rows, encode_row, plain_row, read_rows


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def lines(tmp_path: Path, said: list[str]) -> JsonLines:
    return JsonLines(tmp_path / "metrics.jsonl", sync=True, say=said.append)


class FullDisk:
    """`os.write` that takes `room` more bytes and then has no space left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room, self.write = room, os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, handle: int, data: Any) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(data)[: self.room]
        self.room -= len(part)
        return self.write(handle, part)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield lambda room: FullDisk(monkeypatch, room)


def test_a_row_is_one_sorted_line_with_exact_floats() -> None:
    row = plain_row({"step": 3, "b": 0.1, "a": None, "c": np.float32(0.1), "d": np.int64(7)})
    assert encode_row(row) == b'{"a": null, "b": 0.1, "c": 0.10000000149011612, "d": 7, "step": 3}\n'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_value_that_is_not_finite_is_null_and_named(value: float) -> None:
    assert plain_row({"step": 1, "grad/norm": value}) == {"step": 1, "grad/norm": None, "nonfinite/grad/norm": 1}


@pytest.mark.parametrize(
    "row", [{}, {"step": 1.5}, {"step": 1, "x": "y"}, {"step": 1, "x": True}, {"step": 1, "x": []}]
)
def test_a_row_of_anything_but_numbers_is_our_own_mistake(row: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        plain_row(row)


@given(st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=6))
def test_numbers_come_back_exactly(values: dict[str, float | None]) -> None:
    row = {**values, "step": 4}
    assert json.loads(encode_row(plain_row(row))) == row


def test_rows_are_appended_and_read_again(lines: JsonLines) -> None:
    for step in range(3):
        assert lines.append({"step": step, "loss": step / 3}) == {"step": step, "loss": step / 3}
    found = read_rows(lines.path)
    assert found.problems == []
    assert found.rows == [{"step": step, "loss": step / 3} for step in range(3)]
    assert lines.problems() == []


def test_a_missing_file_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none.jsonl").rows == []
    assert cut_rows(tmp_path / "none.jsonl", 3) == ([], 0)


def test_a_half_written_last_line_is_dropped_and_said(lines: JsonLines) -> None:
    lines.append({"step": 1})
    with lines.path.open("ab") as file:
        file.write(b'{"step": 2, "lo')
    found = read_rows(lines.path)
    assert found.rows == [{"step": 1}]
    assert found.problems == ["metrics.jsonl: the last line was only half written (15 bytes) and is left out"]


def test_a_writer_goes_on_from_a_fresh_line(lines: JsonLines, said: list[str]) -> None:
    lines.append({"step": 1})
    with lines.path.open("ab") as file:
        file.write(b'{"step": 2, "lo')
    again = JsonLines(lines.path, sync=True, say=said.append)
    again.append({"step": 2})
    assert lines.path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'
    assert len(said) == 1 and "half written" in said[0]


@pytest.mark.parametrize(
    "line",
    [
        b"{]",
        b"[1]",
        b'{"step": NaN}',
        b'{"step": 1e999}',
        b'{"step": "1"}',
        b'{"a": true}',
        b"\xff",
        b"[" * 100_000,
        b"",
    ],
)
def test_a_damaged_line_in_the_middle_is_named_by_file_and_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 0}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: "):
        read_rows(path)


def test_cutting_keeps_the_bytes_of_what_stays(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    kept = b'{"step":0}\n{  "step" : 1, "x": 1.10}\n{"step": 2}\n'
    path.write_bytes(kept + b'{"step": 3}\n{"step": 4}\n{"st')
    assert cut_rows(path, 2) == ([0, 1, 2], 3)
    assert path.read_bytes() == kept
    before = path.stat().st_mtime_ns
    assert cut_rows(path, 2)[1] == 0
    assert path.stat().st_mtime_ns == before  # nothing to cut: not touched


def test_cutting_refuses_a_row_without_a_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"loss": 1}\n')
    with pytest.raises(DataError, match=r":1: got step None"):
        cut_rows(path, 2)


@pytest.mark.parametrize("room", [0, 1, 10, 25])
def test_a_full_disk_loses_no_row_and_leaves_no_partial_line(
    lines: JsonLines, said: list[str], full_disk: Any, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    lines.append({"step": 1})
    full_disk(room)
    lines.append({"step": 2, "loss": 0.123456789})
    full_disk(0)
    lines.append({"step": 3})
    assert lines.path.read_bytes() == b'{"step": 1}\n'
    assert len(said) == 1 and "No space left" in said[0] and "training goes on" in said[0]
    assert lines.problems() == ["metrics.jsonl: the last 2 rows could not be written to the disk"]
    monkeypatch.undo()
    lines.append({"step": 4})
    assert [row["step"] for row in read_rows(lines.path).rows] == [1, 2, 3, 4]
    assert len(said) == 2 and "again" in said[1]
    assert lines.problems() == ["metrics.jsonl: 2 writes failed; every row was written later"]


def test_a_sync_that_fails_counts_as_not_written(lines: JsonLines, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    lines.append({"step": 1})
    assert lines.path.read_bytes() == b"" and not lines.flush()
    monkeypatch.undo()
    assert lines.flush()
    assert read_rows(lines.path).rows == [{"step": 1}]


def test_what_a_failed_clean_up_left_behind_is_cut_before_the_next_write(
    lines: JsonLines, full_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines.append({"step": 1})
    cut = os.ftruncate
    calls = []

    def fail_second(handle: int, size: int) -> None:
        calls.append(size)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        cut(handle, size)

    monkeypatch.setattr(os, "ftruncate", fail_second)
    full_disk(5)
    lines.append({"step": 2})
    assert lines.path.read_bytes() == b'{"step": 1}\n{"ste'  # the clean-up failed too
    monkeypatch.undo()
    lines.append({"step": 3})
    assert [row["step"] for row in read_rows(lines.path).rows] == [1, 2, 3]


def test_a_file_size_limit_of_the_system_is_survived(tmp_path: Path) -> None:
    program = """
        import resource, sys
        from pathlib import Path
        from rung.runs.record.files import JsonLines, read_rows
        said = []
        lines = JsonLines(Path(sys.argv[1]), sync=True, say=said.append)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        for step in range(100):
            lines.append({"step": step, "loss": 1 / (step + 1)})
        before = read_rows(lines.path)
        assert lines.waiting and not before.problems and len(said) == 1, (len(lines.waiting), before.problems, said)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert lines.flush()
        assert [row["step"] for row in read_rows(lines.path).rows] == list(range(100))
        print("survived", len(before.rows))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "metrics.jsonl")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.startswith("survived"), done.stderr


def test_what_was_not_finite_is_counted_for_the_summary(lines: JsonLines) -> None:
    for step in (1, 2):
        lines.append({"step": step, "loss": math.nan})
    assert lines.problems() == ["loss was not finite in 2 steps and is null there in metrics.jsonl"]


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("precious")
    (tmp_path / "metrics.jsonl").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        JsonLines(tmp_path / "metrics.jsonl", sync=True)
    assert target.read_text() == "precious"
