"""Data files: every bad row is found before training, by file and row; the split is stable and disjoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from rung.errors import DataError, RungError, SettingsError
from rung.rewards.judge import Judge
from rung.tasks.load import load_task
from rung.tasks.task import TextTask


def written(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{i}+1=", "answer": i + 1, "topic": "sums"} for i in range(count)]


def errors(path: Path, **options: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        load_task(str(path), **options)
    assert caught.value.exit_code == 2
    return caught.value.problems


def ids(task: TextTask) -> tuple[set[str], set[str]]:
    return {item.id for item in task.train}, {item.id for item in task.held_out}


def test_rows_become_items_with_their_columns(tmp_path: Path):
    task = load_task(str(written(tmp_path, rows(200))))
    train, held = ids(task)
    assert not train & held and train | held == {str(i) for i in range(1, 201)} and 8 <= len(held) <= 35
    item = next(item for item in task.train if item.prompt == "5+1=") if "6" in train else task.held_out[0]
    assert item.columns["topic"] == "sums" and isinstance(item.columns["answer"], int)
    with Judge(task.rewards) as judge:
        right, wrong = judge([item, item], [f"It is {item.columns['answer']}.", "0"])
    assert (right.accuracy, wrong.accuracy) == (1.0, 0.0)


def test_answers_may_end_at_a_text_of_ones_own(tmp_path: Path):
    path = str(written(tmp_path, rows(8)))
    for stop in ([".", "\n"], (".", "\n")):
        assert load_task(path, stop=stop).stop == (".", "\n")
    assert load_task(path).stop == ()
    with pytest.raises(SettingsError, match="expected a list of texts"):
        load_task(path, stop=".")
    with pytest.raises(SettingsError, match="every token contains"):
        load_task(path, stop=[""])


def test_the_split_depends_on_ids_alone(tmp_path: Path):
    named = [{**row, "id": f"row-{i}"} for i, row in enumerate(rows(100))]
    first = ids(load_task(str(written(tmp_path, named)), seed=0))
    assert ids(load_task(str(written(tmp_path, named[::-1], "other.jsonl")), seed=5)) == first
    more = [*named, *({"prompt": f"n{i}", "answer": i, "id": f"new-{i}"} for i in range(50))]
    train, held = ids(load_task(str(written(tmp_path, more, "more.jsonl"))))
    assert first[0] <= train and first[1] <= held


def test_rows_of_one_prompt_stay_on_one_side(tmp_path: Path):
    doubled = [{"prompt": f"p{i % 20}", "answer": i} for i in range(100)]
    task = load_task(str(written(tmp_path, doubled)), held_out=0.3)
    assert not {i.prompt for i in task.train} & {i.prompt for i in task.held_out} and task.held_out and task.train


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_small_file_has_both_sides(tmp_path: Path, count: int):
    task = load_task(str(written(tmp_path, rows(count))), held_out=0.01)
    assert len(task.held_out) == 1 and len(task.train) == count - 1
    task = load_task(str(written(tmp_path, rows(count))), held_out=0.999)
    assert len(task.train) == 1


def test_one_prompt_cannot_be_split(tmp_path: Path):
    path = written(tmp_path, rows(1))
    with pytest.raises(SettingsError, match="held_out_file=FILE, or held_out=0"):
        load_task(str(path))
    task = load_task(str(path), held_out=0)
    assert len(task.train) == 1 and task.held_out == ()


def test_a_held_out_file_is_the_held_out_side_and_shared_prompts_are_told(tmp_path: Path):
    train, held = written(tmp_path, rows(10)), written(tmp_path, [{"prompt": "new", "answer": 1}], "held.jsonl")
    task = load_task(str(train), held_out_file=str(held))
    assert len(task.train) == 10 and [item.prompt for item in task.held_out] == ["new"]
    with pytest.warns(UserWarning, match=r"10 of 10 prompts of .* are also in .*first: row 1"):
        load_task(str(train), held_out_file=str(train))


def test_messages_completions_and_no_answer(tmp_path: Path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    data = [
        {"prompt": chat, "completion": [{"role": "assistant", "content": "Hello"}]},
        {"prompt": "a", "completion": "b"},
        {"prompt": "c", "completion": None},
    ]
    task = load_task(str(written(tmp_path, data)), held_out=0)
    assert task.rewards == () and task.train[0].prompt == tuple(chat)
    assert [(example.prompt, example.completion) for example in task.examples] == [(tuple(chat), "Hello"), ("a", "b")]


def test_held_out_rows_are_no_worked_examples(tmp_path: Path):
    data = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(50)]
    task = load_task(str(written(tmp_path, data)), held_out=0.5)
    assert {e.prompt for e in task.examples} == {item.prompt for item in task.train} and len(task.examples) < 50


def test_parquet_is_read_like_jsonl(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    chat = [{"role": "user", "content": "Hi", "name": None}]
    data = [{"prompt": chat, "answer": "x", "reward_model": {"ground_truth": "x"}} for _ in range(3)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(data), path)
    task = load_task(str(path), held_out=0)
    assert task.train[0].prompt == ({"role": "user", "content": "Hi"},)
    assert task.train[2].columns == {"answer": "x", "reward_model": {"ground_truth": "x"}} and task.train[2].id == "3"


BAD_LINES = [
    (b'{"prompt": "a",}\n', r"rows.jsonl:1: is not JSON: .*"),
    (b'{"prompt": "a"}\n{"prompt": "b"\n', r"rows.jsonl:2: is not JSON: .*"),
    (b"[1, 2]\n", r"rows.jsonl:1: is a JSON list, expected an object"),
    (b'{"prompt": "a", "answer": NaN}\n', r"rows.jsonl:1: answer: is no JSON value: .* not JSON compliant"),
    (
        b'[{"prompt": "a"}, {"prompt": "b"}]',
        r"rows.jsonl: holds a JSON array, expected one JSON object a line; convert",
    ),
    (b'[\n  {\n    "prompt": "a"\n  }\n]\n', r"rows.jsonl: holds a JSON array"),
    (b'{\n  "prompt": "a"\n}\n', r"rows.jsonl: holds a JSON object over several lines"),
    (b"\xef\xbb\xbf" + b'{"prompt": "a"}\n', r"rows.jsonl:1: starts with a byte-order mark"),
    (
        b'{"prompt": "a"}\n{"prompt": "caf\xe9"}\n',
        r"rows.jsonl:2: is not UTF-8: byte 0xe9 at offset 31 of the file .*WINDOWS-1252",
    ),
    ('{"prompt": "a"}\n'.encode("utf-16"), r"rows.jsonl:1: is not UTF-8: byte 0xff at offset 0 .*UTF-16"),
    (b"\x1f\x8b\x08\x00abc\n", r"rows.jsonl: is gzip-compressed"),
    (b"", r"rows.jsonl: the file has no rows"),
    (b"\n \r\n\n", r"rows.jsonl: the file has no rows"),
    (b'{"question": "a"}\n', r"rows.jsonl:1: has no column 'prompt', it has 'question'; rename 'question' to 'prompt'"),
    (b'{"promt": "a"}\n', r"rows.jsonl:1: has no column 'prompt', it has 'promt'; rename 'promt' to 'prompt'"),
    (b"{}\n", r"rows.jsonl:1: has no column 'prompt', it has none"),
    (b'{"prompt": ""}\n', r"rows.jsonl:1: prompt: is empty"),
    (b'{"prompt": "  "}\n', r"rows.jsonl:1: prompt: is empty"),
    (b'{"prompt": null}\n', r"rows.jsonl:1: prompt: got NoneType, expected a text or a list of messages"),
    (b'{"prompt": 5}\n', r"rows.jsonl:1: prompt: got int"),
    (b'{"prompt": "\\ud800"}\n', r"rows.jsonl:1: prompt: holds half of a surrogate pair at character 0"),
    (b'{"prompt": []}\n', r"rows.jsonl:1: prompt: the list of messages is empty"),
    (b'{"prompt": ["a"]}\n', r"rows.jsonl:1: prompt\[0\]: got str"),
    (
        b'{"prompt": [{"role": "human", "content": "a"}]}\n',
        r"rows.jsonl:1: prompt\[0\].role: got 'human', expected one of system, user",
    ),
    (b'{"prompt": [{"role": "usr", "content": "a"}]}\n', r"prompt\[0\].role: got 'usr'.*did you mean 'user'"),
    (b'{"prompt": [{"role": ["user"], "content": "a"}]}\n', r"prompt\[0\].role: got \['user'\]"),
    (b'{"prompt": [{"role": "user", "content": 5}]}\n', r"prompt\[0\].content: got int"),
    (b'{"prompt": [{"role": "user", "content": " "}]}\n', r"prompt\[0\].content: is empty"),
    (b'{"prompt": [{"role": "user", "text": "a"}]}\n', r"prompt\[0\]: has 'text'; a message has 'role' and 'content'"),
    (
        b'{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n',
        r"the last message is the assistant's",
    ),
    (b'{"prompt": [{"role": "system", "content": "a"}]}\n', r"the last message is the system's"),
    (b'{"prompt": "a", "id": 1}\n{"prompt": "b", "id": "1"}\n', r"rows.jsonl:2: id '1' is also the id of row 1"),
    (b'{"prompt": "a", "id": 1.5}\n', r"rows.jsonl:1: id: got 1.5, expected a text or a whole number"),
    (
        b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n',
        r"'messages' ends with the assistant's answer: put the messages before it in 'prompt' and its text in 'compl",
    ),
    (b'{"messages": [{"role": "user", "content": "a"}]}\n', r"it has 'messages'; rename 'messages' to 'prompt'$"),
    (
        b'{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}\n',
        r"'conversations' ends with the assistant's answer: .* each message as {\"role\": ..., \"content\": ...}",
    ),
    (
        b'{"prompt": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}]}\n',
        r"prompt\[0\].content: got a list of parts \(image, text\), expected one text: rung reads text alone",
    ),
    (b'{"prompt": [{"content": "a"}]}\n', r"rows.jsonl:1: prompt\[0\].role: got None"),
    (b'{"prompt": [{"role": "tool", "content": "a"}, {"role": "user"}]}\n', r"prompt\[1\].content: got NoneType"),
    (b'{"prompt": "a", "answer": ""}\n', r"rows.jsonl:1: answer: got an empty text"),
    (b'{"prompt": "a", "completion": 5}\n', r"rows.jsonl:1: completion: expected a text"),
    (b'{"prompt": "a", "completion": ""}\n', r"rows.jsonl:1: completion: expected a text"),
    (b"[" * 100_000 + b"\n", r"rows.jsonl:1: is not JSON"),
]


@pytest.mark.parametrize(("content", "message"), BAD_LINES)
def test_bad_rows_are_found_by_file_and_row(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_task(str(path), held_out=0)


def test_the_first_ten_problems_and_the_total_are_listed(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "good"}\n' + '{"question": "bad"}\n' * 25)
    problems = errors(path)
    assert len(problems) == 11 and problems[0].startswith(f"{path}:2: ") and problems[9].startswith(f"{path}:11: ")
    assert "25 problems in all" in problems[10]


def test_crlf_blank_lines_and_a_missing_last_line_end_are_no_problem(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "a", "answer": 1}\r\n\r\n\n{"prompt": "b", "answer": 2}')
    assert [item.id for item in load_task(str(path), held_out=0).train] == ["1", "4"]


def test_a_line_without_end_is_refused_without_reading_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from rung.tasks import rows as module

    monkeypatch.setattr(module, "_LONGEST_LINE", 1000)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "' + b"x" * 5000 + b'"}\n')
    assert "rows.jsonl:1: the line is longer than" in errors(path)[0]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_broken_parquet_file_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    assert "rows.parquet: cannot be read as Parquet after row 0" in errors(path)[0]


def test_an_empty_table_is_refused(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": pyarrow.array([], pyarrow.string())}), path)
    assert "has no rows" in errors(path)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 1.0}, "held_out: got 1.0"),
        ({"held_out": -0.1}, "held_out: got -0.1"),
        ({"heldout": 0.1}, "did you mean 'held_out'"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, float], message: str):
    with pytest.raises(SettingsError, match=message):
        load_task(str(written(tmp_path, rows(5))), **options)


def test_nothing_else_than_a_rung_error_comes_out_of_hostile_bytes(tmp_path: Path):
    import random

    stream = random.Random(0)
    for name in ("rows.jsonl", "rows.parquet"):
        for _ in range(60):
            path = tmp_path / name
            good = json.dumps({"prompt": "a", "answer": 1}).encode() + b"\n"
            data = bytearray(good * 3)
            for _ in range(stream.randrange(1, 6)):
                data[stream.randrange(len(data))] = stream.randrange(256)
            path.write_bytes(bytes(data))
            try:
                load_task(str(path), held_out=0)
            except RungError:
                continue
