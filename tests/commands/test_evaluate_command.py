"""`rung eval`: of a model, of a finished run, of a run that was stopped; alone and against a base."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import yaml
from safetensors.torch import load_file

from rung.errors import SettingsError
from rung.runs.evaluate import found

SMALL = ("--items", "4", "--k", "2", "--max-new-tokens", "3", "--set", "task.levels=[1]", "--set", "task.held_out=6")


@pytest.fixture
def measured(monkeypatch):
    calls = []

    def evaluate(model, asked, *, base=None, handed=None):
        calls.append(SimpleNamespace(model=model, base=base, **dict(asked)))
        print("loading weights")
        data = {"score": 0.5, "interval": [0.25, 0.75], "k": asked.k, "items": 4, "not_judged": 1, "base": None}
        data["pass_at_k"] = {"value": 1.0, "low": 0.5, "high": None}
        shown = {"task": asked.task.name, "split": asked.split, "samples": ({"id": "a", "completion": "b"},)}
        return SimpleNamespace(as_data=lambda: data, **shown)

    monkeypatch.setattr("rung.runs.evaluate.evaluate", evaluate)
    return calls


def test_everything_asked_for_reaches_the_library(rung, measured):
    answer = rung(
        *("eval", "tiny", "--task", "arithmetic", "--k", "3", "--items", "5", "--temperature", "0.5", "--seed", "9"),
        *("--max-new-tokens", "7", "--split", "train", "--base", "other", "--set", "task.levels=[1]", "--json"),
    )
    (call,) = measured
    assert (call.model, call.base, call.task.name, call.task.options()) == (
        "tiny",
        "other",
        "arithmetic",
        {"levels": [1]},
    )
    assert (call.k, call.items, call.temperature, call.max_new_tokens) == (3, 5, 0.5, 7)
    assert (call.seed, call.split) == (9, "train")
    assert answer.json["score"] == 0.5 and answer.json["interval"] == [0.25, 0.75]
    assert "loading weights" in answer.err


def test_the_defaults(rung, measured):
    answer = rung("eval", "tiny", "--task", "arithmetic")
    (call,) = measured
    assert (call.k, call.items, call.temperature, call.max_new_tokens) == (8, 256, 1.0, 128)
    assert (call.seed, call.split, call.base) == (0, "held_out", None)
    assert answer.out.splitlines()[-4:] == [
        "tiny on arithmetic: 4 items, 8 samples each",
        "1 samples could not be judged and are left out",
        "  mean@8  0.500 (0.250 to 0.750)",
        "  pass@8  1.000 (0.500 to unknown)",
    ]


def test_a_run_brings_its_task_limits_and_seed(rung, measured, finished):
    rung("eval", finished)
    rung("eval", finished, "--task", "addition-few-shot", "--items", "2")
    own, other = measured
    assert own.model == str(finished / "final")
    assert (own.task.options(), own.items, own.max_new_tokens) == ({"levels": [1], "size": 40, "held_out": 6}, 6, 4)
    assert (other.task.name, other.task.options(), other.items) == ("addition-few-shot", {}, 2)


def test_all_problems_at_once(rung, measured):
    answer = rung("eval", "tiny", "--k", "0", "--items", "x", "--split", "test", "--set", "task.levels", "--json")
    assert (answer.code, answer.out, measured) == (2, "", [])
    assert answer.errors == [
        "--set: got 'task.levels', expected KEY=VALUE such as steps=50",
        "task: missing; expected a task's name or a data file (--task)",
        "--k: got 0, expected 1 or more",
        "--items: got 'x', expected a whole number",
        "--split: got 'test', expected 'held_out' or 'train'",
    ]


def test_a_real_evaluation_has_what_it_promises(rung, model):
    answer = rung("eval", model, "--task", "arithmetic", *SMALL, "--json")
    data = answer.json
    assert answer.code == 0
    assert {"score", "interval", "k", "items", "pass_at_k", "maj_at_k"} <= set(data)
    assert (data["k"], data["items"], len(data["interval"])) == (2, 4, 2)
    assert data["interval"][0] <= data["score"] <= data["interval"][1]


def test_against_itself_a_model_gains_nothing(rung, model, finished):
    data = rung("eval", finished, "--base", finished, "--k", "2", "--json").json
    assert data["paired"]["value"] == 0 and data["base"]["value"] == data["score"]
    assert "gain" in rung("eval", finished, "--base", model, "--k", "1").out


def test_a_run_that_was_stopped_is_measured_at_its_newest_checkpoint(rung, finished, tmp_path):
    stopped = tmp_path / "stopped"
    shutil.copytree(finished, stopped)
    shutil.rmtree(stopped / "final")
    with found(str(stopped)) as it:
        weights = load_file(f"{it.model}/model.safetensors")
        final = load_file(finished / "final" / "model.safetensors")
        assert weights.keys() == final.keys() and all(weights[name].equal(final[name]) for name in final)
    answer = rung("eval", stopped, "--k", "1", "--json")
    assert answer.code == 0 and answer.json["model"] == str(stopped)
    assert "is not finished: its checkpoint of step 2 is used" in answer.err
    shutil.rmtree(stopped / "checkpoints")
    with pytest.raises(SettingsError, match="no final model and no checkpoint yet"), found(str(stopped)):
        pass


def test_taking_a_checkpoints_weights_asks_no_reward_no_engine_and_no_other_process(finished, in_folder):
    """What only writes a checkpoint as a model goes through no gate."""
    stopped = in_folder / "stopped"
    shutil.copytree(finished, stopped)
    shutil.rmtree(stopped / "final")
    (in_folder / "judge.py").write_text("def broken(completions):\n    raise RuntimeError('asked')\n")
    asked = yaml.safe_load((stopped / "settings.yaml").read_text())
    asked["sampler"] |= {"engine": "vllm", "python": "/no/such/python"}
    asked["learner"]["processes"] = 2
    asked["rewards"] = [{"function": "judge.py:broken"}]
    (stopped / "settings.yaml").write_text(yaml.safe_dump(asked))
    with found(str(stopped)) as it:
        weights = load_file(f"{it.model}/model.safetensors")
    final = load_file(finished / "final" / "model.safetensors")
    assert weights.keys() == final.keys() and all(weights[name].equal(final[name]) for name in final)


def test_a_run_is_judged_by_its_own_rewards(rung, model, in_folder):
    (in_folder / "judge.py").write_text(
        "def short(prompts, completions, **columns):\n    return [0.25] * len(completions)\n"
    )
    task = ["task.levels=[1]", "task.size=40", "task.held_out=6", "rewards=[{function: 'judge.py:short'}]"]
    sets = [word for one in (*task, "steps=0", "max_new_tokens=4", "reporting.page=false") for word in ("--set", one)]
    trained = rung("train", "grpo", "--model", model, "--task", "arithmetic", "--out", "run", *sets)
    assert trained.code == 0, trained.err
    assert rung("eval", "run", "--k", "1", "--items", "2", "--json").json["score"] == 0.25
    assert rung("eval", "run/final", "--task", "arithmetic", "--k", "1", "--items", "2", "--json").json["score"] != 0.25


def test_rewards_of_ones_own_and_the_parts_apart(rung, model, in_folder):
    (in_folder / "judge.py").write_text(
        "def long(completions):\n    return [float(len(text)) for text in completions]\n"
        "def half(completions):\n    return [0.5] * len(completions)\n"
    )
    given = ("--reward", "judge.py:half", "--reward", "judge.py:long=0")
    answer = rung("eval", model, "--task", "arithmetic", *SMALL, *given, "--samples", "all.jsonl", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["score"] == 0.5 and list(answer.json["parts"]) == ["half", "long"]
    assert answer.json["parts"]["half"] == {"mean": 0.5, "deviation": 0.0} and answer.json["kl_to_base"] is None
    rows = [json.loads(line) for line in (in_folder / "all.jsonl").read_text().splitlines()]
    assert len(rows) == 8 and {row["sample"] for row in rows} == {0, 1}
    assert [row["rewards"] for row in rows] == [{"half": 0.5, "long": float(len(row["completion"]))} for row in rows]
    lengths = [row["rewards"]["long"] for row in rows]
    assert answer.json["parts"]["long"]["mean"] == pytest.approx(sum(lengths) / len(lengths))


def test_a_file_of_samples_is_never_written_over(rung, measured, in_folder):
    (in_folder / "old.jsonl").write_text("mine")
    answer = rung("eval", "tiny", "--task", "arithmetic", "--samples", "old.jsonl")
    assert answer.errors == ["--samples: old.jsonl is there already; choose another name"] and not measured
    assert rung("eval", "tiny", "--task", "arithmetic", "--samples", "a.txt").code == 2
    assert rung("eval", "tiny", "--task", "arithmetic", "--samples", "new.jsonl").code == 0
    assert (in_folder / "new.jsonl").read_text() == '{"id": "a", "completion": "b"}\n'


@pytest.fixture(scope="module")
def moved(model, tmp_path_factory):
    """A run of two steps whose weights have changed at both."""
    from rung.library import train
    from rung.settings import settings_from

    folder = tmp_path_factory.mktemp("moved")
    (folder / "judge.py").write_text("def long(completions):\n    return [float(len(text)) for text in completions]\n")
    settings = {
        "model": str(model),
        "method": {"name": "rloo", "samples_per_prompt": 3, "optimizer": {"learning_rate": 1e-2}},
        "task": {"name": "arithmetic", "levels": [1], "size": 40, "held_out": 6},
        "rewards": [{"function": f"{folder / 'judge.py'}:long"}],
        **{"steps": 2, "prompts_per_step": 2, "max_new_tokens": 4, "learner": {"threads": 1}},
        **{"evaluation": {"num_items": 2}, "saving": {"every": 1}, "reporting": {"page": False}},
    }
    train(settings_from(settings), folder / "run", quiet=True)
    return folder / "run"


def kl(rung, *words):
    answer = rung("eval", *words, "--k", "2", "--items", "3", "--json")
    assert answer.code == 0, answer.err
    return answer.json["kl_to_base"]


def test_the_kl_to_the_base_is_told_where_both_are_laws(rung, model, moved):
    found = kl(rung, moved, "--base", model)
    assert found["value"] > 1e-4 and found["items"] == 3
    assert kl(rung, moved, "--base", moved)["value"] == pytest.approx(0, abs=1e-6)
    assert kl(rung, moved, "--base", model, "--temperature", "0") is None


def test_a_runs_checkpoint_by_its_step(rung, model, moved):
    assert kl(rung, moved, "--step", "1", "--base", moved)["value"] > 1e-4
    assert kl(rung, moved, "--step", "2", "--base", moved)["value"] == pytest.approx(0, abs=1e-6)
    missing = rung("eval", moved, "--step", "7")
    assert missing.code == 2
    (error,) = missing.errors
    assert error.startswith("--step: got 7; ") and "checkpoints of steps: 1, 2 " in error
    (error,) = rung("eval", model, "--task", "arithmetic", "--step", "1").errors
    assert error.endswith("is no run's folder, so it has no steps")
