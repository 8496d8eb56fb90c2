"""`rung train` and `rung check`: the plan, all problems at once, the folder, the start."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from rung.settings import read_settings

TINY = ("--model", "tiny", "--task", "arithmetic")


@pytest.fixture
def started(monkeypatch):
    """What `rung train` asks the library for, without a run."""
    calls = []

    def train(settings, folder, *, quiet, plan):
        calls.append(SimpleNamespace(settings=settings, folder=folder, quiet=quiet, plan=plan))
        return SimpleNamespace(exit_code=train.exit_code)

    train.exit_code = 0
    monkeypatch.setattr("rung.library.train", train)
    return SimpleNamespace(calls=calls, train=train)


def test_check_prints_the_plan_and_starts_nothing(rung, in_folder):
    answer = rung("check", "grpo", *TINY, "--seed", "7", "--set", "learning_rate=1e-4")
    assert answer.code == 0 and answer.err == ""
    for part in (
        "grpo on arithmetic with tiny",
        "16 prompts x 8 samples = 128 episodes, at most 2,048 new tokens",
        "seed 7",
        "all 800,384 weights",
        "from recipe tiny:",
        "seed = 7 (default: 0)",
        "method.optimizer.learning_rate = 0.0001 (grpo's default: 1e-06)",
        "--set learning_rate means method.optimizer.learning_rate",
    ):
        assert part in answer.out, part
    assert list(in_folder.iterdir()) == []


def test_check_as_json_is_the_same_plan(rung, in_folder):
    data = rung("check", "rloo", *TINY, "--json").json
    assert data["method"]["name"] == "rloo"
    assert data["step"]["episodes"] == 128 and data["run"]["train_items"] == 20_000
    assert data["settings"]["method"] == {
        "name": "rloo",
        "samples_per_prompt": 8,
        "optimizer": {"learning_rate": 2e-4, "warmup_steps": 10},
    }
    assert {"key": "max_new_tokens", "value": 16, "place": "recipe tiny:4", "default": 128, "whose": "default"} in data[
        "written"
    ]


def test_all_problems_are_told_at_once_before_anything_is_loaded(rung, in_folder):
    (in_folder / "run.yaml").write_text("steps: ten\nlerner: {}\ntask: {name: arithmetc}\n")
    (in_folder / "taken").mkdir()
    (in_folder / "taken" / "file").write_text("x")
    (in_folder / "reward.py").write_text("def right(completions): ...\n")
    answer = rung(
        *("train", "grp", "--model", "no/such/model", "--config", "run.yaml", "--out", "taken", "--recipe", "dem"),
        *("--set", "evry=2", "--set", "beta1=2", "--reward", "reward.py:rigth", "--reward", "gone.py:f"),
    )
    assert (answer.code, answer.out) == (2, "")
    beginnings = [
        "--set evry: unknown key; did you mean 'saving.every'?",
        "--recipe: got 'dem'; did you mean 'demo'?",
        "run.yaml:1: steps: got 'ten', expected a whole number",
        "run.yaml:2: lerner: unknown key; did you mean 'learner'?",
        "METHOD: got 'grp'; did you mean 'grpo'?",
        "--set beta1: method.optimizer.beta1: got 2, expected at least 0 and below 1",
        "--out: taken is not empty; to go on with the run in it: rung resume taken; else choose another folder",
        "run.yaml:3: task.name: unknown task 'arithmetc'; did you mean 'arithmetic'?",
        "--model: 'no/such/model' is neither a folder nor a .gguf file here",
    ]
    for beginning in beginnings:
        assert any(error.startswith(beginning) for error in answer.errors), (beginning, answer.errors)
    assert len(answer.errors) == len(beginnings), answer.errors


def test_wrong_rewards_are_told_without_being_run(rung, in_folder):
    (in_folder / "reward.py").write_text("open('ran', 'w')\ndef right(completions): return [1.0] * len(completions)\n")
    (in_folder / "broken.py").write_text("def f(:\n")
    rewards = ("reward.py:rigth", "gone.py:f", "broken.py:g")
    flags = [text for reward in rewards for text in ("--reward", reward)]
    answer = rung("check", "grpo", *TINY, *flags)
    assert answer.code == 2
    assert answer.errors[:2] == [
        "--reward reward.py:rigth: rewards.0.function: reward.py defines no 'rigth'; did you mean 'right'?",
        "--reward gone.py:f: rewards.1.function: there is no file gone.py",
    ]
    assert answer.errors[2].startswith("--reward broken.py:g: rewards.2.function: broken.py:1: ")
    assert not (in_folder / "ran").exists()
    assert not (in_folder / "ran").exists()
    assert rung("check", "grpo", *TINY, "--reward", "reward.py:right=0.5", "--reward", "task").code == 0
    assert (in_folder / "ran").exists()  # the file is loaded, in its own process, and judges nothing


def test_problems_of_task_options_name_their_place(rung, in_folder):
    answer = rung("check", "grpo", *TINY, "--set", "task.levles=[1]", "--set", "steps=-1")
    assert answer.errors[0] == "--set steps: got -1, expected 0 or more"
    assert answer.errors[1].startswith("--set task.levles: ") and "did you mean 'levels'?" in answer.errors[1]
    (in_folder / "run.yaml").write_text("task:\n  name: arithmetic\n  levels: [9]\n")
    (error,) = rung("check", "grpo", "--model", "tiny", "--config", "run.yaml").errors
    assert error.startswith("run.yaml:3: task.levels: got [9], expected some of ")


def test_bad_rows_of_a_data_file_are_told_with_the_rest(rung, in_folder):
    (in_folder / "rows.jsonl").write_text('{"prompt": "1+1=", "answer": 2}\n{"prompt": \n')
    answer = rung("check", "grpo", "--model", "tiny", "--task", "rows.jsonl", "--set", "steps=-1")
    assert answer.code == 2
    assert any("rows.jsonl:2" in error for error in answer.errors)
    assert "--set steps: got -1, expected 0 or more" in answer.errors


def test_a_file_task_without_answers_needs_a_reward(rung, in_folder, model):
    rows = "".join(json.dumps({"prompt": f"say {i}", "topic": "x"}) + "\n" for i in range(50))
    (in_folder / "rows.jsonl").write_text(rows)
    (in_folder / "reward.py").write_text("def short(completions): return [1.0 for _ in completions]\n")
    arguments = ("check", "grpo", "--model", model, "--task", "rows.jsonl")
    assert rung(*arguments).errors == [
        "rewards: the task 'rows.jsonl' has none of its own; give one by --reward",
    ]
    assert rung(*arguments, "--reward", "reward.py:short").code == 0
    (error,) = rung("check", "grpo", "--model", "tiny", "--task", "rows.jsonl", "--reward", "reward.py:short").errors
    assert error.startswith("--model: 'tiny' is first taught by the task's worked examples, and 'rows.jsonl' has none")


def test_a_device_that_is_not_there(rung, in_folder):
    answer = rung("check", "grpo", *TINY, "--set", "device=cuda:99", "--reward", "gone.py:f")
    assert answer.code == 2
    assert answer.errors[0] == "--reward gone.py:f: rewards.0.function: there is no file gone.py"
    assert answer.errors[1].startswith("--set device: learner.device: got 'cuda:99', but torch sees ")
    assert rung("check", "grpo", *TINY, "--set", "device=gpu").errors == [
        "--set device: learner.device: got 'gpu', expected cpu, cuda or cuda:1"
    ]
    assert rung("check", "grpo", *TINY, "--set", "device=cpu").code == 0


def test_train_starts_what_check_shows(rung, in_folder, started):
    arguments = ("grpo", *TINY, "--seed", "3", "--set", "steps=4")
    assert rung("train", *arguments, "--quiet").code == 0
    (call,) = started.calls
    assert call.quiet and call.settings.seed == 3 and call.settings.steps == 4
    assert str(call.folder) == "runs/grpo-arithmetic-1"
    shown = rung("check", *arguments).out.splitlines()
    without_memory = [line for line in call.plan[:-1] if "GiB are free" not in line]
    assert without_memory == [line for line in shown if "GiB are free" not in line]
    assert call.plan[-1].split() == ["folder", "runs/grpo-arithmetic-1"]


def test_the_default_folder_is_the_next_free_number(rung, in_folder, started):
    for name in ("grpo-arithmetic-1", "grpo-arithmetic-7", "grpo-arithmetic-x", "rloo-arithmetic-9"):
        (in_folder / "runs" / name).mkdir(parents=True)
    rung("train", "grpo", *TINY)
    assert str(started.calls[0].folder) == "runs/grpo-arithmetic-8"


def test_an_empty_folder_is_taken_and_a_file_is_not(rung, in_folder, started):
    (in_folder / "empty").mkdir()
    (in_folder / "file").write_text("x")
    assert rung("train", "grpo", *TINY, "--out", "empty").code == 0
    answer = rung("train", "grpo", *TINY, "--out", "file")
    assert answer.code == 2 and answer.errors == ["--out: file is a file, expected a folder that is new or empty"]
    assert [str(call.folder) for call in started.calls] == ["empty"]


def test_a_run_stopped_by_a_signal_exits_75(rung, in_folder, started):
    started.train.exit_code = 75
    assert rung("train", "grpo", *TINY).code == 75


def test_a_real_run_leaves_its_folder(finished):
    assert {path.name for path in finished.iterdir()} >= {"settings.yaml", "method.json", "metrics.jsonl", "final"}
    settings = read_settings(finished / "settings.yaml")
    assert settings.steps == 2 and settings.resolved_method().samples_per_prompt == 3
    assert json.loads((finished / "method.json").read_text())["slots"]["samples_per_prompt"] == 3
    said = (finished.parent / "said.txt").read_text()
    assert said.startswith("grpo on arithmetic with ")
    assert "  from run.yaml:\n" in said and "steps = 2 (default: 100)" in said
    assert [json.loads(line)["step"] for line in (finished / "metrics.jsonl").read_text().splitlines()] == [0, 1, 2]
