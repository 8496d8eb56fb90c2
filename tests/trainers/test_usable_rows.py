"""Every row is encoded before a run: what does not fit is named or left out, and a second look comes from the cache."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from real_tokenizers import END, TURN_END, byte_level, metaspace, reader, saved

import rung
from rung.errors import DataError, SettingsError
from rung.models.language.text_reader import TextReader
from rung.models.language.tiny import tiny_model
from rung.runs.recipes.sft import sft
from rung.settings import SFTSettings
from rung.tasks.load import load_pairs, load_task
from rung.tasks.pairs import PairTask
from rung.tasks.task import Item, Lazy, TextTask
from rung.trainers.usable_rows import MADE, usable

BPE = reader(byte_level())
SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"}]
BAD_PROMPTS = {
    "too long": ("1+" * 300 + "=", "the prompt has 601 tokens, expected at most 112 (context 128 - max_new_tokens 16)"),
    "huge": ("x" * 10_000_000, "the prompt has at least 769,230 tokens"),
    "refused": (SYSTEM, "chat template refuses the messages: System role not supported"),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def written(folder: Path, rows: Sequence[dict[str, Any]], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sums(folder: Path, *more: dict[str, Any], count: int = 60) -> str:
    return written(folder, [*({"prompt": f"{n} + 1 =", "answer": n + 1} for n in range(count)), *more])


def text_task(path: str, **options: Any) -> TextTask:
    task = load_task(path, **options)
    assert isinstance(task, TextTask)
    return task


@pytest.mark.parametrize("kind", BAD_PROMPTS)
@pytest.mark.parametrize("held_out", [0, 0.999])
def test_a_prompt_that_cannot_be_taken_is_named_or_left_out(tmp_path: Path, kind: str, held_out: float) -> None:
    prompt, words = BAD_PROMPTS[kind]
    path = sums(tmp_path, {"prompt": prompt, "answer": 1, "id": "odd"})
    task = text_task(path, held_out=held_out)
    with pytest.raises(DataError) as caught:
        usable(task, BPE, new_tokens=16)
    first, last = caught.value.problems
    assert first.startswith(f"{path}:61: ") and words in first
    assert last == "rows: 1 of 61 rows cannot be used; task.skip_bad_rows=true (--skip-bad-rows) leaves them out"
    found = usable(task, BPE, new_tokens=16, skip=True)
    left = [*found.task.train, *found.task.held_out]
    assert len(left) == 60 and all(item.id != "odd" for item in left)
    (note,) = found.task.notes()
    assert note.startswith(f"1 of 61 rows are left out (task.skip_bad_rows): {path}:61: ") and words in note


def test_the_last_prompt_that_fits_and_the_first_that_does_not(tmp_path: Path) -> None:
    def task(tokens: int) -> TextTask:
        return text_task(written(tmp_path, [{"prompt": "1+" * (tokens // 2) + "=" * (tokens % 2)}]), held_out=0)

    found = usable(task(112), BPE, new_tokens=16)
    assert found.longest == 112 == len(BPE.encode(found.task.train[0].prompt)) and found.notes == ()
    with pytest.raises(DataError, match=r"rows.jsonl:1: the prompt has 113 tokens, expected at most 112"):
        usable(task(113), BPE, new_tokens=16)
    with pytest.raises(SettingsError, match=r"max_new_tokens: got 128, but the model's context of 128 tokens"):
        usable(task(2), BPE, new_tokens=128)


def test_the_same_trouble_is_said_once_and_nothing_is_offered_where_nothing_would_be_left(tmp_path: Path) -> None:
    path = written(tmp_path, [{"prompt": [{"role": "user", "content": f"{n}"}]} for n in range(40)])
    for skip in (False, True):
        with pytest.raises(DataError) as caught:
            usable(text_task(path, held_out=0), reader(byte_level(chat=None)), new_tokens=16, skip=skip)
        words, total = caught.value.problems
        assert words.startswith(f"{path}:1: the prompt is a list of messages, but this model's tokenizer has no chat")
        assert words.endswith(f"{path}:11 and 29 more)") and total == "rows: 40 of 40 rows cannot be used"


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (
            " " + "1+" * 100,
            "prompt and answer have 205 tokens, expected at most 128 (the model's context); shorten them",
        ),
        (f"4{END}5", "an answer goes on after the model's end token; cut it there"),
        (END, "an answer has no tokens of its own"),
        ("\udcff", "an answer is no valid Unicode text"),
    ],
)
def test_pairs_and_examples_are_looked_at_with_their_answers(tmp_path: Path, chosen: str, words: str) -> None:
    rows = [{"prompt": f"{n} + 1 =", "chosen": f" {n + 1}", "rejected": " 0"} for n in range(9)]
    path = written(tmp_path, [*rows, {"prompt": "3 + 1 =", "chosen": chosen, "rejected": " 0"}])
    pairs = load_pairs(path, held_out=0)
    with pytest.raises(DataError) as caught:
        usable(pairs, BPE)
    assert caught.value.problems[0].startswith(f"{path}:10: ") and words in caught.value.problems[0]
    kept = usable(pairs, BPE, skip=True).task
    assert isinstance(kept, PairTask) and len(kept.train) == 9 and "1 of 10 rows are left out" in kept.notes()[0]
    rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    path = written(tmp_path, [*rows, {"prompt": "3 + 1 =", "completion": chosen}], "examples.jsonl")
    with pytest.raises(DataError) as caught:
        usable(text_task(path, held_out=0), BPE, sides=("examples",))
    assert caught.value.problems[0].startswith(f"{path}:10: ") and words in caught.value.problems[0]
    kept = usable(text_task(path, held_out=0), BPE, sides=("examples",), skip=True).task
    assert len(kept.examples) == 9 and len(kept.train) == 10


def test_what_was_done_to_answers_and_what_is_unknown_is_said(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "a"}]
    rows = [{"prompt": chat, "chosen": f"{n}{TURN_END}\n", "rejected": "no"} for n in range(5)]
    path = written(tmp_path, [*rows, {"prompt": chat, "chosen": "7", "rejected": "no"}])
    (note,) = usable(load_pairs(path, held_out=0), BPE).notes
    assert note == (
        "5 of 6 rows have an answer that ends with the model's own end token; it is taken off, as each gets exactly "
        f"one (first: {path}:1)"
    )
    task = text_task(written(tmp_path, [{"prompt": "2 + 3 ="}, {"prompt": "二"}]), held_out=0)
    (note,) = usable(task, reader(metaspace()), new_tokens=4).notes
    assert note == (
        "1 of 2 rows hold characters that the tokenizer does not know and reads as <unk> "
        f"(first: {tmp_path}/rows.jsonl:2)"
    )


class Counting(TextReader):
    """Counts what it encodes."""

    def __init__(self, context: int = 128) -> None:
        super().__init__(byte_level(), context_length=context, end_ids=(), num_embeddings=420)
        self.rows = 0

    def encode_rows(self, rows: Any) -> Any:
        self.rows += len(rows)
        return super().encode_rows(rows)


def test_a_second_look_comes_from_the_cache_by_content(tmp_path: Path, own_cache: Path) -> None:
    path = sums(tmp_path, {"prompt": "1+" * 300, "answer": 1})
    first, again = Counting(), Counting()
    found = usable(text_task(path), first, new_tokens=16, skip=True)
    kept = usable(text_task(path), again, new_tokens=16, skip=True)
    assert (first.rows, again.rows) == (61, 0) and kept == found
    longer, shorter, changed, newer = Counting(context=700), Counting(), Counting(), Counting()
    changed.tokenizer.chat_template = "{{ messages }}"
    usable(text_task(path), longer, new_tokens=16)
    usable(text_task(path), shorter, new_tokens=15, skip=True)
    usable(text_task(path), changed, new_tokens=16, skip=True)
    assert (longer.rows, shorter.rows, changed.rows) == (61, 61, 61)
    usable(text_task(sums(tmp_path, count=59)), newer, new_tokens=16)  # the same file, one row less
    assert newer.rows > 50


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"{}", b'{"rows": "x"}', b'{"rows": 60, "wrong": [1]}'])
def test_a_damaged_cache_is_made_again(tmp_path: Path, own_cache: Path, damage: bytes) -> None:
    path = sums(tmp_path)
    found = usable(text_task(path), BPE, new_tokens=16)
    for file in (own_cache / "rows").iterdir():
        file.write_bytes(damage)
    again = Counting()
    assert usable(text_task(path), again, new_tokens=16) == found and again.rows == 60


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("RUNG_CACHE", str(tmp_path / "a file"))
    assert usable(text_task(sums(tmp_path)), BPE, new_tokens=16).longest == 5


def test_rows_that_are_made_on_demand_are_looked_at_here_and_there_or_all_where_some_may_go() -> None:
    def item(n: int) -> Item:
        return Item(id=str(n), prompt="1+" * (300 if n == 5001 else 2), columns={})

    task = TextTask(name="made", train=Lazy(10_000, item), held_out=(), rewards=())
    counting = Counting()
    usable(task, counting, new_tokens=16)
    assert MADE // 2 <= counting.rows <= MADE
    kept = usable(task, BPE, new_tokens=16, skip=True).task.train
    assert isinstance(kept, Lazy) and len(kept) == 9_999
    assert [kept[n].id for n in (0, 5000, 5001, 9998)] == ["0", "5000", "5002", "9999"]
    long = dataclasses.replace(task, train=Lazy(2, lambda n: item(5001)))
    with pytest.raises(DataError, match=r"item '5001': the prompt has 600 tokens.*item '5001'"):
        usable(long, BPE, new_tokens=16)


def test_twenty_thousand_rows_take_seconds_and_then_none() -> None:
    items = tuple(Item(id=str(n), prompt=f"{n} + {n} =", columns={}) for n in range(20_000))
    task = TextTask(name="many", train=items, held_out=(), rewards=())
    counting = Counting()
    usable(task, counting, new_tokens=16)
    begin = time.monotonic()
    usable(task, counting, new_tokens=16)
    assert counting.rows == 20_000 and time.monotonic() - begin < 5


SMALL = {
    "steps": 1,
    "prompts_per_step": 2,
    "max_new_tokens": 4,
    "evaluation": {"num_items": 2, "every": 0},
    "reporting": {"page": False},
}


def test_runs_of_text_do_not_start_with_such_a_row(tmp_path: Path) -> None:
    model = str(saved(tmp_path / "model", byte_level()))
    path = sums(tmp_path, {"prompt": "1+" * 300, "answer": 1, "completion": "2"}, count=12)
    asked: dict[str, Any] = {"model": model, "task": path, "recipe": "none", **SMALL}
    with pytest.raises(DataError, match=r"rows.jsonl:13: the prompt has 600 tokens"):
        rung.train(method="reinforce", out=tmp_path / "run", quiet=True, **asked)
    assert not (tmp_path / "run" / "settings.yaml").exists()
    with pytest.raises(SettingsError, match=r"reinforce: .*rows.jsonl:13: the prompt has 600 tokens"):
        rung.compare(["reinforce", "rloo"], budget={"tokens": 100}, out=tmp_path / "both", **{**asked, "steps": 1})
    with pytest.raises(DataError, match=r"rows.jsonl:13: prompt and answer have 602 tokens"):
        sft(SFTSettings(model=model, task=path, steps=1), tmp_path / "sft", quiet=True)  # type: ignore[arg-type]
    skipping = {"name": path, "skip_bad_rows": True}
    with pytest.warns(UserWarning, match=r"1 of 13 rows are left out \(task.skip_bad_rows\): .*rows.jsonl:13"):
        run = rung.train(method="reinforce", out=tmp_path / "run", quiet=True, **{**asked, "task": skipping})
    assert [row["step"] for row in run.metrics()] == [0, 1]
    with pytest.warns(UserWarning, match="1 of 13 rows are left out"):
        again = rung.resume(tmp_path / "run", {"steps": 3}, quiet=True)
    assert [row["step"] for row in again.metrics()] == [0, 1, 2, 3]


def test_every_text_task_takes_the_setting_and_no_environment_does() -> None:
    assert len(load_task("arithmetic", skip_bad_rows=True).train) == 20_000  # type: ignore[union-attr]
    with pytest.raises(SettingsError, match="skip_bad_rows: got 'yes', expected true or false"):
        load_task("arithmetic", skip_bad_rows="yes")
    with pytest.raises(SettingsError, match="skip_bad_rows"):
        load_task("CartPole-v1", skip_bad_rows=True)


def test_a_teacher_whose_context_is_too_short_is_refused(tmp_path: Path) -> None:
    for name, context in (("student", 64), ("teacher", 12)):
        model = tiny_model(0, context_length=context)
        model.save(tmp_path / name)
    given: dict[str, Any] = {"method": "distillation", "model": str(tmp_path / "student"), "task": "arithmetic"}
    given |= {"steps": 1, "max_new_tokens": 8, "teacher": str(tmp_path / "teacher")}
    with pytest.raises(SettingsError, match=r"teacher: its context holds 12 tokens, but the longest prompt has \d+"):
        rung.trainer(**given)
    rung.trainer(**given | {"max_new_tokens": 2}).close()
