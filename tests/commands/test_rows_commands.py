"""Rows that a model cannot take stand in the way of every command that would meet them, with the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from real_tokenizers import END, byte_level, saved

SMALL = [
    *("--set", "steps=1", "--set", "prompts_per_step=2", "--set", "max_new_tokens=8"),
    *("--set", "evaluation.num_items=2", "--set", "reporting.page=false"),
]


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("chat") / "model", byte_level())


def rows(path: str, *more: dict[str, Any], **columns: Any) -> str:
    data = [*({"prompt": f"{n} + 1 =", "answer": n + 1, **columns} for n in range(12)), *more]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in data))
    return path


def test_check_train_compare_and_rlhf_refuse_the_same_row(rung, in_folder, chat_model, monkeypatch) -> None:
    monkeypatch.setenv("RUNG_CACHE", str(in_folder / "cache"))
    task = rows("rows.jsonl", {"prompt": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]})
    words = "rows.jsonl:13: the model's chat template refuses the messages: System role not supported"
    common = ["--model", chat_model, "--task", task]
    for command in (
        ["check", "rloo", *common, *SMALL],
        ["train", "rloo", *common, *SMALL, "--out", "run"],
        ["compare", "rloo", "reinforce", *common, *SMALL, "--budget", "tokens=100", "--out", "both"],
        ["rlhf", "--method", "rloo", *common, "--out", "all", "--set", "pairs.max_new_tokens=8"],
        ["pairs", *common, "--out", "pairs.jsonl", "--set", "max_new_tokens=8"],
    ):
        answer = rung(*command)
        assert answer.code == 2 and words in answer.err, command
    assert sorted(path.name for path in in_folder.iterdir()) == ["cache", "rows.jsonl"]
    said = rung("check", "rloo", *common, *SMALL, "--skip-bad-rows", "--json").json
    assert said["run"]["train_items"] + said["evaluation"]["items"] <= 12
    (note,) = said["notes"]
    assert note.startswith("1 of 13 rows are left out (task.skip_bad_rows): rows.jsonl:13: the model's chat template")


def test_the_plan_says_what_is_done_to_rows_and_what_nothing_uses(rung, in_folder, chat_model) -> None:
    task = rows("pairs.jsonl", chosen=f" 1{END}", rejected="2", images=["a.png"])
    said = rung("check", "dpo", "--model", chat_model, "--task", task).out
    assert "note      pairs.jsonl: columns that are not used: 'answer', 'images'" in said
    assert "note      12 of 12 rows have an answer that ends with the model's own end token; it is taken off" in said


def test_sft_refuses_a_model_without_an_end_before_it_trains(rung, in_folder) -> None:
    model = saved(in_folder / "model", byte_level(end=None, chat=None))
    task = rows("rows.jsonl", completion=" 1")
    answer = rung("sft", "--model", model, "--task", task, "--out", "tuned")
    assert answer.code == 2 and "the model's tokenizer has no end token" in answer.err
    answer = rung("check", "dpo", "--model", model, "--task", rows("pairs.jsonl", chosen=" 1", rejected="2"))
    assert answer.code == 2 and "the model's tokenizer has no end token" in answer.err


def test_a_token_that_was_added_without_its_embedding_is_named(rung, in_folder) -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["<answer>"])
    model = saved(in_folder / "model", tokenizer, rows=len(tokenizer) - 1)
    for task in (rows("rows.jsonl", {"prompt": "<answer>", "answer": 1}),):
        answer = rung("train", "rloo", "--model", model, "--task", task, *SMALL, "--out", "run")
        assert answer.code == 2 and f"rows.jsonl:13: token id {len(tokenizer) - 1} ('<answer>')" in answer.err
