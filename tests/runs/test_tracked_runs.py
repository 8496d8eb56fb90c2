"""A run with a tracker is the same run; killed and resumed, the tracker holds each step once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_server import KILLED, Runs, assert_same

from rung.models.language.tiny import tiny_model

tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    model = tmp_path_factory.mktemp("model")
    tiny_model(0).save(model)
    found = Runs(
        {
            "model": str(model),
            "method": {"name": "grpo", "samples_per_prompt": 4},
            "task": {"name": "arithmetic", "levels": [1], "size": 50, "held_out": 8},
            "steps": 4,
            "prompts_per_step": 2,
            "max_new_tokens": 4,
            "learner": {"threads": 1},
            "evaluation": {"every": 2, "num_items": 4},
            "saving": {"every": 2},
            "reporting": {"page": False, "tracker": "tensorboard"},
        }
    )
    return found


def told(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = tensorboard.EventAccumulator(
        str(folder / "tensorboard"), purge_orphaned_data=False, size_guidance={"scalars": 0}
    )
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_killed_and_resumed_every_step_is_there_once_and_the_run_is_the_same(runs: Runs, tmp_path: Path) -> None:
    code, said = runs.ask("train", tmp_path / "run", fault="step.done:3:kill")
    assert code == KILLED, said
    assert [step for step, _ in told(tmp_path / "run")["reward/mean"]] == [1, 2, 3]
    runs.resumed(tmp_path / "run")
    found, wanted = told(tmp_path / "run"), rows(tmp_path / "run")
    for name in ("reward/mean", "entropy", "held_out/score", "kl/start"):
        expected = [(row["step"], pytest.approx(row[name])) for row in wanted if row.get(name) is not None]
        assert found[name] == expected, name
    assert {step for step, _ in found["seconds/step"]} == {0, 1, 2, 3, 4}

    runs.settings = {**runs.settings, "reporting": {"page": False}}
    assert runs.ask("train", tmp_path / "plain")[0] == 0
    compared = ("metrics.jsonl", "samples.parquet", "final/model.safetensors", "method.json")
    assert_same(tmp_path / "run", tmp_path / "plain", compared)
    assert not (tmp_path / "plain" / "tensorboard").exists()
