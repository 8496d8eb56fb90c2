"""Export by the stated rule, and that what goes out comes in again unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from rung.errors import SettingsError
from rung.lab.labels.comparison import Vote, agreement_of, left_share, verdict, verdicts
from rung.lab.labels.comparison_rows import read_comparisons
from rung.lab.labels.store import LabelStore, export_labelled, export_votes


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("", "unlabelled"),
        ("u uu", "unsure"),
        ("1", "first"),
        ("2 2 1", "second"),
        ("1 2", "even"),
        ("1 2 t", "even"),
        ("1 1 2 2 t", "even"),
        ("t", "tie"),
        ("t t 1", "tie"),
        ("1 t", "even"),
        ("1 u u u", "first"),
        ("1 2 2 u t", "second"),
    ],
)
def test_the_rule(answers: str, expected: str) -> None:
    words = {"1": "first", "2": "second", "t": "tie", "u": "unsure"}
    assert verdict([words[mark] for mark in answers.replace(" ", "")]) == expected  # type: ignore[misc]


def label_all(store: LabelStore, vote: Callable[..., Vote]) -> None:
    """p0: second by two to one; p1: first, once undone; p2: tie; p3: can't tell."""
    store.record(vote("p0", "anna", "first"))
    store.record(vote("p0", "ben", "second"))
    store.record(vote("p0", "cleo", "second", seconds=4.5))
    store.record(vote("p1", "anna", "second"))
    store.undo("anna", "undo-1")
    store.record(vote("p1", "anna", "first"))
    store.record(vote("p2", "anna", "tie"))
    store.record(vote("p3", "anna", "unsure"))


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_export_has_the_usual_columns_and_counts_what_it_leaves_out(store, vote, tmp_path: Path, ending: str) -> None:
    label_all(store, vote)
    out = tmp_path / f"out{ending}"
    exported = export_labelled(store, out)
    assert exported == "2 pairs; left out: 1 tied, 1 that nobody could tell"
    rows = lines(out) if ending == ".jsonl" else pyarrow.parquet.read_table(out).to_pylist()
    assert [(row["id"], row["prompt"], row["chosen"], row["rejected"]) for row in rows] == [
        ("p0", "0+0=", "1", "0"),
        ("p1", "1+1=", "2", "3"),
    ]
    assert [vote["answer"] for vote in rows[0]["votes"]] == ["rejected", "chosen", "chosen"]
    assert [vote["undone"] for vote in rows[1]["votes"]] == [True, False]
    assert not list(tmp_path.glob("*.aside"))


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("export", [export_labelled, export_votes])
def test_what_goes_out_comes_in_again(store, vote, tmp_path: Path, ending: str, export: Any) -> None:
    label_all(store, vote)
    out = tmp_path / f"out{ending}"
    export(store, out)
    file = read_comparisons(out)
    with LabelStore(tmp_path / "again.labels") as again:
        again.take_in(file)
        kept = {pair.id for pair in file.pairs}
        seen = [vote for vote in store.votes() if vote.pair in kept]
        key = lambda vote: vote.submit  # noqa: E731
        found = sorted(again.votes(), key=key)
        if export is export_votes:
            assert list(again.pairs()) == list(store.pairs())
            assert found == sorted(seen, key=key)
            assert verdicts(again.standing()) == verdicts(store.standing())
            assert agreement_of(again.standing()) == agreement_of(store.standing())
        else:  # the chosen one now stands first
            assert set(verdicts(again.standing()).values()) == {"first"}
            assert [(v.submit, v.labeller, v.at, v.seconds, v.undone) for v in found] == [
                (v.submit, v.labeller, v.at, v.seconds, v.undone) for v in sorted(seen, key=key)
            ]
        assert left_share(again.standing()) == left_share(vote for vote in store.standing() if vote.pair in kept)


def test_messages_and_other_columns_go_out_as_they_came(tmp_path: Path, pairs_file) -> None:
    messages = [{"role": "user", "content": "hé\u202e?"}]
    answers = [[{"role": "assistant", "content": text}] for text in ("a", "b")]
    row = {"id": "m", "prompt": messages, "chosen": answers[0], "rejected": answers[1], "level": 3, "tags": ["x"]}
    for ending in (".jsonl", ".parquet"):
        with LabelStore(tmp_path / f"m{ending}.labels") as store:
            store.take_in(read_comparisons(pairs_file([row])))
            left = store.left_of("m", "anna")
            store.record(Vote(submit="s-1", pair="m", labeller="anna", answer="second", left=left, at=1.5))
            export_labelled(store, tmp_path / f"out{ending}")
        out = tmp_path / f"out{ending}"
        (found,) = lines(out) if ending == ".jsonl" else pyarrow.parquet.read_table(out).to_pylist()
        assert (found["chosen"], found["rejected"]) == (answers[1], answers[0])
        assert (found["prompt"], found["level"], found["tags"]) == (messages, 3, ["x"])


def test_training_reads_the_export_as_a_task_file(store, vote, tmp_path: Path) -> None:
    from rung.tasks.rows import read_rows

    label_all(store, vote)
    export_labelled(store, tmp_path / "out.jsonl")
    assert [row.columns["chosen"] for row in read_rows(tmp_path / "out.jsonl")] == ["1", "2"]


def test_a_file_that_cannot_be_written_is_said(store, vote, tmp_path: Path, pairs_file) -> None:
    with pytest.raises(SettingsError, match=r"nothing to write to .*: 0 pairs; left out: 4 not labelled"):
        export_labelled(store, tmp_path / "out.jsonl")
    label_all(store, vote)
    with pytest.raises(SettingsError, match=r"--export: got .*out.csv, expected a name that ends in .jsonl"):
        export_labelled(store, tmp_path / "out.csv")
    with pytest.raises(SettingsError, match=r"--votes: .*there is no folder"):
        export_votes(store, tmp_path / "no" / "out.jsonl")
    mixed = [{"id": "x", "prompt": "text", "completions": ["a", "b"]}]
    mixed += [{"id": "y", "prompt": [{"role": "user", "content": "m"}], "completions": ["a", "b"]}]
    store.take_in(read_comparisons(pairs_file(mixed)))
    with pytest.raises(SettingsError, match=r"a Parquet column holds values of one kind.*write a .jsonl file"):
        export_votes(store, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists() and not list(tmp_path.glob("*.aside"))


def test_sides_and_their_words(store, vote) -> None:
    label_all(store, vote)
    standing = store.standing()
    assert sum(vote.side is not None for vote in standing) == 4
    by_hand = sum(
        store.left_of(p, who) == a
        for p, who, a in [
            ("p0", "anna", "first"),
            ("p0", "ben", "second"),
            ("p0", "cleo", "second"),
            ("p1", "anna", "first"),
        ]
    )
    assert left_share(standing) == f"{100 * by_hand / 4:.0f} % of 4 choices"
    on_the_left = replace(standing[0], answer="first", left="first")
    assert left_share([]) == "no choice yet" and left_share([on_the_left]) == "100 % of 1 choice"
