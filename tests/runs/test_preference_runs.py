"""Whole runs on pairs: exact at the start, byte-identical after a kill, the reference never moves, LoRA included."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from pairs import written_pairs
from run_server import COMPARED, KILLED, Runs, assert_same
from safetensors.torch import load_file

from rung.errors import CheckpointError, SettingsError
from rung.library import resume, train, trainer
from rung.models.language.load import fingerprint, load_policy
from rung.models.language.reward_model import load_reward_model
from rung.models.language.tiny import tiny_model
from rung.settings import Settings, settings_from

STEPS = 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(0).save(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_pairs(tmp_path_factory.mktemp("data") / "sums.jsonl")


def settings_of(model: Path, data: Path, method: str = "dpo", **more: Any) -> dict[str, Any]:
    return {
        "model": str(model),
        "method": {"name": method, "pairs_per_step": 8, "optimizer": {"learning_rate": 1e-3, "warmup_steps": 0}},
        "task": {"name": str(data), "held_out": 0.2},
        "steps": STEPS,
        "learner": {"threads": 1, "micro_batch_tokens": 48},
        "evaluation": {"every": 2},
        "saving": {"every": 2},
        "reporting": {"page": False},
        **more,
    }


@pytest.fixture(scope="module")
def runs(model: Path, data: Path) -> Runs:
    return Runs(settings_of(model, data))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_run_is_exact_at_its_start_and_learns(whole: Path) -> None:
    rows = rows_of(whole)
    assert [row["step"] for row in rows] == list(range(STEPS + 1))
    assert rows[0]["held_out/loss"] == math.log(2) == rows[1]["loss"]
    assert rows[0]["held_out/margin"] == 0.0 and rows[0]["held_out/score"] == 0.5
    assert rows[1]["preference/margin"] == 0.0
    assert rows[STEPS]["loss"] < math.log(2) and rows[STEPS]["held_out/margin"] > 0
    assert rows[1]["kl/start"] > 0


def test_its_answers_are_stored_token_by_token(whole: Path) -> None:
    for row in pq.read_table(whole / "samples.parquet").to_pylist():
        assert len(row["pieces"]) == len(row["token_ids"]) > 1
        assert "".join(row["pieces"][:-1]) == row["completion"] and row["pieces"][-1] == "<eos>"


@pytest.mark.parametrize(
    "point",
    [
        "update.step:3",
        pytest.param("rollout.done:1", marks=pytest.mark.slow),
        pytest.param("update.backward:4", marks=pytest.mark.slow),
        pytest.param("checkpoint.rename:1", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_it_ends_the_same(runs: Runs, whole: Path, tmp_path: Path, point: str) -> None:
    code, said = runs.ask("train", tmp_path / "run", fault=f"{point}:kill")
    assert code == KILLED, said
    runs.resumed(tmp_path / "run")
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize(
    "method", ["reward_model", *(pytest.param(name, marks=pytest.mark.slow) for name in ("kto", "simpo"))]
)
def test_other_kinds_end_the_same_too(runs: Runs, model: Path, data: Path, tmp_path: Path, method: str) -> None:
    kept, runs.settings = runs.settings, settings_of(model, data, method)
    try:
        assert runs.ask("train", tmp_path / "whole")[0] == 0
        code, said = runs.ask("train", tmp_path / "run", fault="update.step:4:kill")
        assert code == KILLED, said
        runs.resumed(tmp_path / "run")
    finally:
        runs.settings = kept
    assert_same(tmp_path / "run", tmp_path / "whole", COMPARED)


def test_the_reference_is_computed_once_and_kept(whole: Path) -> None:
    (newest,) = sorted((whole / "checkpoints").glob(f"step_{STEPS:06d}"))
    stored = load_file(newest / "collector.safetensors")
    state = json.loads((newest / "state.json").read_text())["collector"]
    assert not stored["reference_train"].isnan().any() and len(stored["reference_train"]) > 20
    assert state["drawn"] == STEPS * 8


def made(settings: dict[str, Any]) -> Settings:
    return settings_from(settings)


def test_a_reference_that_changed_is_refused_on_resume(model: Path, data: Path, tmp_path: Path) -> None:
    own = tmp_path / "model"
    tiny_model(0).save(own)
    train(made(settings_of(own, data, steps=2)), tmp_path / "run", quiet=True)
    tiny_model(1).save(own)
    with pytest.raises(CheckpointError, match=r"the weights of .* changed since"):
        resume(tmp_path / "run", {"steps": 4}, quiet=True)


def test_pairs_that_changed_are_refused_on_resume(model: Path, tmp_path: Path) -> None:
    own = written_pairs(tmp_path / "own.jsonl")
    train(made(settings_of(model, own, steps=2)), tmp_path / "run", quiet=True)
    written_pairs(own, count=23)
    with pytest.raises(CheckpointError, match=r"the pairs of .* changed since"):
        resume(tmp_path / "run", {"steps": 4}, quiet=True)


def test_a_longer_run_goes_on(model: Path, data: Path, tmp_path: Path) -> None:
    train(made(settings_of(model, data, steps=2)), tmp_path / "a", quiet=True)
    resume(tmp_path / "a", {"steps": 4}, quiet=True)
    train(made(settings_of(model, data, steps=4)), tmp_path / "b", quiet=True)
    name = "final/model.safetensors"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_policy_moves_and_the_reference_does_not(model: Path, data: Path) -> None:
    parts = trainer(made(settings_of(model, data)))
    before = fingerprint(parts.policy.model), fingerprint(parts.start.model)
    for step in (1, 2):
        parts.learner.update(parts.collector.collect(step, lambda name: _nothing()).batch, step)
    assert before[0] == before[1] == fingerprint(parts.start.model) != fingerprint(parts.policy.model)


def test_with_lora_the_reference_is_the_base(model: Path, data: Path, tmp_path: Path) -> None:
    settings = made(settings_of(model, data, lora={"rank": 4}, steps=3))
    parts = trainer(settings)
    base = fingerprint(parts.policy.model)
    assert base == fingerprint(parts.start.model)
    train(settings, tmp_path / "run", quiet=True)
    rows = rows_of(tmp_path / "run")
    assert rows[1]["loss"] == math.log(2) and rows[0]["held_out/margin"] == 0.0
    assert rows[3]["loss"] < math.log(2) and rows[3]["preference/margin"] > 0
    inputs = json.loads((tmp_path / "run" / "inputs.json").read_text())["inputs"]
    assert base in inputs.values()
    trained, start = load_policy(str(tmp_path / "run" / "final")), load_policy(str(model))
    assert fingerprint(trained.model) != fingerprint(start.model)


def test_a_reward_model_learns_and_is_saved_whole(model: Path, data: Path, tmp_path: Path) -> None:
    train(made(settings_of(model, data, "reward_model", steps=12)), tmp_path / "run", quiet=True)
    rows = rows_of(tmp_path / "run")
    assert rows[12]["loss"] < 0.5 < rows[1]["loss"]
    assert 0 <= rows[12]["held_out/calibration"] <= 1 and rows[12]["preference/accuracy"] > 0.8
    loaded = load_reward_model(tmp_path / "run" / "final")
    stored = load_file(tmp_path / "run" / "final" / "model.safetensors")
    torch.testing.assert_close(loaded.score.weight.detach(), stored["score.weight"], rtol=0, atol=0)


def test_answers_labelled_alone_go_to_kto_only(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "alone.jsonl"
    rows = [{"prompt": f"{n}+1=", "completion": f"{n + n % 2}\n", "label": bool(n % 2)} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train(made(settings_of(model, path, "kto", steps=2)), tmp_path / "run", quiet=True)
    assert rows_of(tmp_path / "run")[1]["loss"] == 0.5
    with pytest.raises(SettingsError, match=r"dpo learns from pairs, and .*alone\.jsonl:1 is an answer labelled alone"):
        trainer(made(settings_of(model, path)))


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
