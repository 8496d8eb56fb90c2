"""What a kill, a full disk or a hand leaves in a folder: the run goes on or begins anew, or is refused in words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_server import KILLED, Runs, assert_same

from rung import whole_files
from rung.errors import RungError, SettingsError, StorageError
from rung.library import resume, train
from rung.runs.folder import holds_something, is_finished, problems_with
from rung.runs.loop import StopRequest

COMPARED = ("metrics.jsonl", "final/small_policy.safetensors", "settings.yaml", "method.json", "inputs.json")
SETTINGS: dict[str, Any] = {
    "model": "small",
    "method": "reinforce",
    "task": "CartPole-v1",
    "steps": 2,
    "evaluation": {"every": 1, "num_items": 2},
    "saving": {"every": 1, "keep": 5},
    "learner": {"threads": 1},
    "reporting": {"page": False},
}


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs(SETTINGS)


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, said = runs.ask("train", folder)
    assert code == 0 and is_finished(folder), said
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


@pytest.mark.parametrize(
    "point",
    [
        *("load.done:1", "run.begin:1", "write.settings.yaml:1", "evaluate.done:1", "evaluate.done:3"),
        *("finish.final:1", "finish.samples:1", "finish.report:1"),
    ],
)
def test_killed_at_any_moment_it_begins_anew_or_goes_on_to_the_same_end(
    runs: Runs, whole: Path, tmp_path: Path, point: str
) -> None:
    folder = tmp_path / "run"
    code, said = runs.ask("train", folder, fault=f"{point}:kill")
    assert code == KILLED, said
    assert not is_finished(folder)
    assert (folder / "final").is_dir() == (point in ("finish.samples:1", "finish.report:1")), "final is whole or absent"
    assert not problems_with(folder, resumable=True) or (folder / "settings.yaml").is_file()
    code, said = runs.begun_or_resumed(folder)
    assert code == 0, said
    assert_same(folder, whole, COMPARED)
    assert is_finished(folder)


@pytest.mark.parametrize(
    "name", ["method.json", "inputs.json", "settings.yaml", "step_000000.json", "step_000002.json", "run-final"]
)
def test_a_disk_that_is_full_outside_checkpoints_is_told_and_the_run_goes_on_later(
    runs: Runs, whole: Path, tmp_path: Path, name: str
) -> None:
    folder, point = tmp_path / "run", "finish.final" if name == "run-final" else f"write.{name}"
    code, said = runs.ask("train", folder, fault=f"{point}:1:enospc")
    assert code == 1 and "StorageError" in said and "No space left on device" in said and "Traceback" not in said, said
    code, said = runs.begun_or_resumed(folder)
    assert code == 0, said
    assert_same(folder, whole, COMPARED)


def scores(folder: Path) -> None:
    (folder / "held_out" / "step_000000.json").write_text("[}")


def scores_of_another_shape(folder: Path) -> None:
    (folder / "held_out" / "step_000000.json").write_text('{"accuracy": "all"}')


def foreign_scores(folder: Path) -> None:
    (folder / "held_out" / "step_mine.json").write_text("mine")


def final_is_a_file(folder: Path) -> None:
    shutil.rmtree(folder / "final")
    (folder / "final").write_text("mine")


def lock_is_a_folder(folder: Path) -> None:
    (folder / ".lock").mkdir()


def lock_is_binary(folder: Path) -> None:
    (folder / ".lock").write_bytes(b"\xff\xfe")


def held_out_is_a_file(folder: Path) -> None:
    shutil.rmtree(folder / "held_out")
    (folder / "held_out").write_text("mine")


def checkpoint_without_numbers(folder: Path) -> None:
    (folder / "checkpoints" / "step_000002" / "state.json").write_text("{}")


def metrics_is_a_folder(folder: Path) -> None:
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").mkdir()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (scores, ""),
        (scores_of_another_shape, ""),
        (foreign_scores, ""),
        (lock_is_binary, ""),
        (checkpoint_without_numbers, ""),
        (final_is_a_file, "final: Not a directory"),
        (lock_is_a_folder, r"\.lock: cannot be held"),
        (held_out_is_a_file, "held_out"),
        (metrics_is_a_folder, "metrics.jsonl|cannot write here"),
    ],
)
def test_what_a_hand_left_is_gone_round_or_told(copy: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(copy)
    if not words:
        ended = resume(copy, {"steps": 3}, quiet=True)
        assert ended.step == 3 and ended.finished
        return
    with pytest.raises(RungError, match=words):
        resume(copy, {"steps": 3}, quiet=True)


def test_scores_that_cannot_be_read_are_named_at_the_end(copy: Path) -> None:
    scores(copy)
    ended = resume(copy, {"steps": 3}, quiet=True)
    assert ended.before is None and ended.summary is not None
    assert any("step_000000.json: the scores in it cannot be read" in note for note in ended.summary.notes)


def test_scores_past_the_checkpoint_are_taken_back(copy: Path) -> None:
    (copy / "held_out" / "step_000009.json").write_text("{}")
    resume(copy, quiet=True)
    assert not (copy / "held_out" / "step_000009.json").exists()


def test_another_machine_is_told_to_be_no_bitwise_twin(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rung.runs.run.rounding", lambda: {"torch": "9.9", "threads": 1, "cuda": False})
    resume(copy, {"steps": 3}, quiet=True)
    told = capsys.readouterr()
    assert "not be bitwise equal" in told.out + told.err and "is 9.9" in told.out + told.err


def test_the_manifest_is_on_the_disk_before_its_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import zeros

    from rung.runs import checkpoint

    synced: list[Path] = []
    before = whole_files.sync

    def sync(place: Any) -> None:
        if isinstance(place, Path) and place.name == "manifest.json":
            assert not (tmp_path / "step_000001").exists()
        synced.append(place)
        before(place)

    monkeypatch.setattr(whole_files, "sync", sync)
    checkpoint.write(tmp_path, 1, {"policy": {"w": zeros(2)}}, {})
    assert "manifest.json" in [place.name for place in synced] and synced[-1] == tmp_path


def test_the_second_signal_leaves_at_once_and_is_no_rewards_fault() -> None:
    from rung.rewards.values import called_in_thread, called_within

    with StopRequest() as stop:
        os.kill(os.getpid(), 2)
        assert stop.asked == "SIGINT"
        with pytest.raises(SystemExit) as left:
            called_within(5, "mine", lambda: os.kill(os.getpid(), 15))
        assert left.value.code == 128 + 15
        with pytest.raises(SystemExit):
            called_in_thread(5, "mine", lambda: os.kill(os.getpid(), 2))


@pytest.mark.parametrize("place", ["x" * 300, "a/" + "x" * 300 + "/b", "file/run"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        (SettingsError, StorageError), match=r"File name too long|Not a directory|is a file, expected a folder"
    ):
        train(out=tmp_path / place, quiet=True, **SETTINGS)


def test_what_a_beginning_leaves_is_nothing(tmp_path: Path) -> None:
    for name in (".lock", ".unfinished", "method.json", "inputs.json", "settings.yaml.aside"):
        (tmp_path / name).write_text("{}")
    assert not holds_something(tmp_path) and not is_finished(tmp_path)
    (tmp_path / "mine.txt").write_text("")
    assert holds_something(tmp_path)


READ_ONLY = """
mount -t tmpfs none "$1"; mkdir "$1/run"; cp -r "$2/." "$1/run"; mount -o remount,ro "$1" && exec "$3" -c "$4"
"""
ALL_OF_THEM = """
import json, sys
from typer.testing import CliRunner
from rung.cli import app

