"""The examples run as they stand, at a tiny budget, and do what their first lines promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rung

ROOT = Path(__file__).parent.parent


def run_example(name: str, *arguments: str) -> str:
    """What the example printed."""
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_loop_of_ones_own_trains_scores_and_saves(tmp_path: Path) -> None:
    assert len((ROOT / "examples" / "own_loop.py").read_text().splitlines()) <= 40
    said = run_example("own_loop.py", "5", str(tmp_path / "model"))
    assert re.findall(r"^step (\d): loss", said, re.MULTILINE) == ["1", "2", "3", "4", "5"]
    assert re.search(r"^step 5: held-out score [01]\.\d+$", said, re.MULTILINE)
    assert (tmp_path / "model" / "config.json").is_file()
    assert rung.load_policy(str(tmp_path / "model"), device="cpu").tokenizer is not None


@pytest.mark.slow
def test_a_method_of_ones_own_is_killed_resumed_explained_and_compared(tmp_path: Path) -> None:
    said = run_example("own_method.py", "6", "1K", str(tmp_path))
    assert "A = scale · (R − median of the prompt's R)" in said
    assert "- advantage: GroupNormalized(" in said and "→ AboveMedian(scale=2)" in said
    killed = re.search(r"^killed after step (\d+)$", said, re.MULTILINE)
    assert killed and 3 <= int(killed[1]) < 6, "killed in the middle"
    assert [row["step"] for row in rung.open(tmp_path / "run").metrics()][-1] == 6
    assert re.search(r"^resumed to step 6: held-out score [01]\.\d+$", said, re.MULTILINE)
    assert said.splitlines()[-1].endswith(".") and "median_grpo" in said.splitlines()[-1]
