"""A run of trials in the one loop: killed and resumed it ends like one never stopped; what it leaves can be scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_server import KILLED, Runs, assert_same
from typer.testing import CliRunner

from rung.cli import app
from rung.errors import DataError
from rung.library import resume, train
from rung.trainers.boxes_1983 import collector as trial_collector
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.boxes_1983.trials import loops
from rung.trainers.reading import read_run

COMPARED = ("metrics.jsonl", "final/box_policy.safetensors", "settings.yaml", "method.json")


def settings(method: str, *more: str) -> Any:
    sets = ["steps=12", "saving.every=1", "reporting.page=false", *more]
    return read_run(flags={"method": method, "task": "cartpole-1983", "seed": "3"}, sets=sets).required()


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs({})


@pytest.mark.parametrize("method", ["ase_ace", pytest.param("boxes", marks=pytest.mark.slow)])
def test_killed_and_resumed_ends_the_same(runs: Runs, tmp_path: Path, method: str) -> None:
    runs.settings = settings(method, "task.most_steps=700").as_data()
    assert runs.ask("train", tmp_path / "whole")[0] == 0
    code, said = runs.ask("train", tmp_path / "killed", fault="step.done:5:kill")
    assert code == KILLED, said
    runs.resumed(tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "whole", COMPARED)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) > 6 and [row["step"] for row in rows] == list(range(len(rows)))
    assert rows[-1]["environment/steps"] == sum(row["length/mean"] for row in rows[1:]) <= 700


def test_a_run_whose_time_is_used_up_ends_in_words_and_resumes_to_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    train(settings("ase_ace", "task.most_steps=150", "saving.keep=20"), whole)
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    last = len(rows) - 1
    assert f"the run's 150 time steps are used up after {last} trials" in capsys.readouterr().out
    assert 2 < last < 12 and rows[-1]["environment/steps"] == 150 and rows[-1]["held_out/score"] is not None
    assert all(row["episodes/generated"] == 1 for row in rows[1:]), "no step is empty"
    for newest in (last - 1, last):  # as a kill would leave it after that step's checkpoint
        killed = tmp_path / f"killed-{newest}"
        shutil.copytree(whole, killed)
        shutil.rmtree(killed / "final")
        for step in range(newest + 1, last + 1):
            shutil.rmtree(killed / "checkpoints" / f"step_{step:06d}")
        resume(killed, quiet=True)
        assert_same(killed, whole, COMPARED)


def test_what_a_run_leaves_can_be_scored(tmp_path: Path) -> None:
    summary = train(settings("ase_ace", "reporting.page=true"), tmp_path / "run", quiet=True)
    assert summary.before is not None and summary.after is not None and summary.after.items == 1
    assert (tmp_path / "run" / "episode.gif").read_bytes().startswith(b"GIF8")
    assert "data:image/gif;base64," in (tmp_path / "run" / "report.html").read_text()
    asked = ["eval", str(tmp_path / "run"), "--temperature", "0", "--json"]
    found = json.loads(CliRunner().invoke(app, asked).stdout)
    assert found["items"] == 1 and found["score"] == summary.after.value


def test_without_numba_the_run_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(trial_collector, "loops", lambda: loops(compiled=False))
    from rung.library import trainer

    collector = trainer(settings("ase")).collector
    first = collector.collect(1, lambda _: pytest.fail("nothing is timed"))
    assert any("pip install 'rung[classic]'" in note for note in first.notes)
    assert collector.collect(2, lambda _: pytest.fail("nothing is timed")).notes == ()


def test_a_folder_without_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not be loaded"):
        BoxPolicy.load(tmp_path, boxes=162)
    BoxPolicy(("push",), boxes=5).save(tmp_path)
    with pytest.raises(DataError, match="162 each"):
        BoxPolicy.load(tmp_path, boxes=162)
    assert BoxPolicy.load(tmp_path, boxes=5).push.tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "ase_ace", "--task", "CartPole-v1"], "learns in the boxes of cartpole-1983 alone"),
        (["train", "ase_ace", "--task", "arithmetic", "--model", "tiny"], "learns in the boxes of cartpole-1983 alone"),
        (["train", "ppo", "--task", "cartpole-1983"], "there is CartPole-v1"),
        (["train", "ase", "--task", "cartpole-1983", "--model", "tiny"], "is an environment"),
        (["check", "ase", "--task", "cartpole-1983", "--set", "method.actor.decay=1"], "expected at least 0 and below"),
        (["check", "ase_ace", "--task", "cartpole-1983", "--set", "actor.part=Lifetimes"], "reads no r̂"),
        (["sft", "--task", "cartpole-1983", "--model", "tiny"], "expected a text task"),
    ],
)
def test_what_does_not_go_together_is_told_with_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 2 and words in answer.stderr, answer.stderr
