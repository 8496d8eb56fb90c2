"""A comparison by the command line: what it writes, killed and started again, failing runs, folders in use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clockless import without_clock

from rung.errors import DataError, SettingsError
from rung.lab.compare.page import page
from rung.lab.compare.plan import RunName, outcome_file, read_plan, run_folder
from rung.lab.compare.results import compare, result
from rung.lab.compare.runs import outcomes
from rung.runs.folder import RunLock
from rung.runs.record.files import read_rows

pytestmark = pytest.mark.timeout(900)
Whole = tuple[Path, str]
Arguments = Callable[[Path], list[str]]
NAMES = [RunName(method, seed) for seed in (0, 1) for method in ("reinforce", "grpo")]


def stored(folder: Path) -> dict:
    return json.loads((folder / "comparison.json").read_text())


def test_every_run_is_an_ordinary_folder_that_spent_the_budget(whole: Whole) -> None:
    folder, _ = whole
    assert sorted(path.name for path in (folder / "runs").iterdir()) == sorted(map(str, NAMES))
    for name in NAMES:
        rows = read_rows(run_folder(folder, name) / "metrics.jsonl").rows
        tokens = [row["tokens/generated"] or 0 for row in rows[1:]]
        assert sum(tokens) >= 100 > sum(tokens[:-1]), name
        assert (run_folder(folder, name) / "final" / "config.json").is_file()
        settings = (run_folder(folder, name) / "settings.yaml").read_text()
        assert f"seed: {name.seed}\n" in settings and "tokens: 100\n" in settings


def test_a_method_a_row(whole: Whole) -> None:
    data = stored(whole[0])
    assert [row["method"] for row in data["methods"]] == ["reinforce", "grpo"]
    for row in data["methods"]:
        assert row["seeds"] == [0, 1] and row["failed"] == [] and row["not_run"] == []
        low, high = row["interval"]
        assert 0 <= low <= row["score"] <= high <= 1
        assert row["score"] == pytest.approx(sum(run["score"] for run in row["runs"]) / 2)
        assert row["spent"]["tokens"] >= 100 and row["spent"]["flops"] > 0 and row["spent"]["seconds"] > 0
        assert 0 <= row["overspent"] < 1
        for run in row["runs"]:
            assert len(run["item_scores"]) == len(run["items"]) == 8
            assert run["curve"][0]["step"] == 0
            assert run["curve"][-1]["spent"]["tokens"] == run["spent"]["tokens"]
    (pair,) = data["pairs"]
    assert (pair["before"], pair["after"], pair["seeds"]) == ("reinforce", "grpo", [0, 1])
    assert pair["p_adjusted"] == pair["difference"]["p"], "one pair: nothing to correct"


def test_what_the_methods_share(whole: Whole) -> None:
    """The same prompts and held-out items for one seed, other ones for the next; the start scores the same."""
    folder, _ = whole
    data = stored(folder)
    assert data["start_differs"] == [] and data["common_items"] is False
    by_name = {(row["method"], run["seed"]): run for row in data["methods"] for run in row["runs"]}
    for seed in (0, 1):
        first, second = by_name["reinforce", seed], by_name["grpo", seed]
        assert first["item_scores_at_start"] == second["item_scores_at_start"]
        assert first["curve"][0]["score"] == second["curve"][0]["score"]


def test_the_differences_are_the_definitions(whole: Whole) -> None:
    first, second = stored(whole[0])["differences"]
    assert first["from"] is None
    assert second["from"] == "reinforce"
    assert any(line.startswith("objective: ScoreFunction()") for line in second["changes"])


def test_what_it_prints(whole: Whole) -> None:
    folder, said = whole
    assert "compares reinforce, grpo" in said and "4/4" in said
    assert stored(folder)["verdict"]["headline"] in said
    assert str(folder / "comparison.html") in said


def test_the_page_is_made_of_the_result_alone(whole: Whole) -> None:
    folder, _ = whole
    assert (folder / "comparison.html").read_text() == page(stored(folder))


def test_started_again_it_changes_nothing(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*.jsonl")}
    result_before = stored(copy)
    said: list[str] = []
    data, code = compare(read_plan(copy), copy, jobs=2, say=said.append)
    assert code == 0 and "4 of 4 runs are finished already" in said
    assert {path: path.read_bytes() for path in copy.rglob("*.jsonl")} == before
    assert without_clock(stored(copy)) == without_clock(result_before) == without_clock(data)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def waited(true: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def at_work(folder: Path) -> bool:
    """Some run has made a step and no run has ended."""
    return any(len(path.read_bytes().splitlines()) > 1 for path in folder.glob("runs/*/metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the processes' children from /proc")
def test_killed_at_work_and_started_again(whole: Whole, start, arguments: Arguments, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = start(arguments(folder))
    waited(lambda: at_work(folder))
    children = children_of(process.pid)
    assert children, "its runs are processes of their own"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    waited(lambda: all(gone(child) for child in children), 20)
    assert len(outcomes(read_plan(folder), folder)) < 4, "it was killed before it was done"
    again = start(["compare", "--resume", str(folder), "--jobs", "2"])
    said, _ = again.communicate(timeout=600)
    assert again.returncode == 0, said
    mine, theirs = without_clock(stored(folder)), without_clock(stored(whole[0]))
    assert mine == theirs
    for name in NAMES:
        ours, whole_run = run_folder(folder, name), run_folder(whole[0], name)
        assert (ours / "metrics.jsonl").read_bytes() == (whole_run / "metrics.jsonl").read_bytes()
        weights = "final/model.safetensors"
        assert (ours / weights).read_bytes() == (whole_run / weights).read_bytes()


def test_without_clock_takes_nothing_else(whole: Whole) -> None:
    """Negative control of the comparison above."""
    data = stored(whole[0])
    changed = json.loads(json.dumps(data))
    changed["methods"][0]["runs"][1]["item_scores"][3] = 0.123
    assert without_clock(changed) != without_clock(data)
    changed = json.loads(json.dumps(data))
    changed["methods"][0]["spent"]["seconds"] = 1e9
    changed["clock"] = None
    assert without_clock(changed) == without_clock(data)


@pytest.mark.slow
def test_asked_to_stop_it_saves_and_says_how_to_go_on(start, arguments: Arguments, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    process = start(arguments(folder))
    waited(lambda: at_work(folder))
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 75, said
    assert f"rung compare --resume {folder}" in said
    assert (folder / "comparison.html").is_file()
    begun = list(folder.glob("runs/*/checkpoints/step_*"))
    assert begun, "the runs at work saved their step"


def test_a_failed_run_is_named_and_loses_no_other(copy: Path) -> None:
    """A run whose files are damaged fails; the others stay in the result, and the exit code says so."""
    name = RunName("grpo", 1)
    outcome_file(copy, name).unlink()
    (run_folder(copy, name) / "settings.yaml").write_text("model: [")
    said: list[str] = []
    _, code = compare(read_plan(copy), copy, jobs=1, say=said.append)
    assert code == 1
    assert any("grpo, seed 1: FAILED" in line for line in said), said
    rows = {row["method"]: row for row in stored(copy)["methods"]}
    assert rows["grpo"]["seeds"] == [0] and rows["grpo"]["failed"][0]["seed"] == 1
    assert "settings.yaml" in rows["grpo"]["failed"][0]["error"]
    assert rows["reinforce"]["seeds"] == [0, 1] and rows["reinforce"]["score"] is not None
    assert "One seed cannot tell" in stored(copy)["verdict"]["headline"]
    assert "Failed runs" in (copy / "comparison.html").read_text()


def test_a_run_that_never_had_a_result(copy: Path) -> None:
    """The result of a comparison in the middle says what is missing."""
    for seed in (0, 1):
        outcome_file(copy, RunName("grpo", seed)).unlink()
    data = result(read_plan(copy), copy)
    row = data["methods"][1]
    assert row["score"] is None and row["not_run"] == [0, 1] and data["pairs"] == []
    assert "Only reinforce has a score" in data["verdict"]["headline"]
    assert "grpo: not run yet with seed 0, 1." in data["verdict"]["details"]
    assert "Only reinforce has a score" in page(data)


def test_a_folder_in_use_is_refused(copy: Path) -> None:
    with (
        RunLock(copy, "comparison is being made"),
        pytest.raises(SettingsError, match=rf"this comparison is being made by .*{os.getpid()}"),
    ):
        compare(read_plan(copy), copy, jobs=1, say=print)


def test_a_plan_is_read_as_it_was_written(whole: Whole, tmp_path: Path) -> None:
    comparison = read_plan(whole[0])
    assert comparison.names() == NAMES and (comparison.axis, comparison.limit) == ("tokens", 100)
    assert comparison.run_settings(RunName("grpo", 1)).seed == 1
    with pytest.raises(DataError, match="holds no comparison"):
        read_plan(tmp_path)
    for text in ("[]", "budget: {tokens: 5}\nseeds: []\nmethods: {}\n", "budget: {tokens: 5}\nseeds: 3\nmethods: x\n"):
        (tmp_path / "comparison.yaml").write_text(text)
        with pytest.raises((DataError, SettingsError)):
            read_plan(tmp_path)


@pytest.mark.slow
def test_a_child_ends_with_its_parent(model: Path, tmp_path: Path) -> None:
    """Nobody is left at work: the end of the input ends the process, by the clock of one step at most."""
    process = subprocess.Popen([sys.executable, "-m", "rung.lab.compare.runs"], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    settings = {"model": str(model), "method": {"name": "reinforce"}, "task": {"name": "arithmetic"}, "steps": 10**6}
    process.stdin.write(
        json.dumps({"folder": str(tmp_path / "run"), "shared": str(tmp_path), "settings": settings}) + "\n"
    )
    process.stdin.flush()
    waited((tmp_path / "run" / "settings.yaml").is_file)
    process.stdin.close()
    assert process.wait(20) == -signal.SIGKILL
