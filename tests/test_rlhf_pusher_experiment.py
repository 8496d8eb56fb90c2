"""What rlhf_2017_pusher.py computes from its runs, and that its settings can be run."""

from __future__ import annotations

import importlib
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from rung.trainers.reading import read_run

experiment: Any = importlib.import_module("rlhf_2017_pusher")


def measured(monkeypatch: pytest.MonkeyPatch, **given: list[float]) -> dict[str, Any]:
    """Two seeds of every arm, from -30, to -10 and -12 where nothing else is said."""
    found = {
        arm: {seed: {"first": -30.0, "last": value} for seed, value in enumerate(given.get(arm, [-10.0, -12.0]))}
        for arm in experiment.NAMES
    }
    monkeypatch.setattr(experiment, "read_all", lambda folders, of_run: found)
    return dict(experiment.measure(SimpleNamespace(seeds=range(2)), {}))["arms"]


@pytest.mark.parametrize(
    ("offline", "passed"), [([-20.0, -22.0], True), ([-11.0, -13.0], False), ([-5.0, -7.0], False)]
)
def test_an_arm_is_lower_by_its_errors(monkeypatch: pytest.MonkeyPatch, offline: list[float], passed: bool) -> None:
    found = measured(monkeypatch, offline=offline)
    assert found["offline"]["passed"] is passed and not found["length_1"]["passed"]
    assert found["700"] == {"mean": -11.0, "error": 1.0}
    assert found["offline"]["lower_by_errors"] == pytest.approx((-11.0 - sum(offline) / 2) / 2**0.5)


@pytest.mark.parametrize("arm", experiment.NAMES)
def test_every_runs_settings_are_read(arm: str) -> None:
    pytest.importorskip("mujoco")
    words = experiment.run_of(experiment.TASK, experiment.LIKE, arm, 3).command
    sets = [after for word, after in pairwise(words) if word == "--set"]
    settings = read_run(flags={"method": "rlhf@2017", "task": "Pusher-v5", "seed": 3}, sets=sets).required()
    assert (settings.seed, settings.steps) == (3, 100)
    assert (settings.method.learned_reward is None) == (arm == "true")
