"""One small comparison, made once by the command line; its runs are processes, so it takes a while."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rung.models.language.tiny import tiny_model

Start = Callable[..., "subprocess.Popen[str]"]
SETS = (
    *(
        "task.levels=[1]",
        "task.size=60",
        "task.held_out=8",
        "prompts_per_step=2",
        "method.optimizer.learning_rate=1e-3",
    ),
    *(
        "method.samples_per_prompt=3",
        "max_new_tokens=4",
        "evaluation.num_items=8",
        "evaluation.every=2",
        "saving.every=1",
    ),
    *("learner.threads=1", "reporting.page=false"),
)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tiny model's folder."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model(0).save(folder)
    return folder


@pytest.fixture(scope="session")
def arguments(model: Path) -> Callable[[Path], list[str]]:
    """The command's arguments for a folder."""

    def of(folder: Path) -> list[str]:
        sets = [word for setting in SETS for word in ("--set", setting)]
        named = ["--model", str(model), "--task", "arithmetic", "--budget", "tokens=100", "--seeds", "2"]
        return ["compare", "reinforce", "grpo", *named, *sets, "--jobs", "2", "--out", str(folder)]

    return of


@pytest.fixture(scope="session")
def start() -> Start:
    """Starts `rung ARGUMENTS` as a process of its own."""

    def process(arguments: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "rung.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return process


@pytest.fixture(scope="session")
def whole(
    start: Start, arguments: Callable[[Path], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A comparison that was never stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("comparison") / "whole"
    process = start(arguments(folder))
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return folder, said


@pytest.fixture
def copy(whole: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(whole[0], tmp_path / "copy"))
