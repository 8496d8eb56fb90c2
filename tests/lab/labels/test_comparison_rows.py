"""What a file of pairs may hold, what is left out and counted, and what is refused with file and row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from rung.errors import DataError, SettingsError
from rung.lab.labels.comparison_rows import LONGEST, read_comparisons

MESSAGES = [{"role": "user", "content": "2+2?"}]
SAID = {"submit": "s-1", "labeller": "ben", "answer": "first", "left": "first", "at": "2026-01-02T03:04:05Z"}


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_texts_messages_and_both_kinds_of_columns(pairs_file: Callable[..., Path]) -> None:
    file = read_comparisons(
        pairs_file(
            [
                {"id": "a", "prompt": "2+2=", "completions": ["4", "5"], "level": 3},
                {"prompt": MESSAGES, "completions": [answer("4"), answer("5")]},
                {"id": 7, "prompt": MESSAGES, "chosen": answer("four"), "rejected": answer("five")},
                {"prompt": "x", "chosen": "y", "rejected": "z", "completions": None},
            ]
        )
    )
    assert [pair.id for pair in file.pairs] == ["a", "2", "7", "4"]
    assert file.pairs[0].completions == ("4", "5") and file.pairs[0].columns == {"level": 3}
    assert file.pairs[1].prompt == tuple(MESSAGES) and file.pairs[1].completions == (answer("4"), answer("5"))
    assert file.pairs[2].completions == (answer("four"), answer("five"))
    assert file.in_words() == "4 pairs" and not file.left_out


def test_every_two_of_several_completions_are_a_pair(pairs_file: Callable[..., Path]) -> None:
    file = read_comparisons(pairs_file([{"id": "q", "prompt": "x", "completions": ["a", "b", "c"]}]))
    assert [(pair.id, pair.completions) for pair in file.pairs] == [
        ("q/1-2", ("a", "b")),
        ("q/1-3", ("a", "c")),
        ("q/2-3", ("b", "c")),
    ]


def test_parquet_reads_as_jsonl_does(tmp_path: Path, pairs_file: Callable[..., Path]) -> None:
    rows = [
        {"id": "a", "prompt": MESSAGES, "completions": [answer("4"), answer("5")], "votes": [SAID]},
        {"id": "b", "prompt": MESSAGES, "completions": [answer("1"), answer("2")], "votes": []},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    one, two = read_comparisons(tmp_path / "pairs.parquet"), read_comparisons(pairs_file(rows))
    assert (one.pairs, one.votes, one.fingerprints) == (two.pairs, two.votes, two.fingerprints)
    assert len(one.votes) == 1


def test_identical_empty_and_endless_completions_are_left_out_and_counted(pairs_file: Callable[..., Path]) -> None:
    file = read_comparisons(
        pairs_file(
            [
                {"prompt": "a", "completions": ["same", "same"]},
                {"prompt": "b", "completions": ["", "text"]},
                {"prompt": "c", "chosen": " \n", "rejected": "text"},
                {"prompt": "d", "completions": [answer(""), answer("text")]},
                {"prompt": "e", "completions": ["x" * (LONGEST + 1), "text"]},
                {"prompt": "f", "completions": ["x" * LONGEST, "text"]},
                {"prompt": "g", "completions": ["one", "one", "two"]},
            ]
        )
    )
    assert [pair.id for pair in file.pairs] == ["6", "7/1-3", "7/2-3"]
    assert file.in_words() == (
        "3 pairs (6 left out: 2 of two equal completions, 3 with an empty completion, 1 with one too long to read)"
    )


def test_a_file_of_which_nothing_is_left_is_refused(pairs_file: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="no pair is left to label: 1 of two equal completions"):
        read_comparisons(pairs_file([{"prompt": "a", "completions": ["same", "same"]}]))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "x"}, "has no 'completions' (two or more), nor 'chosen' and 'rejected'"),
        ({"prompt": "x", "chosen": "a"}, "beside the prompt it has 'chosen'"),
        ({"prompt": "x", "completion": ["a", "b"]}, "rename 'completion' to 'completions'"),
        ({"prompt": "x", "choosen": "a", "rejected": "b"}, "rename 'choosen' to 'chosen'"),
        ({"prompt": "x", "chosen": None, "rejected": "b"}, "has no 'completions'"),
        ({"completions": ["a", "b"]}, "has no column 'prompt'"),
        ({"prompt": "", "completions": ["a", "b"]}, "prompt: is empty"),
        ({"prompt": "x", "completions": ["a", "b"], "chosen": "a"}, "has both 'completions' and"),
        ({"prompt": "x", "completions": ["a"]}, "completions: got 1, expected a list of 2 to 16"),
        ({"prompt": "x", "completions": ["a"] * 17}, "completions: got 17"),
        ({"prompt": "x", "completions": "ab"}, "completions: got str, expected a list"),
        ({"prompt": "x", "completions": ["a", 5]}, "completions[1]: got int, expected a text"),
        ({"prompt": "x", "completions": ["a", None]}, "completions[1]: got NoneType"),
        ({"prompt": "x", "chosen": "a", "rejected": ["b"]}, "rejected: a message is"),
        ({"prompt": "x", "chosen": "a", "rejected": [{"role": "asistant", "content": "b"}]}, "one of system, user"),
        ({"prompt": "x", "chosen": "a", "rejected": []}, "rejected: the last message is not the assistant's"),
        ({"prompt": "x", "chosen": "a", "rejected": MESSAGES}, "rejected: the last message is not the assistant's"),
        ({"prompt": "x", "chosen": "a", "rejected": "\ud800"}, "half of a surrogate pair at character 0"),
        ({"prompt": "x", "completions": ["a", "b"], "id": "\ud800"}, "id: holds half of a surrogate pair"),
        ({"prompt": "x", "completions": ["a", "b"], "id": "x" * 201}, "id: has 201 characters, expected at most 200"),
        ({"prompt": "x", "completions": ["a", "b"], "more": ["\ud800"]}, "a column holds half of a surrogate pair"),
        ({"prompt": "x", "completions": ["a", "b"], "votes": "ben"}, "votes: got str, expected a list"),
        ({"prompt": "x", "completions": ["a", "b", "c"], "votes": [SAID]}, "votes: given beside 3 completions"),
        ({"prompt": "x", "completions": ["a", "b"], "votes": [5]}, "votes[0]: got int, expected an object"),
        ({"prompt": "x", "completions": ["a", "b"], "votes": [{**SAID, "submit": ""}]}, "votes[0]: submit: got ''"),
        (
            {"prompt": "x", "completions": ["a", "b"], "votes": [{**SAID, "answer": "left"}]},
            "expected one of first, second",
        ),
        ({"prompt": "x", "chosen": "a", "rejected": "b", "votes": [SAID]}, "expected one of chosen, rejected"),
        ({"prompt": "x", "completions": ["a", "b"], "votes": [{**SAID, "left": "tie"}]}, "left: got 'tie'"),
        ({"prompt": "x", "completions": ["a", "b"], "votes": [{**SAID, "at": "yesterday"}]}, "at: got 'yesterday'"),
        ({"prompt": "x", "completions": ["a", "b"], "votes": [{**SAID, "at": "2026-01-02"}]}, "at: got '2026-01-02'"),
        ({"prompt": "x", "completions": ["a", "b"], "votes": [{**SAID, "seconds": -1}]}, "seconds: got -1"),
        (
            {"prompt": "x", "completions": ["a", "b"], "votes": [{**SAID, "labeller": "x" * 81}]},
            "at most 80 characters",
        ),
    ],
)
def test_a_wrong_row_is_refused_with_file_and_row(pairs_file: Callable[..., Path], row: Any, words: str) -> None:
    path = pairs_file([{"prompt": "fine", "completions": ["a", "b"]}, row])
    with pytest.raises(DataError) as error:
        read_comparisons(path)
    assert str(error.value).startswith(f"{path}:2: ") and words in str(error.value)


def test_duplicate_ids_are_refused_also_those_that_arise(pairs_file: Callable[..., Path]) -> None:
    pair = {"prompt": "x", "completions": ["a", "b"]}
    with pytest.raises(DataError, match="id 'q' is also the id of row 1"):
        read_comparisons(pairs_file([{"id": "q", **pair}, {"id": "q", **pair}]))
    with pytest.raises(DataError, match=":2: id 'q/1-2' is also that of a pair of row 1"):
        read_comparisons(
            pairs_file([{"id": "q", "prompt": "x", "completions": ["a", "b", "c"]}, {"id": "q/1-2", **pair}])
        )


def test_what_is_no_utf8_is_refused_with_row_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    good = json.dumps({"prompt": "x", "completions": ["a", "b"]}).encode() + b"\n"
    path.write_bytes(good + good.replace(b'"a"', b'"caf\xe9"'))
    with pytest.raises(DataError, match=r"pairs.jsonl:2: is not UTF-8: byte 0xe9 at offset"):
        read_comparisons(path)


def test_a_missing_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"PAIRS: there is no file"):
        read_comparisons(tmp_path / "no.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="the file has no rows"):
        read_comparisons(tmp_path / "empty.jsonl")
