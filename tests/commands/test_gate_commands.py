"""What can be known before the first step is known then: train, sft, rlhf and compare go through one gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers as hf
from small_models import small_model

from rung.models.language.tiny import tiny_tokenizer
from rung.runs import planning

SMALL = ("steps=1", "prompts_per_step=2", "max_new_tokens=4", "evaluation.num_items=2", "learner.threads=1")
ARITHMETIC = ("--task", "arithmetic", *(text for one in SMALL for text in ("--set", one)))


def folder_of(kind: str, folder: Path, **how: Any) -> Path:
    small_model(kind, **how).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def vision(tmp_path):
    return folder_of("qwen3_5", tmp_path / "model", maker=hf.AutoModelForImageTextToText)


def test_what_a_checkpoint_loses_stands_in_the_plan_of_check_and_of_train(rung, vision, in_folder):
    arguments = ("reinforce", "--model", vision, *ARITHMETIC)
    said = "  note      model: Qwen3_5ForCausalLM has no place for model.visual"
    checked = rung("check", *arguments)
    assert checked.code == 0 and said in checked.out
    assert any("model.visual" in note for note in rung("check", *arguments, "--json").json["notes"])
    trained = rung("train", *arguments, "--out", "run")
    assert trained.code == 0 and said in trained.out
    again = hf.AutoModelForCausalLM.from_pretrained("run/final")
    assert type(again).__name__ == "Qwen3_5ForCausalLM"


def test_a_generation_config_that_transformers_does_not_write_ends_no_run(rung, tmp_path, in_folder):
    folder = folder_of("gpt2", tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": False, "temperature": 0.5}))
    assert rung("train", "reinforce", "--model", folder, *ARITHMETIC, "--out", "run").code == 0
    steps = ("--set", "steps=1", "--set", "examples_per_step=2", "--set", "evaluation_items=2")
    assert rung("sft", "--model", folder, "--task", "arithmetic", *steps, "--out", "tuned").code == 0
    for made in ("run", "tuned"):
        assert json.loads((in_folder / made / "final" / "generation_config.json").read_text())["temperature"] == 0.5


def test_a_lora_is_checked_with_its_layers_and_its_extra(rung, tmp_path, in_folder, monkeypatch):
    arguments = ("--model", folder_of("gpt2", tmp_path / "model"), *ARITHMETIC, "--set", "lora={rank: 2}")
    answer = rung("check", "reinforce", *arguments)
    assert answer.code == 0 and "512 weights" in answer.out  # c_attn of two layers: 2 (32 + 96) each
    assert rung("train", "reinforce", *arguments, "--out", "run").code == 0
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    (error,) = rung("check", "reinforce", *arguments).errors
    assert error.startswith("--set lora: LoRA needs an optional dependency: pip install 'rung[lora]'")


def test_a_lora_that_would_train_nothing_is_an_error(rung, tmp_path, in_folder, monkeypatch):
    folder = folder_of("gpt2", tmp_path / "model")
    monkeypatch.setattr("rung.models.language.size.usual_targets", lambda model: ())
    answer = rung("check", "reinforce", "--model", folder, *ARITHMETIC, "--set", "lora={rank: 2}")
    assert answer.code == 2 and "no layer that a LoRA would change" in answer.err


def test_what_must_not_begin_is_refused_by_check_train_and_compare_alike(rung, tmp_path, in_folder):
    folder = folder_of("bert", tmp_path / "model", is_decoder=False)
    said = "reads a token's probability from the tokens after it"
    for command in (("check", "reinforce"), ("train", "reinforce", "--out", "run")):
        answer = rung(*command, "--model", folder, *ARITHMETIC)
        assert answer.code == 2 and said in answer.err
    answer = rung("compare", "reinforce", "--model", folder, *ARITHMETIC[:2], *ARITHMETIC[4:8], "--budget", "tokens=10")
    assert answer.code == 2 and answer.err.startswith("error: reinforce: model: BertLMHeadModel") and said in answer.err
    assert rung("sft", "--model", folder, "--task", "arithmetic", "--out", "tuned").code == 2
    assert not any(in_folder.glob("run*/*")) and not any(in_folder.glob("tuned/*"))


def test_rlhf_refuses_a_reward_model_that_cannot_be_saved_before_its_first_stage(rung, tmp_path, in_folder):
    folder = folder_of("bamba", tmp_path / "model", max_position_embeddings=512)
    answer = rung("rlhf", "--model", folder, "--task", "arithmetic", "--method", "grpo", "--out", "all")
    assert answer.code == 2 and "transformers has no classifier" in answer.err
    assert not (in_folder / "all").exists()


REFUSED = {
    "raises": "raise KeyError('label')",
    "returns text": "return ['good' for _ in completions]",
    "returns too few": "return [1.0]",
    "hangs": "import time; time.sleep(60)",
}


@pytest.mark.parametrize("how", REFUSED)
def test_rewards_that_judge_no_answer_are_refused_before_the_first_step(rung, in_folder, how):
    (in_folder / "own.py").write_text(f"def mine(prompts, completions, **columns):\n    {REFUSED[how]}\n")
    arguments = (*ARITHMETIC, "--model", "tiny", "--reward", "own.py:mine", "--set", "rewarding.deadline_s=1")
    said = "rewards: tried on two answers before the first step: reward 'mine'"
    for command in (("check", "grpo"), ("train", "grpo", "--out", "run")):
        answer = rung(*command, *arguments)
        assert answer.code == 2 and said in answer.err, answer.err
    assert not any(in_folder.glob("run*/*"))


def test_rewards_of_which_one_answer_in_two_can_be_judged_may_begin(rung, in_folder):
    (in_folder / "own.py").write_text(
        "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n"
        "    if ground_truth % 2:\n        raise ValueError('odd')\n    return 1.0\n"
    )
    rows = [{"prompt": f"{n}+1=", "answer": n + 1, "completion": f"{n + 1}"} for n in range(8)]
    (in_folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = [text for one in SMALL for text in ("--set", one)]
    arguments = ("--task", "rows.jsonl", "--model", "tiny", "--reward", "own.py:compute_score", *small)
    answer = rung("check", "grpo", *arguments)
    assert answer.code == 0, answer.err