def said(words):
    done = CliRunner().invoke(app, words)
    return [done.exit_code, done.output, isinstance(done.exception, SystemExit | None)]

print("ANSWERS", json.dumps([said(words) for words in {commands}]))
"""
COMMANDS = {
    "resume {}/run": 2,
    "train reinforce --task CartPole-v1 --out {}/new": 2,
    "sft --model tiny --task arithmetic --out {}/new": 2,
    "eval {}/run --items 1 --samples {}/samples.jsonl": 2,
    "pairs --model tiny --task arithmetic --out {}/pairs.jsonl": 2,
    "rlhf --model tiny --task arithmetic --out {}/all": 1,
    "diagnose {}/run": 0,
}


def test_commands_on_a_read_only_disk_say_so_before_the_work(whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    asked = repr([command.replace("{}", str(place)).split() for command in COMMANDS])
    code = ALL_OF_THEM.replace("{commands}", asked).replace("| None", "| type(None)")
    shell = ["unshare", "-Urm", "bash", "-c", READ_ONLY, "-", str(place), str(whole), sys.executable]
    if subprocess.run([*shell[:-1], "/bin/true", ""], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    done = subprocess.run([*shell, code], capture_output=True, text=True, check=False)
    answers = json.loads(done.stdout.partition("ANSWERS")[2] or "[]")
    assert len(answers) == len(COMMANDS), done.stderr
    for (command, code_of_it), (got, output, ours) in zip(COMMANDS.items(), answers, strict=True):
        assert got == code_of_it and ours, (command, output)
        assert not got or "ead-only" in output, (command, output)


def test_a_stage_that_was_killed_as_its_model_appeared_is_not_taken_for_done(runs: Runs, tmp_path: Path) -> None:
    from rung.runs.recipes.rlhf import _stage
    from rung.settings import settings_from

    folder, said = tmp_path / "policy", list[str]()
    assert runs.ask("train", folder, fault="finish.samples:1:kill")[0] == KILLED
    assert (folder / "final").is_dir()
    for _ in range(2):
        assert _stage("policy", settings_from(SETTINGS), folder, said.append, True, ()) == 0
    assert said == ["stage 4, policy: goes on", "stage 4, policy: done before"]
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2
