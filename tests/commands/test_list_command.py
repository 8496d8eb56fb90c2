"""`rung list`: runs and whole folders of runs as a table."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from rung.lab.runs_table import runs_table


def made(folder: Path, method: str, score: float | None, *, steps: int = 3, gap: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "settings.yaml").write_text(f"method:\n  name: {method}\ntask:\n  name: arithmetic\nsteps: 10\n")
    rows = [{"step": step, "reward/mean": 0.1, "sampler_gap/mean": gap} for step in range(1, steps + 1)]
    if score is not None:
        rows[-1] |= {"held_out/score": score, "held_out/low": score - 0.1, "held_out/high": score + 0.1}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "timings.jsonl").write_text('{"step": 1, "seconds/step": 61.0}\n')
    return folder


def test_folders_are_searched_and_rows_sorted(rung, tmp_path, finished) -> None:
    made(tmp_path / "a", "grpo", 0.2)
    made(tmp_path / "deep" / "er" / "b", "ppo", 0.6, gap=0.5)
    made(tmp_path / "c", "dapo", None)
    (tmp_path / "a" / "final").mkdir()
    found = rung("list", tmp_path, tmp_path / "a", finished, "--sort", "score", "--json").json["runs"]
    by_name = {Path(one["run"]).name: one for one in found}
    assert len(found) == 4, "a run that is named twice is one row"
    scores = [one["score"] for one in found]
    assert scores[-1] is None and scores[:3] == sorted(scores[:3], reverse=True)
    assert by_name["a"]["state"] == "finished" and by_name["b"]["state"] == "stopped"
    assert by_name["b"]["wrong"] == ["sampler gap"] and by_name["a"]["wrong"] == []
    assert (by_name["b"]["steps"], by_name["b"]["asked"], by_name["b"]["seconds"]) == (3, 10, 61.0)
    lines = rung("list", tmp_path, "--sort", "score", "--reverse").out.splitlines()
    assert lines[0].split()[:2] == ["run", "method"] and "60.0 % (50.0 % to 70.0 %)" in lines[-1]
    assert lines[0].index("task") == lines[-1].index("arithmetic")


def test_what_is_no_run_is_told_and_what_is_damaged_is_a_row(rung, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong, says in ((tmp_path / "empty", "holds no run"), (tmp_path / "none", "is no folder")):
        answer = rung("list", wrong)
        assert answer.code == 2 and says in answer.err
    assert "did you mean 'score'" in rung("list", made(tmp_path / "a", "grpo", 0.2), "--sort", "scor").err
    (tmp_path / "a" / "metrics.jsonl").write_text("{no\n")
    (tmp_path / "a" / "settings.yaml").write_text("method:\n  name: x\x1b[31m\ntask: [1]\n")
    (row,) = runs_table([tmp_path])
    assert row.wrong == ("metrics.jsonl cannot be read",) and row.task == "unknown" and "\x1b" not in row.method
    (tmp_path / "a" / "settings.yaml").unlink()
    assert "settings.yaml cannot be read" in runs_table([tmp_path])[0].wrong


def test_hundreds_of_runs_take_seconds_and_no_torch(tmp_path) -> None:
    for number in range(200):
        made(tmp_path / f"{number}", "grpo", 0.5, steps=20)
    code = "import sys; sys.argv = ['rung', 'list', sys.argv[1]]; from rung.cli import main\n"
    code += "try:\n  main()\nfinally:\n  print('torch' in sys.modules)"
    began = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True, timeout=60)
    assert len(run.stdout.splitlines()) == 202 and run.stdout.splitlines()[-1] == "False"
    assert time.perf_counter() - began < 30, "a quiet core needs less than two seconds"
