"""`rung view` as a user calls it: on a real run, and wrongly."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from rung.lab.run_page.opened_run import OpenedRun


def test_a_real_runs_tokens_are_all_there(finished: Path) -> None:
    """The numbers of a run that `rung train` made: what is stored a token, and that it is consistent."""
    run = OpenedRun(finished)
    assert run.state()["finished"] and run.state()["steps"] == [1, 2]
    step = run.step(1)
    assert len(step["groups"]) == 2 and len(step["samples"]) == 6
    for sample in step["samples"]:
        tokens = run.tokens(1, sample["row"])
        count = sample["tokens"]
        for name in ("pieces", "ids", "own", "advantage", "log_prob", "learner", "entropy", "reference", "clipped"):
            assert len(tokens[name]) == count, name
        around = "(<pad>|<bos>|<eos>)*"  # what a judge does not see: padding, beginning and end
        whole = "".join(tokens["pieces"])
        assert re.fullmatch(around + re.escape(sample["completion"]) + around, whole), (sample["completion"], whole)
        assert max(map(abs, tokens["gap"])) < 1e-4 and min(tokens["entropy"]) >= 0
        assert tokens["reference"] == pytest.approx([0.0] * count, abs=1e-4)  # the start is the reference
        assert not any(tokens["clipped"])  # one update a rollout
    assert [row["step"] for row in run.grown("metrics", 0, 0)["rows"]] == [0, 1, 2]
    assert [row["step"] for row in run.grown("solved", 0, 0)["rows"]] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "RUN: there is no folder none; expected the folder of a run, such as runs/NAME"),
        (["empty"], "RUN: empty holds no run: neither settings.yaml nor metrics.jsonl is in it"),
        (["a", "a"], "RUN: {here}/a is given twice"),
        (["a", "./a"], "RUN: {here}/a is given twice"),
        (["a"] * 201, "RUN: got 201 runs, expected at most 200 in one page"),
    ],
)
def test_wrong_use_is_told_with_exit_code_2(rung, in_folder: Path, arguments: list[str], words: str) -> None:
    (in_folder / "empty").mkdir()
    (in_folder / "a").mkdir()
    (in_folder / "a" / "settings.yaml").write_text("seed: 0\n")
    done = rung("view", *arguments)
    assert done.code == 2 and words.format(here=in_folder.resolve()) in done.errors, done.err


def test_a_port_in_use_is_told_and_all_problems_at_once(rung, finished: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = rung("view", finished, "--port", taken.getsockname()[1])
    assert done.code == 2 and "is in use on 127.0.0.1" in done.errors[0]
    assert len(rung("view", "no", "nor").errors) == 2


def test_a_missing_extra_is_named(finished: Path) -> None:
    code = f"""
import sys
sys.modules["uvicorn"] = None
from rung.cli import main
sys.argv = ["rung", "view", {str(finished)!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "the viewer needs an optional dependency: pip install 'rung[pages]'" in done.stderr


def test_it_prints_its_link_serves_and_ends_with_ctrl_c_without_touching_the_run(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    process = subprocess.Popen(
        [sys.executable, "-m", "rung.cli", "view", str(finished)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        first, second = process.stdout.readline(), process.stdout.readline()
        assert first.startswith(f"{finished}: http://127.0.0.1:") and "?token=" in first
        assert "Ctrl-C" in second
        with urllib.request.urlopen(first.split(": ")[1].strip(), timeout=30) as answer:
            assert "Go on to the page" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
