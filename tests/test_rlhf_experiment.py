"""What rlhf_2017.py computes from its runs, and that what it prints follows from its numbers."""

from __future__ import annotations

import importlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rung.trainers.reading import read_run

experiment: Any = importlib.import_module("rlhf_2017")
recorded: Any = importlib.import_module("experiment").recorded
PENDULUM, REACHER = experiment.TASKS


def runs_of(**last: list[float]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Two seeds of every arm and task: from -10, to 10 where nothing else is said; greedy is twice as high."""
    return {
        task: {
            arm: {
                str(seed): {"first": -10.0, "last": value, "greedy": 2 * value}
                for seed, value in enumerate(last.get(arm, [10.0, 10.0]))
            }
            for arm in experiment.ARMS
        }
        for task in experiment.TASKS
    }


def test_a_share_is_of_the_way_from_chance_to_the_true_reward() -> None:
    runs = runs_of(true=[8.0, 12.0], offline=[0.0, -10.0])
    found = experiment.shares_of(runs)
    assert found["true"][PENDULUM] == [0.9, 1.1] and found["offline"][REACHER] == [0.5, 0.0]
    assert experiment.shares_of(runs, "greedy")["offline"][REACHER] == pytest.approx([1 / 3, -1 / 3])


@pytest.mark.parametrize(("offline", "passed"), [([0.0, 1.0], True), ([9.0, 10.0], False)])
def test_an_arm_is_worse_by_its_errors(offline: list[float], passed: bool) -> None:
    found = experiment.verdicts(experiment.shares_of(runs_of(offline=offline, length_1=[2.0, 3.0])))
    assert found["offline"]["passed"] is passed and found["length_1"]["passed"]
    assert found["700 labels"] == {"share": 1.0, "error": 0.0, "line": 0.8, "passed": True}


def test_returns_are_the_true_ones_whatever_was_learnt_from(tmp_path: Path) -> None:
    learnt = [
        {"step": step, "reward/mean": 100.0, "preferences/true_return": float(step), "environment/steps": 10.0 * step}
        for step in range(1, 21)
    ]
    plain = [{**row, "reward/mean": row["preferences/true_return"], "preferences/true_return": None} for row in learnt]
    for name, rows in (("learnt", learnt), ("plain", plain)):
        folder = tmp_path / name
        folder.mkdir()
        scored = [{"step": 0, "held_out/score": 1.0}, *rows[:-1], {**rows[-1], "held_out/score": 7.0}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scored))
        found = experiment.of_run(folder)
        assert (found["first"], found["last"], found["greedy"]) == (1.0, 15.5, 7.0)
        assert found["curve"] == [[100.0, 5.5], [200.0, 15.5]]


@pytest.mark.parametrize("arm", experiment.ARMS)
@pytest.mark.parametrize("task", experiment.TASKS)
def test_each_arm_is_a_run_that_rung_takes(task: str, arm: str) -> None:
    pytest.importorskip("mujoco")
    command = experiment.run_of((task, arm, 3), 100).command
    sets = [text for before, text in pairwise(command) if before == "--set"]
    run = read_run(flags={"method": command[1], "task": task, "seed": "3"}, sets=sets).required()
    method: Any = run.resolved_method()
    learnt = method.learned_reward
    assert (learnt is None) == (arm == "true")
    assert learnt is None or learnt.l2_high == 3.0


def test_what_was_missed_before_is_still_printed() -> None:
    run = recorded("rlhf_2017")
    assert run is not None and any("Swimmer-v5" in line for line in experiment.lines(run))
