"""Relative paths mean the place where they were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rung.settings import read_pairs, read_sft, settings_from, with_whole_paths
from rung.trainers.reading import read_run

FLAGS = {"model": "m", "method": "grpo", "task": "rows.jsonl"}


def made(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")


def test_a_runs_record_has_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, "rows.jsonl", "held.jsonl", "judge.py", "m/config.json", "t/config.json", "kind/config.json")
    given = {
        "model": "m",
        "teacher": "t",
        "method": "distillation",
        "task": {"name": "rows.jsonl", "held_out_file": "held.jsonl"},
        "rewards": [{"function": "judge.py:score"}, {"function": "task"}, {"function": "kind"}],
    }
    kept = with_whole_paths(settings_from(given), tmp_path)
    assert (kept.model, kept.teacher) == (str(tmp_path / "m"), str(tmp_path / "t"))
    assert kept.task.name == str(tmp_path / "rows.jsonl")
    assert kept.task.options() == {"held_out_file": str(tmp_path / "held.jsonl")}
    assert [part.function for part in kept.rewards] == [
        f"{tmp_path / 'judge.py'}:score",
        "task",
        str(tmp_path / "kind"),
    ]
    assert with_whole_paths(kept, tmp_path / "elsewhere") == kept


@pytest.mark.parametrize("model", ["tiny", "small", "org/model"])
def test_names_that_are_no_path_stay(tmp_path: Path, model: str) -> None:
    for name in ("tiny", "small", "arithmetic"):
        (tmp_path / name).mkdir()
    settings = settings_from({"model": model, "method": "grpo", "task": "arithmetic"})
    assert with_whole_paths(settings, tmp_path) == settings


def test_a_settings_file_is_read_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, "there/rows.jsonl", "here/rows.jsonl", "here/other.jsonl")
    (tmp_path / "there" / "run.yaml").write_text("model: m\nmethod: grpo\ntask: rows.jsonl\n")
    (tmp_path / "there" / "two.yaml").write_text("model: m\nmethod: grpo\ntask: {name: other.jsonl}\n")
    monkeypatch.chdir(tmp_path / "here")
    beside = read_run(recipe="none", config=tmp_path / "there" / "run.yaml").required()
    assert beside.task.name == str(tmp_path / "there" / "rows.jsonl")
    here = with_whole_paths(read_run(recipe="none", config=tmp_path / "there" / "two.yaml").required(), Path.cwd())
    assert here.task.name == str(tmp_path / "here" / "other.jsonl"), "what is not beside the file is looked for here"
    flags = read_run(recipe="none", flags=FLAGS).required()
    assert flags.task.name == "rows.jsonl", "a flag's path is the working folder's"


@pytest.mark.parametrize("read", [read_sft, read_pairs])
def test_so_is_the_file_of_a_command_without_a_method(
    read: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "there/rows.jsonl", "here/rows.jsonl")
    (tmp_path / "there" / "made.yaml").write_text("model: m\ntask: rows.jsonl\n")
    monkeypatch.chdir(tmp_path / "here")
    assert read(config=tmp_path / "there" / "made.yaml").required().task.name == str(tmp_path / "there" / "rows.jsonl")
