"""A run whose reward is learnt, killed and resumed, ends like one that was never stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_server import KILLED, Runs, assert_same

from rung.trainers.reading import read_run

COMPARED = ("metrics.jsonl", "final/small_policy.safetensors", "settings.yaml", "method.json")
SETS = (
    *("steps=4", "evaluation.num_items=2", "evaluation.every=2", "saving.every=1", "reporting.page=false"),
    *("preferences.labels=30", "num_environments=2", "method.horizon=130", "preferences.oracle_error=0.1"),
    *("method.learned_reward.first_updates=20", "method.learned_reward.later_updates=5"),
)


@pytest.fixture(scope="module")
def runs() -> Runs:
    data = read_run(flags={"method": "rlhf@2017", "task": "Pendulum-v1"}, sets=list(SETS)).required().as_data()
    return Runs(data)


@pytest.mark.parametrize("fault", ["reward.fitted:4:kill", pytest.param("step.done:3:kill", marks=pytest.mark.slow)])
def test_killed_and_resumed_ends_the_same(runs: Runs, whole: Path, tmp_path: Path, fault: str) -> None:
    code, said = runs.ask("train", tmp_path / "run", fault=fault)
    assert code == KILLED, said
    runs.resumed(tmp_path / "run")
    assert_same(tmp_path / "run", whole, COMPARED)
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    labels = [row["preferences/labels"] for row in rows[1:]]
    assert labels[-1] == 30 and labels[1] < labels[2], "labels came after the kill too"
