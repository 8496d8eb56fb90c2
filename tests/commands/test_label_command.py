"""`rung label` as a user calls it: its errors, its exports, what it says."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = [
    {"id": "a", "prompt": "2+2=", "completions": ["4", "5"]},
    {"id": "b", "prompt": "3+3=", "completions": ["6", "6"]},
]
SAID = {"submit": "s-1", "labeller": "ben", "answer": "second", "left": "first", "at": "2026-01-02T03:04:05Z"}


@pytest.fixture
def pairs(in_folder: Path) -> Path:
    path = in_folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_export_writes_the_usual_columns_and_says_the_rule(rung, pairs: Path) -> None:
    pairs.write_text(json.dumps({**ROWS[0], "votes": [SAID]}) + "\n" + json.dumps(ROWS[1]) + "\n")
    done = rung("label", pairs, "--export", "out.jsonl", "--votes", "votes.parquet")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{pairs}: 1 pair (1 left out: 1 of two equal completions)",
        "votes.parquet: 1 pair with 1 vote",
        "out.jsonl: 1 pair",
        "chosen is the answer that most people gave; a can't-tell is no answer; ties and even votes are left out",
        "agreement: no pair has two answers yet",
    ]
    (row,) = map(json.loads, Path("out.jsonl").read_text().splitlines())
    assert (row["chosen"], row["rejected"], row["votes"][0]["labeller"]) == ("5", "4", "ben")
    assert rung("label", "votes.parquet", "--export", "again.jsonl").code == 0
    assert Path("again.jsonl").read_text() == Path("out.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no.jsonl"], "PAIRS: there is no file no.jsonl"),
        (["pairs.jsonl", "--labeller", "x", "--labeller", "x"], "--labeller: the same name is given twice"),
        (["pairs.jsonl", "--labeller", " "], "--labeller: got ' ', expected a name of 1 to 80 characters"),
        (["pairs.jsonl", "--labeller", "a\x1b[31m"], "--labeller: got 'a\\x1b[31m', expected a name"),
        (["pairs.jsonl", "--export", "pairs.jsonl"], "--export: pairs.jsonl is the file of the pairs itself"),
        (["pairs.jsonl", "--votes", "pairs.jsonl"], "--votes: pairs.jsonl is the file of the pairs itself"),
        (["pairs.jsonl", "--export", "out.jsonl"], "--export: nothing to write to out.jsonl: 0 pairs; left out: 1 not"),
        (["pairs.jsonl", "--labels", "no/such/place"], "--labels: no/such/place cannot be opened"),
        (["pairs.jsonl", "--labels", "pairs.jsonl"], "pairs.jsonl: is no labels file, or damaged"),
    ],
)
def test_wrong_use_is_told_with_exit_code_2(rung, pairs: Path, arguments: list[str], words: str) -> None:
    before = pairs.read_bytes()
    done = rung("label", *arguments)
    assert done.code == 2 and any(words in line for line in done.errors), done.err
    assert pairs.read_bytes() == before


def test_a_port_in_use_is_told_with_exit_code_2(rung, pairs: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = rung("label", pairs, "--port", port)
    assert done.code == 2
    assert done.errors == [
        f"--port: {port} is in use on 127.0.0.1; stop what uses it, name another, or 0 for any that is free"
    ]


def test_a_missing_extra_is_named(pairs: Path) -> None:
    """In a process of its own, where uvicorn cannot be found."""
    code = """
import sys
sys.modules["uvicorn"] = None
from rung.cli import main
sys.argv = ["rung", "label", "pairs.jsonl"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "the labelling page needs an optional dependency: pip install 'rung[pages]'" in done.stderr


def test_more_votes_than_people_and_pairs_that_went_are_warned_of(rung, pairs: Path) -> None:
    rung("label", pairs, "--votes", "votes.jsonl")
    pairs.write_text(json.dumps({"id": "c", "prompt": "x", "completions": ["1", "2"]}) + "\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = rung("label", pairs, "--votes-per-pair", "3", "--port", taken.getsockname()[1])
    assert "warning: --votes-per-pair 3 needs 3 people, and there is a link for 1; give --labeller NAME" in done.err
    assert f"warning: {pairs}.labels has 1 more, which are not in {pairs} any more; they stay in it" in done.err
