"""`rung resume`."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest

from rung.settings import Settings, to_yaml


@pytest.fixture
def resumed(monkeypatch):
    calls = []

    def resume(folder, changes, *, quiet, parts):
        assert parts == ()
        calls.append((folder, changes, quiet))
        return SimpleNamespace(exit_code=75)

    monkeypatch.setattr("rung.library.resume", resume)
    return calls


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "settings.yaml").write_text(to_yaml(Settings(model="tiny", method="grpo", task="arithmetic")))
    return folder


def test_changes_reach_the_library_by_their_whole_keys(rung, run, resumed):
    answer = rung("resume", run, "--set", "steps=7", "--set", "evaluation.every=3", "--quiet")
    assert answer.code == 75
    assert resumed == [(run, {"steps": 7, "evaluation.every": 3}, True)]
    rung("resume", run)
    assert resumed[1] == (run, {}, False)


def test_wrong_changes_are_told_together(rung, run, resumed):
    answer = rung("resume", run, "--set", "steps=x", "--set", "num_items=0", "--set", "stepz=1")
    assert (answer.code, answer.out, resumed) == (2, "", [])
    assert [error.split(":")[0] for error in answer.errors] == ["--set stepz", "--set steps", "--set num_items"]


def test_a_folder_without_a_run(rung, tmp_path, resumed):
    answer = rung("resume", tmp_path / "nothing")
    assert answer.code == 2
    assert answer.errors == [f"{tmp_path}/nothing: holds no run (there is no {tmp_path}/nothing/settings.yaml)"]


def test_settings_that_were_broken_by_hand_say_where(rung, run, resumed):
    file = run / "settings.yaml"
    file.write_text(file.read_text().replace("steps: 100", "steps: many"))
    line = file.read_text().splitlines().index("steps: many") + 1
    assert rung("resume", run).errors == [f"{file}:{line}: steps: got 'many', expected a whole number"]


def test_a_real_run_is_made_longer_and_keeps_what_it_is(rung, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    answer = rung("resume", folder, "--set", "steps=3", "--set", "reporting.page=false", "--quiet")
    assert answer.code == 0, answer.err
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for change in ("evaluation.num_items=3", "evaluation={samples: 2}", "evaluation.temperature=1"):
        refused = rung("resume", folder, "--set", "steps=4", "--set", change)
        assert refused.code == 2 and "the scores so far were taken with" in refused.err, refused.err
        assert "may change: steps, budget, evaluation.every, saving, reporting" in refused.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, "nothing was begun"
    same = ("--set", "evaluation.num_items=6", "--set", "evaluation.every=1", "--set", "reporting.page=false")
    again = rung("resume", folder, *same, "--quiet")
    assert again.code == 0, again.err
    refused = rung("resume", folder, "--set", "seed=3")
    assert refused.code == 2 and "seed: a resumed run keeps it" in refused.err
