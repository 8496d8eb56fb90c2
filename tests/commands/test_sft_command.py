"""`rung sft`."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from rung.runs.statistics import mean_at_k


@pytest.fixture
def tuned(monkeypatch):
    calls = []

    def sft(settings, folder, *, quiet, say):
        calls.append(SimpleNamespace(settings=settings, folder=folder, quiet=quiet))
        if not quiet:
            say("step 5/5")
        before, after = mean_at_k([[0], [0], [0], [1]]), mean_at_k([[1], [1], [0], [1]])
        return SimpleNamespace(folder=folder, loss=0.25, before=before, after=after)

    monkeypatch.setattr("rung.runs.recipes.sft.sft", sft)
    return calls


def test_settings_come_from_file_flags_and_set(rung, in_folder, tuned):
    (in_folder / "sft.yaml").write_text("steps: 9\nlearning_rate: 1e-4\n")
    answer = rung(
        *("sft", "--model", "tiny", "--task", "arithmetic", "--config", "sft.yaml", "--seed", "2"),
        *("--set", "steps=5", "--set", "threads=1", "--out", "here"),
    )
    assert answer.code == 0
    (call,) = tuned
    settings = call.settings
    assert (settings.steps, settings.learning_rate, settings.seed, settings.learner.threads) == (5, 1e-4, 2, 1)
    assert str(call.folder) == "here" and not call.quiet
    assert answer.out.splitlines() == [
        "step 5/5",
        "loss 0.250 nats a token",
        "held out 0.250 (0.046 to 0.699) before, 0.750 (0.301 to 0.954) after, on 4 items",
        "the model is in here/final",
    ]


def test_the_folder_and_quiet(rung, in_folder, tuned):
    assert rung("sft", "--model", "tiny", "--task", "reasoning_gym/chain_sum", "--quiet").out.startswith("loss")
    assert (str(tuned[0].folder), tuned[0].quiet) == ("runs/sft-chain_sum-1", True)


def test_all_problems_at_once(rung, in_folder, tuned):
    (in_folder / "full").mkdir()
    (in_folder / "full" / "x").write_text("")
    answer = rung("sft", "--model", "tiny", "--set", "steps=x", "--set", "learning_rate=0", "--out", "full")
    assert (answer.code, answer.out, tuned) == (2, "", [])
    assert answer.errors == [
        "task: missing; expected a task's name or a data file (--task)",
        "--set steps: got 'x', expected a whole number",
        "--set learning_rate: got 0, expected more than 0, or null",
        "--out: full is not empty; choose another folder",
    ]


def test_a_real_one_leaves_a_model(rung, in_folder, model):
    sets = ("steps=2", "examples_per_step=4", "evaluation_items=2", "max_new_tokens=3", "threads=1", "task.levels=[1]")
    flags = [text for one in (*sets, "task.held_out=4") for text in ("--set", one)]
    answer = rung("sft", "--model", model, "--task", "arithmetic", "--out", "here", *flags)
    assert answer.code == 0, answer.err
    assert (in_folder / "here" / "final" / "model.safetensors").is_file()
    assert answer.out.splitlines()[-1] == "the model is in here/final"


def test_examples_that_nothing_judges_are_learnt_all_the_same(rung, in_folder, model):
    rows = [{"prompt": f"{n}: the", "completion": " end."} for n in range(8)]
    (in_folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [text for one in ("steps=2", "examples_per_step=4", "threads=1") for text in ("--set", one)]
    answer = rung("sft", "--model", model, "--task", "rows.jsonl", "--out", "here", *sets)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-2:] == [
        "nothing judges answers to rows.jsonl, so none were scored",
        "the model is in here/final",
    ]
