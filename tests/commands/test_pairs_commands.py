"""`rung pairs`, and `rung check` and `rung train` of methods that learn from pairs."""

from __future__ import annotations

import json

import pytest

from rung.models.language.reward_model import RewardModel
from rung.models.language.tiny import tiny_model


@pytest.fixture
def pairs_file(in_folder):
    rows = [{"prompt": f"{n}+1=", "chosen": f"{n + 1}", "rejected": f"{n}"} for n in range(20)]
    rows += [{"prompt": "x", "completions": ["a", "b"]}, {"prompt": "y", "chosen": "a", "rejected": "a"}]
    (in_folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "pairs.jsonl"


def test_a_plan_counts_in_pairs_and_says_what_is_left_out(rung, model, pairs_file):
    answer = rung("check", "dpo", "--model", model, "--task", pairs_file, "--set", "pairs_per_step=4")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert "  a step    4 pairs; nothing is sampled" in lines
    assert "            1 update, learning rate 1e-06" in lines
    (run,) = [line for line in lines if line.startswith("  the run")]
    assert "100 steps; seed 0; " in run and run.endswith(" pairs") and "new tokens" not in run
    assert "  note      pairs left out: 1 unlabelled, 1 identical" in lines
    assert any("a copy of the model as it starts (the method's reference)" in line for line in lines)
    data = rung("check", "dpo", "--model", model, "--task", pairs_file, "--json").json
    assert data["step"] == {"pairs": 64, "updates": 1} and data["memory_bytes"]["kv cache"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dpo", "--task", "arithmetic"], "'arithmetic' is no file of pairs"),
        (["dpo", "--task", "none.jsonl"], "there is no file none.jsonl"),
        (["dpo", "--task", "pairs.jsonl", "--set", "task.held_uot=0.2"], "did you mean 'held_out'"),
        (["dpo", "--task", "pairs.jsonl", "--reward", "task"], "dpo learns from stored pairs; leave rewards out"),
        (["dpo", "--task", "pairs.jsonl", "--set", "loss.beta=-1"], "method.loss.beta: got -1, expected more than 0"),
        (["rdpo", "--task", "pairs.jsonl", "--set", "loss.flipped=0.5"], "expected at least 0 and below 0.5"),
        (["kto", "--task", "pairs.jsonl", "--set", "pairs_per_step=1"], "KTOLoss estimates the KL"),
        (["dpo", "--task", "pairs.jsonl", "--set", "samples_per_prompt=4"], "samples_per_prompt"),
        (["dpo", "--task", "alone.jsonl"], "is an answer labelled alone; kto takes such rows"),
        (["grpo", "--task", "arithmetic", "--reward", "."], ". holds no reward model"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_loaded(rung, in_folder, model, pairs_file, arguments, words):
    rows = [{"prompt": f"p{n}", "completion": "a", "label": True} for n in range(3)]
    (in_folder / "alone.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answer = rung("check", *arguments, "--model", model)
    assert answer.code == 2
    assert any(words in line for line in answer.errors), answer.errors


def test_a_reward_models_folder_is_a_reward_by_its_name(rung, in_folder, model):
    RewardModel(tiny_model(0)).save(in_folder / "helpful" / "final")
    flags = ("--model", model, "--task", "arithmetic", "--set", "samples_per_prompt=2", "--set", "prompts_per_step=1")
    small = (
        "--set",
        "steps=1",
        "--set",
        "max_new_tokens=4",
        "--set",
        "evaluation.num_items=2",
        "--set",
        "reporting.page=false",
    )
    answer = rung(
        "train",
        "grpo",
        *flags,
        *small,
        "--reward",
        "helpful",
        "--reward",
        "task=0",
        "--out",
        "run",
        "--set",
        "rewarding.accuracy=helpful",
    )
    assert answer.code == 0, answer.err
    again = rung("eval", "run", "--k", "2", "--items", "3", "--base", model, "--json").json
    assert again["pass_at_k"] is None and again["score"] != 0 and again["paired"]["items"] == 3
    rows = [json.loads(line) for line in (in_folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["reward/helpful"] == rows[1]["reward/mean"] and rows[1]["reward/correct"] == 0.0


def test_pairs_are_made_and_the_next_command_is_named(rung, in_folder, model):
    (in_folder / "shorter.py").write_text(
        "def shorter(completions):\n    return [-len(text) for text in completions]\n"
    )
    answer = rung(
        *("pairs", "--model", model, "--task", "arithmetic", "--out", "made.jsonl", "--reward", "shorter.py:shorter"),
        *("--set", "prompts=3", "--set", "max_new_tokens=300", "--quiet"),
    )
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1] == f"learn from them: rung train dpo --model {model} --task made.jsonl"
    assert "rows from 3 prompts" in answer.out and (in_folder / "made.jsonl").is_file()
    again = rung("pairs", "--model", model, "--task", "arithmetic", "--out", "made.jsonl")
    assert again.code == 2 and again.errors == ["--out: made.jsonl is there already; choose another name"]


def test_wrong_settings_of_pairs_are_named(rung, in_folder):
    answer = rung("pairs", "--model", "m", "--task", "arithmetic", "--out", "x.jsonl", "--k", "1", "--set", "prompt=3")
    assert answer.code == 2
    assert any(line.startswith("--k: got 1, expected 2 or more") for line in answer.errors)
    assert any("did you mean 'prompts'" in line for line in answer.errors)
