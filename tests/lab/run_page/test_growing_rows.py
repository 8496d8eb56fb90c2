"""A file of rows that somebody else writes: half lines, cuts, damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_up_runs import make_run, write_step

from rung.lab.run_page import opened_run as growing_rows
from rung.lab.run_page.opened_run import GrowingRows


def steps(answer: dict) -> list[int]:
    return [row["step"] for row in answer["rows"]]


def test_only_whole_lines_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = GrowingRows(path)
    assert rows.since(0, 0) == {"epoch": 0, "from": 0, "rows": [], "more": False, "problem": ""}
    path.write_text('{"step": 0, "loss": 1.5}\n{"step": 1, "lo')
    assert rows.since(0, 0)["rows"] == [{"step": 0, "loss": 1.5}]
    with path.open("a") as file:
        file.write('ss": null}\n')
    answer = rows.since(0, 1)
    assert (answer["epoch"], answer["from"], answer["rows"]) == (0, 1, [{"step": 1, "loss": None}])
    assert steps(rows.since(0, 0)) == [0, 1]  # somebody who comes later gets all
    assert steps(rows.since(0, 99)) == []


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rung.lab.run_page import opened_run as growing_rows

    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n')
    rows, parsed = GrowingRows(path), []
    whole = growing_rows.parse_row
    monkeypatch.setattr(growing_rows, "parse_row", lambda line, where: parsed.append(line) or whole(line, where))
    rows.since(0, 0)
    with path.open("a") as file:
        file.write('{"step": 1}\n')
    rows.since(0, 1)
    rows.since(0, 2)
    assert parsed == [b'{"step": 0}', b'{"step": 1}']


def test_a_resume_takes_rows_back(tmp_path: Path) -> None:
    files = make_run(tmp_path / "run", 4)
    rows = GrowingRows(tmp_path / "run" / "metrics.jsonl")
    assert steps(rows.since(0, 0)) == [1, 2, 3, 4]
    files.cut_back(2)
    answer = rows.since(0, 4)
    assert (answer["epoch"], answer["from"], steps(answer)) == (1, 0, [1, 2])
    write_step(files, 3, **{"reward/mean": 9.0})
    assert rows.since(1, 2)["rows"][0]["reward/mean"] == 9.0


def test_a_cut_that_was_overgrown_before_the_next_look_is_seen(tmp_path: Path) -> None:
    files = make_run(tmp_path / "run", 3)
    path = tmp_path / "run" / "metrics.jsonl"
    rows = GrowingRows(path)
    rows.since(0, 0)
    files.cut_back(1)
    for step in (2, 3, 4):
        write_step(files, step, **{"reward/mean": 7.0})
    answer = rows.since(0, 3)
    assert (answer["epoch"], steps(answer)) == (1, [1, 2, 3, 4])
    assert answer["rows"][2]["reward/mean"] == 7.0
    changed = path.read_bytes().replace(b"7.0", b"8.0")  # in place: the same file, the same size
    with path.open("r+b") as file:
        file.write(changed)
    assert rows.since(1, 4)["rows"][3]["reward/mean"] == 8.0


def test_a_damaged_line_ends_the_reading_until_it_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n{"step": 1\n{"step": 2}\n')
    rows = GrowingRows(path)
    answer = rows.since(0, 0)
    assert steps(answer) == [0] and "metrics.jsonl, row 2: not a line of metrics" in answer["problem"]
    path.write_text('{"step": 0}\n{"step": 1}\n{"step": 2}\n')
    answer = rows.since(0, 1)
    assert (steps(answer), answer["problem"]) == ([1, 2], "")


@pytest.mark.parametrize("line", ['{"step": NaN}', '{"step": "1"}', '{"loss": 1}', '{"step": 1.5}', "[1]", "[" * 99999])
def test_lines_that_are_no_rows(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{line}\n")
    answer = GrowingRows(path).since(0, 0)
    assert answer["rows"] == [] and "what follows is not shown" in answer["problem"]


def test_hostile_names_can_be_seen_and_unreadable_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "reward/\\u202e<b>": 1}\n')
    assert list(GrowingRows(path).since(0, 0)["rows"][0]) == ["step", "reward/\\u202e<b>"]
    path.unlink()
    path.mkdir()
    assert "metrics.jsonl: cannot be read" in GrowingRows(path).since(0, 0)["problem"]


def test_many_rows_come_in_several_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing_rows, "MOST_AT_ONCE", 3)
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {step}}}{os.linesep}' for step in range(7)))
    rows, got, more = GrowingRows(path), [], True
    while more:
        answer = rows.since(0, len(got))
        got += steps(answer)
        more = answer["more"]
        assert len(answer["rows"]) <= 3
    assert got == list(range(7))
