"""`rung tasks` and `rung explain-metric`."""

from __future__ import annotations

from rung.runs.metrics import METRICS
from rung.tasks.load import available_tasks


def test_tasks_lists_every_task_and_says_that_files_are_tasks(rung):
    answer = rung("tasks")
    names = [line.split()[0] for line in answer.out.splitlines()]
    assert answer.code == 0
    assert names[:-2] == [name for name, _ in available_tasks()] and "arithmetic" in names
    assert "FILE.jsonl" in answer.out.splitlines()[-2] and "CartPole-v1" in answer.out.splitlines()[-1]
    found = rung("tasks", "--json").json["tasks"]
    assert [(task["name"], task["about"]) for task in found] == available_tasks()


def test_a_metric_is_explained(rung):
    answer = rung("explain-metric", "kl/start")
    assert answer.code == 0
    assert answer.out.rstrip("\n") == METRICS["kl/start"].text()
    data = rung("explain-metric", "kl/start", "--json").json
    assert data["meaning"] == METRICS["kl/start"].meaning and data["high"] == METRICS["kl/start"].high
    assert "format" in rung("explain-metric", "reward/format").out


def test_an_unknown_metric_names_the_nearest(rung):
    answer = rung("explain-metric", "kl/strat", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert answer.errors == ["metric: got 'kl/strat', which is not a metric; did you mean 'kl/start'?"]
