"""`saving.best`: the weights of the highest held-out score are kept, and are what `final` and `rung eval` have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from run_server import KILLED, Runs, assert_same
from safetensors.torch import load_file

from rung.models.language.tiny import tiny_model
from rung.runs import best
from rung.runs.evaluate import found


def text_settings(model: Path) -> dict[str, Any]:
    return {
        "model": str(model),
        "method": {"name": "grpo", "samples_per_prompt": 4, "optimizer": {"learning_rate": 0.03}},
        "task": {"name": "arithmetic", "levels": [1], "size": 50, "held_out": 8},
        "steps": 6,
        "prompts_per_step": 3,
        "max_new_tokens": 5,
        "learner": {"threads": 1},
        "evaluation": {"every": 1, "num_items": 8},
        "saving": {"every": 2, "best": True},
        "reporting": {"page": False},
    }


CONTROL = {
    "model": "small",
    "method": {"name": "ppo", "horizon": 256, "num_minibatches": 4, "optimizer": {"learning_rate": 0.02}},
    "task": {"name": "CartPole-v1"},
    "steps": 6,
    "num_environments": 1,
    "learner": {"threads": 1},
    "evaluation": {"every": 1, "num_items": 4},
    "saving": {"every": 2, "best": True},
    "reporting": {"page": False, "kl_rows": 0},
}
FILES = ("metrics.jsonl", "settings.yaml")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    model = tmp_path_factory.mktemp("model")
    tiny_model(0).save(model)
    return text_settings(model)


def scores_of(folder: Path) -> list[float]:
    return [json.loads(line)["held_out/score"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        ("text", "checkpoint.manifest:2"),
        ("control", "step.done:3"),
        *(
            pytest.param(kind, point, marks=pytest.mark.slow)
            for kind in ("text", "control")
            for point in ("checkpoint.remove:1", "finish.final:1", "checkpoint.file:4")
        ),
    ],
)
def test_final_is_the_best_and_so_it_is_after_a_kill(
    kind: str, point: str, text: dict[str, Any], tmp_path: Path
) -> None:
    runs = Runs(text if kind == "text" else CONTROL)
    whole, folder = tmp_path / "whole", tmp_path / "run"
    code, said = runs.ask("train", whole)
    assert code == 0, said
    scores = scores_of(whole)
    first = scores.index(max(scores))
    kept, refused = best.of_run(whole)
    assert kept is not None and kept.step == first and not refused and kept.state()["score"] == max(scores)
    assert [one.name for one in (whole / "best").iterdir()] == [f"step_{first:06d}"], "what was beaten is gone"
    assert f"the weights of step {first}" in said
    file = "model" if kind == "text" else "small_policy"
    weights = load_file(whole / "final" / f"{file}.safetensors")
    last = load_file(whole / "checkpoints" / "step_000006" / "policy.safetensors")
    same = {name for name, tensor in last.items() if name in weights and torch.equal(tensor, weights[name])}
    assert first == 6 or not same, "negative control: the last weights are others"

    code, said = runs.ask("train", folder, fault=f"{point}:kill")
    assert code == KILLED, f"the point was not reached: {code} {said}"
    runs.resumed(folder)
    assert_same(folder, whole, (*FILES, f"final/{file}.safetensors"))
    assert [one.name for one in (folder / "best").iterdir()] == [f"step_{first:06d}"]


def test_what_was_beaten_is_kept_until_a_checkpoint_is_newer(tmp_path: Path) -> None:
    """A run that goes on from step 2 has the best of its first two steps, though step 3 was better."""
    weights = {"w": torch.zeros(1)}
    for step, score in ((0, 0.1), (1, 0.4), (2, 0.3)):
        best.note(tmp_path, step, score, weights)
    best.saved(tmp_path, 2)
    best.note(tmp_path, 3, 0.9, weights)
    assert [one.name for one in sorted((tmp_path / "best").iterdir())] == ["step_000001", "step_000003"]
    best.cut_back(tmp_path, 2)
    kept, _ = best.of_run(tmp_path)
    assert kept is not None and kept.step == 1
    best.note(tmp_path, 3, 0.4, weights)
    best.note(tmp_path, 4, float("nan"), weights)
    assert best.of_run(tmp_path)[0].step == 1, "an equal score does not beat it, and none is no score"  # type: ignore[union-attr]


def test_an_unfinished_run_is_scored_by_its_best(tmp_path: Path) -> None:
    runs, folder, said = Runs({**CONTROL, "steps": 3}), tmp_path / "run", list[str]()
    code, _ = runs.ask("train", folder, fault="finish.final:1:kill")
    assert code == KILLED
    with found(str(folder), say=said.append) as it:
        here = load_file(Path(it.model) / "small_policy.safetensors")
    scores = scores_of(folder)
    assert said == [f"{folder} is not finished: its best checkpoint, of step {scores.index(max(scores))}, is used"]
    kept = best.of_run(folder)[0]
    assert kept is not None and all(torch.equal(tensor, here[name]) for name, tensor in kept.tensors("policy").items())
