"""`rung view --terminal`: a run in a terminal, and in a pipe."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from rung.lab.run_page.opened_run import OpenedRun
from rung.lab.terminal_view import frame


def drawn(folder: Path, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=100, height=height, force_terminal=True)
    console.print(frame(OpenedRun(folder), height))
    return console.file.getvalue()


def test_a_pipe_gets_the_run_once(rung, finished) -> None:
    out = rung("view", "--terminal", finished).out
    assert "Finished after 2 steps" in out and "95 % interval" in out and "Samples of step 2" in out
    assert "right" in out, "the right answer stands beside the sample"
    assert "\x1b" not in out


def test_fewer_samples_where_there_is_less_room(finished) -> None:
    assert len(drawn(finished, 12).splitlines()) < len(drawn(finished, 60).splitlines())


def test_it_ends_with_q_and_puts_the_terminal_back(finished) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rung.cli", "view", "--terminal", str(finished)]
    given = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "env": {**os.environ, "TERM": "xterm"}}
    with subprocess.Popen(command, **given) as process:
        os.close(theirs)
        seen, until = b"", time.monotonic() + 60
        while b"Samples of step" not in seen and time.monotonic() < until:
            if select.select([ours], [], [], 1.0)[0]:
                seen += os.read(ours, 65536)
        os.write(ours, b"q")
        while select.select([ours], [], [], 5.0)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
        assert process.wait(20) == 0
    os.close(ours)
    assert b"Samples of step" in seen and b"Traceback" not in seen
    assert seen.rindex(b"\x1b[?1049l") > seen.rindex(b"\x1b[?1049h"), "the screen from before is back"


@pytest.mark.parametrize("hurt", ["metrics.jsonl", "samples.parquet", "settings.yaml"])
def test_damaged_files_are_told_and_hostile_text_is_shown(hurt: str, finished, tmp_path) -> None:
    import shutil

    folder = tmp_path / "run \x1b[31m"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "samples", ignore_errors=True)
    (folder / hurt).write_bytes(b"\x1b[31m{[bold]not")
    out = drawn(folder)
    assert "\x1b[31m{" not in out and "run \\x1b" in out


def test_several_runs_are_told_of_the_table(rung, finished, tmp_path) -> None:
    import shutil

    other = shutil.copytree(finished, tmp_path / "other")
    answer = rung("view", "--terminal", finished, other)
    assert answer.code == 2 and "rung list" in answer.err
