"""Code of the user's own by files that they name: `--method`, `--parts`, `--task`; asked for again on resume."""

from __future__ import annotations

import json

import pytest

CODE = """\
from dataclasses import dataclass
from typing import Annotated

from rung import GRPO, Item, TextTask, parts


@dataclass(frozen=True)
class Centred:
    "Returns less their mean."

    share: Annotated[float, parts.SHARE] = 0.5

    def __call__(self, batch):
        returns_B = batch.returns_B()
        return self.share * (returns_B - returns_B.mean())[:, None] * batch.action_mask_BT


MINE = GRPO.changed(name="mine", summary="Centred.", advantage=Centred(), samples_per_prompt=2)
items = tuple(Item(id=f"d{n}", prompt=f"{n}+{n}=", columns={}) for n in range(1, 9))
MyTask = TextTask(name="doubling", train=items[:6], held_out=items[6:], rewards=())


def score(prompts, completions, **columns):
    return [float(len(text)) for text in completions]
"""
FEW = ["steps=1", "prompts_per_step=2", "max_new_tokens=4", "evaluation.every=0", "saving.every=1", "learner.threads=1"]


@pytest.fixture
def code(tmp_path):
    file = tmp_path / "my.py"
    file.write_text(CODE)
    return file


def few(more=()):
    return [part for one in (*FEW, "reporting.page=false", *more) for part in ("--set", one)]


def test_a_method_and_a_task_of_ones_own_are_trained_and_asked_for_again(rung, model, code, tmp_path):
    asked = [
        "--model",
        model,
        "--task",
        f"{code}:MyTask",
        "--reward",
        f"{code}:score",
        *few(["method.advantage.share=0.25"]),
    ]
    run = tmp_path / "run"
    first = rung("train", f"{code}:MINE", *asked, "--out", run)
    assert first.code == 0, first.errors
    assert "0.25" in (run / "settings.yaml").read_text()
    assert str(code) not in (run / "settings.yaml").read_text().replace(f"{code}:score", "")

    without = rung("resume", run, "--set", "steps=2")
    assert without.code == 2
    assert "Centred" in without.errors[0]

    again = rung("resume", run, "--set", "steps=2", "--parts", code, "--task", f"{code}:MyTask")
    assert again.code == 0, again.errors
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [0, 1, 2]


def test_a_file_without_the_name_says_so(rung, model, code, tmp_path):
    answer = rung("train", f"{code}:MINES", "--model", model, "--task", "arithmetic", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "MINES" in answer.errors[0]
    assert "MINE" in answer.errors[0].replace("MINES", "")


def test_a_method_of_ones_own_on_stored_pairs_is_known(rung, model, tmp_path):
    (tmp_path / "own_dpo.py").write_text("from rung import DPO\nMINE = DPO.changed(name='mine', summary='My own.')\n")
    pair = {"prompt": "1+1=", "chosen": "2", "rejected": "3"}
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps({**pair, "prompt": f"{n}+1="}) + "\n" for n in range(30)))
    answer = rung("check", f"{tmp_path}/own_dpo.py:MINE", "--model", model, "--task", tmp_path / "pairs.jsonl")
    assert answer.code == 0, answer.errors


def test_a_folder_that_cannot_be_written_is_told_at_the_start(rung, model, tmp_path, monkeypatch):
    asked = ["train", "grpo", "--model", model, "--task", "arithmetic"]
    monkeypatch.setattr("rung.runs.folder.os.access", lambda path, mode: False)
    answer = rung(*asked, "--out", tmp_path / "a" / "b")
    assert answer.code == 2
    assert f"--out: {tmp_path}/a/b cannot be written: {tmp_path} is read-only" in answer.errors[0]
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    for out, words in ((tmp_path / "file" / "b", "is a file"), (tmp_path / ("x" * 300), "cannot be a run's folder")):
        answer = rung(*asked, "--out", out)
        assert answer.code == 2
        assert words in answer.errors[0]
