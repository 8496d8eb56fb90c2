from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rung.batch import Episode
from rung.errors import SettingsError
from rung.runs.record import files as files_module
from rung.runs.record.files import RunFiles
from rung.runs.record.samples import read_part

Make = Callable[..., Episode]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def files(tmp_path: Path, said: list[str]) -> RunFiles:
    return RunFiles(tmp_path / "run", say=said.append)


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_steps(files: RunFiles, make: Make, first: int, last: int) -> None:
    for step in range(first, last + 1):
        files.metrics.append({"step": step, "reward/mean": 1 / (step + 1)})
        if step:
            files.write_samples(step, [make(f"{step}", sample=i) for i in range(2)], prompts=["a", "b"])
            files.timings.append({"step": step, "seconds/step": 2.5 * step})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_leaves_these_files(files: RunFiles, make_episode: Make, said: list[str]) -> None:
    write_steps(files, make_episode, 0, 2)
    assert files.merge_samples() == files.folder / "samples.parquet"
    assert set(contents(files.folder)) == {
        "metrics.jsonl",
        "timings.jsonl",
        "samples.parquet",
    }
    assert files.problems() == [] and said == [] and files.flush()
    assert [row["step"] for row in files.history()] == [0, 1, 2]


@pytest.mark.parametrize("killed_at", [3, 4, 6])
def test_cut_back_and_redone_ends_byte_identical(tmp_path: Path, make_episode: Make, killed_at: int) -> None:
    whole = RunFiles(tmp_path / "whole")
    write_steps(whole, make_episode, 0, 6)
    whole.merge_samples()

    first = RunFiles(tmp_path / "cut")
    write_steps(first, make_episode, 0, killed_at)
    with (tmp_path / "cut" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"reward/me')
    (tmp_path / "cut" / "samples" / "step_000007.parquet.aside").write_bytes(b"half")
    first.merge_samples()

    again = RunFiles(tmp_path / "cut")
    again.cut_back(3)
    assert not (tmp_path / "cut" / "samples.parquet").exists()
    write_steps(again, make_episode, 4, 6)
    again.merge_samples()
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_cut_back_says_what_it_removed_and_what_is_missing(files: RunFiles, make_episode: Make) -> None:
    write_steps(files, make_episode, 0, 2)
    write_steps(files, make_episode, 4, 6)
    assert files.cut_back(5) == [
        "metrics.jsonl: 1 rows after step 5 removed, 5 kept",
        "metrics.jsonl: no row for step 3; they were never written",
        "timings.jsonl: 1 rows after step 5 removed, 4 kept",
        "timings.jsonl: no row for step 3; they were never written",
        "samples: parts of step 6 removed",
    ]
    assert files.cut_back(0)[-1] == "samples: parts of 4 steps from 1 to 5 removed"
    assert [row["step"] for row in files.history()] == [0]


def test_cut_back_of_a_fresh_folder_does_nothing(files: RunFiles) -> None:
    assert files.cut_back(0) == []


def test_a_full_disk_stops_nothing_and_loses_nothing(
    files: RunFiles, make_episode: Make, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_steps(files, make_episode, 0, 1)
    before = contents(files.folder)
    with monkeypatch.context() as full:
        full.setattr(os, "write", no_space)
        full.setattr(Path, "write_bytes", no_space)
        write_steps(files, make_episode, 2, 4)
        assert contents(files.folder) == before
        assert not files.flush()
        assert len(said) == 3 and all("No space left" in sentence for sentence in said)  # once for each file
        assert len(files.problems()) == 3
        assert [row["step"] for row in files.history()] == [0, 1, 2, 3, 4]
    write_steps(files, make_episode, 5, 5)
    assert files.flush()
    assert [row["step"] for row in files.history()] == [0, 1, 2, 3, 4, 5]
    for step in range(1, 6):
        assert [row["completion"] for row in read_part(files.samples_folder / f"step_{step:06d}.parquet")] == [
            f"{step}"
        ] * 2
    assert "again" in said[-1]


def test_samples_that_wait_are_bounded_and_the_loss_is_told(
    files: RunFiles, make_episode: Make, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", no_space)
    monkeypatch.setattr(files_module, "WAITING_LIMIT", 1)
    for step in (1, 2, 3):
        files.write_samples(step, [make_episode()])
    assert files.problems() == [
        "samples: step 3 could not be written to the disk",
        "samples: 2 steps from 1 to 2 were given up: too much waited in memory for the disk",
    ]
    assert len(said) == 1


def test_a_disk_that_is_full_at_the_end_leaves_the_parts(
    files: RunFiles, make_episode: Make, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_steps(files, make_episode, 1, 1)
    monkeypatch.setattr(files_module.samples, "merge", no_space)
    assert files.merge_samples() is None
    assert said == ["samples.parquet: cannot be written (No space left on device); samples/ has all of it in parts"]


def test_no_samples_no_merged_file(files: RunFiles) -> None:
    assert files.merge_samples() is None


def test_what_is_not_finite_is_flagged(files: RunFiles) -> None:
    files.metrics.append({"step": 1, "loss": math.nan})
    assert files.history() == [{"loss": None, "nonfinite/loss": 1, "step": 1}]
    assert files.problems() == ["loss was not finite in 1 step and is null there in metrics.jsonl"]


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"cannot write here .* choose another folder with --out"):
        RunFiles(tmp_path / "file" / "run")


@pytest.mark.parametrize("name", ["metrics.jsonl", "timings.jsonl", "samples", "samples.parquet"])
def test_a_run_writes_through_no_link(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="is a link"):
        RunFiles(tmp_path)
