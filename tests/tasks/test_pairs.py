"""Files of pairs: every form that is in use is read; what would harm is left out and counted, or refused by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from rung.errors import DataError, SettingsError
from rung.tasks.load import load_pairs
from rung.tasks.pairs import Pair, PairTask, left_out

USER = {"role": "user", "content": "2+3?"}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def row(n: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"{n}+1=", "chosen": f"{n + 1}", "rejected": f"{n}", **more}


def written(folder: Path, rows: list[Any], name: str = "pairs.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return str(path)


def read(folder: Path, rows: list[Any], **options: Any) -> PairTask:
    return load_pairs(written(folder, rows), held_out=0, **options)


def only(task: PairTask) -> Pair:
    (pair,) = task.train
    return pair


def problems(folder: Path, rows: list[Any], **options: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(folder, rows, **options)
    assert caught.value.exit_code == 2
    return [problem.removeprefix(str(folder) + "/") for problem in caught.value.problems]


# --- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "prompt"),
    [
        ({"prompt": "2+3=", "chosen": "5", "rejected": "6"}, "2+3="),
        ({"prompt": [USER], "chosen": [says("5")], "rejected": [says("6")]}, (USER,)),
        ({"prompt": [USER], "chosen": "5", "rejected": "6"}, (USER,)),
        ({"prompt": [USER], "chosen": [USER, says("5")], "rejected": [USER, says("6")]}, (USER,)),
        ({"prompt": "2+3?", "chosen": [USER, says("5")], "rejected": [USER, says("6")]}, "2+3?"),
        ({"chosen": [USER, says("5")], "rejected": [USER, says("6")]}, (USER,)),
    ],
)
def test_every_form_in_use_is_read(tmp_path: Path, given: dict[str, Any], prompt: Any) -> None:
    pair = only(read(tmp_path, [given]))
    assert (pair.prompt, pair.chosen, pair.rejected, pair.margin) == (prompt, "5", "6", 0.0)


def test_answers_labelled_alone_and_margins(tmp_path: Path) -> None:
    alone = [{"prompt": "p", "completion": "a", "label": True}, {"prompt": "p", "completion": "b", "label": False}]
    good, bad = read(tmp_path, alone).train
    assert (good.chosen, good.rejected, bad.chosen, bad.rejected) == ("a", None, None, "b")
    assert only(read(tmp_path, [row(1, margin=2)])).margin == 2.0


def test_parquet_reads_the_same(tmp_path: Path) -> None:
    rows = [row(n, id=f"r{n}") for n in range(5)]
    path = tmp_path / "pairs.parquet"
    mixed = [*rows, {"id": "u", "prompt": "x", "completions": ["a", "b"]}]
    keys = dict.fromkeys(key for one in mixed for key in one)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{key: one.get(key) for key in keys} for one in mixed]), path)
    task = load_pairs(str(path), held_out=0)
    assert task.train == load_pairs(written(tmp_path, rows), held_out=0).train
    assert task.excluded == {"unlabelled": 1}


def test_pairs_of_one_prompt_stay_on_one_side(tmp_path: Path) -> None:
    rows = [row(n % 20, chosen=f"c{n}") for n in range(100)]
    task = load_pairs(written(tmp_path, rows), held_out=0.3)
    train, held = ({pair.prompt for pair in side} for side in (task.train, task.held_out))
    assert train and held and not train & held and len(task.train) + len(task.held_out) == 100


def test_a_held_out_file_must_share_no_prompt(tmp_path: Path) -> None:
    first = written(tmp_path, [row(n) for n in range(4)])
    other = written(tmp_path, [row(n) for n in range(10, 12)], "held.jsonl")
    task = load_pairs(first, held_out_file=other)
    assert len(task.train) == 4 and len(task.held_out) == 2
    with pytest.raises(SettingsError, match=r"4 pairs of .*first: row 1"):
        load_pairs(first, held_out_file=first)


# --- what is left out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "excluded"),
    [
        ([{"prompt": "x", "completions": ["a", "b"]}], {"unlabelled": 1}),
        ([row(7, rejected="8")], {"identical": 1}),
        ([row(7, rejected="  ")], {"empty": 1}),
        ([row(7), row(7, chosen="7", rejected="8")], {"conflicting": 2}),
        (
            [{"prompt": "p", "completion": "a", "label": True}, {"prompt": "p", "completion": "a", "label": False}],
            {"conflicting": 2},
        ),
    ],
)
def test_what_would_harm_is_left_out_and_counted(
    tmp_path: Path, more: list[dict[str, Any]], excluded: dict[str, int]
) -> None:
    task = read(tmp_path, [row(1), *more, row(2)])
    assert task.excluded == excluded and [pair.prompt for pair in task.train] == ["1+1=", "2+1="]
    assert task.notes() == (left_out(excluded),) and str(sum(excluded.values())) in task.notes()[0]


def test_conflicts_can_be_kept_and_a_pair_may_stand_twice(tmp_path: Path) -> None:
    rows = [row(7), row(7, chosen="7", rejected="8"), row(7)]
    assert len(read(tmp_path, rows, keep_conflicts=True).train) == 3
    assert len(read(tmp_path, [row(7), row(7)]).train) == 2


def test_nothing_left_says_why_and_what_to_do(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, [{"prompt": "x", "completions": ["a", "b"]}])
    assert "pairs left out: 1 unlabelled" in problem and "rung label" in problem


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"prompt": "x", "chosen": "a"}, "pairs.jsonl:2: has no column 'rejected', it has 'prompt', 'chosen'"),
        ({"prompt": "x", "preferred": "a", "rejected": "b"}, "rename 'preferred' to 'chosen'"),
        ({"question": "x", "chosen": "a", "rejected": "b"}, "rename 'question' to 'prompt'"),
        ({"prompt": "x", "chosen": 5, "rejected": "b"}, "chosen: got int, expected a text or messages"),
        ({"prompt": "x", "chosen": [USER], "rejected": "b"}, "chosen: a list of messages, expected the assistant's"),
        (
            {"prompt": [USER], "chosen": [says("?"), says("a")], "rejected": "b"},
            "before it nothing but the messages of the prompt",
        ),
        (
            {"chosen": [USER, says("a")], "rejected": [{"role": "user", "content": "other"}, says("b")]},
            "conversations that differ before their last message",
        ),
        ({"prompt": "x", "completion": "a", "label": 1}, "label: got 1, expected true"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "prompt: is empty"),
        ({"prompt": "x", "chosen": "a", "rejected": "b", "margin": "big"}, "margin: got 'big', expected a finite"),
        ({"prompt": "x", "chosen": "a", "rejected": "b", "id": 1.5}, "id: got 1.5"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_row(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    (problem,) = problems(tmp_path, [row(1), wrong])
    assert problem.startswith("pairs.jsonl:2: ") and words in problem


def test_duplicate_ids_and_bytes_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, [row(1, id="a"), row(2, id="a")])
    assert problem == "pairs.jsonl:2: id 'a' is also the id of row 1; ids must differ"
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "x", "chosen": "caf\xe9", "rejected": "b"}\n')
    with pytest.raises(DataError, match=r"latin.jsonl:1: is not UTF-8: byte 0xe9 at offset \d+"):
        load_pairs(str(tmp_path / "latin.jsonl"))


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, [{"prompt": "x"}] * 15)
    assert len(found) == 11 and "15 problems in all" in found[-1]


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ("arithmetic", {}, "rung pairs --model MODEL"),
        ("no.jsonl", {}, "there is no file"),
        ("no.jsonl", {"held_uot": 0.1}, "did you mean 'held_out'"),
        ("no.jsonl", {"held_out": "x"}, "held_out: got 'x', expected a number"),
    ],
)
def test_wrong_files_and_options_are_named(spec: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_pairs(spec, **options)
