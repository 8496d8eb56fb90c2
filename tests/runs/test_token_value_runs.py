"""A run of DQN on text: killed and resumed it ends like one never stopped; its plan, its score, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_server import COMPARED, KILLED, Runs, assert_same
from typer.testing import CliRunner

from rung.cli import app
from rung.models.language.tiny import tiny_model
from rung.settings import read_eval, settings_from
from rung.tasks.load import load_text_task
from rung.trainers.reading import read_run

TASK = {"symbols": 8, "length": 3, "held_out": 20}
VARIANTS: dict[str, dict[str, Any]] = {
    "2013": {"target_network": None, "step": "CentredRMSprop", "value_target": {"steps": 1}},
    "everything at once": {
        "target_network": {"part": "Every", "updates": 7, "share": 0.5},
        "value_target": {"part": "DoubleTarget", "steps": 2},
        "exploration": {"part": "Boltzmann", "temperature": 0.5},
        "updates": 2,
    },
}


def settings(model: Path | str, **method: Any) -> dict[str, Any]:
    sets = [
        *("steps=4", "prompts_per_step=6", "max_new_tokens=4", "evaluation.num_items=5", "evaluation.every=2"),
        *("saving.every=1", "reporting.page=false", "learner.threads=1", *(f"task.{k}={v}" for k, v in TASK.items())),
        *("method.replay.starts=30", "method.replay.batch=16", "method.replay.capacity=50"),
        *("method.steps_between_updates=6", "method.exploration.over=40"),
    ]
    flags = {"method": "dqn", "task": "copying", "model": str(model)}
    data = read_run(recipe="tiny_values", flags=flags, sets=sets).required().as_data()
    return settings_from({**data, "method": {**data["method"], **method}}).as_data()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    task = load_text_task("copying", **TASK)
    assert task.characters is not None
    tiny_model(0, characters=task.characters, layers=1, width=16).save(folder)
    return folder


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs({})


@pytest.mark.parametrize("name", [pytest.param("2013", marks=pytest.mark.slow), "everything at once"])
@pytest.mark.parametrize(
    "fault",
    [
        "step.done:3:kill",
        pytest.param("checkpoint.manifest:3:kill", marks=pytest.mark.slow),
        pytest.param("update.step:9:kill", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_ends_the_same(runs: Runs, model: Path, tmp_path: Path, name: str, fault: str) -> None:
    runs.settings = settings(model, **VARIANTS[name])
    code, said = runs.ask("train", tmp_path / "whole")
    assert code == 0, said
    code, said = runs.ask("train", tmp_path / "killed", fault=fault)
    assert code == KILLED, said
    runs.resumed(tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "whole", COMPARED)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[1]["updates"] == 0 and rows[4]["updates"] > 0 and rows[4]["grad/norm"] > 0
    assert rows[4]["replay/steps"] <= 50 < sum(row.get("tokens/generated") or 0 for row in rows), "the oldest went"
    trained = (tmp_path / "whole" / "final" / "model.safetensors").read_bytes()
    assert trained != (model / "model.safetensors").read_bytes()


def test_an_evaluation_of_the_run_is_greedy_unless_somebody_asks_otherwise(model: Path) -> None:
    run = settings_from(settings(model))
    assert read_eval(run=run, values=True).required().temperature == 0.0
    assert read_eval(run=run, values=True, flags={"temperature": "0.5"}).required().temperature == 0.5
    other = run.changed({"method.name": "dqn"}).as_data() | {"method": {"name": "grpo"}}
    assert read_eval(run=settings_from(other)).required().temperature == 1.0


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["evaluation.temperature=1"], "values are no distribution to draw from"),
        (["temperature=0.7"], "draws as method.exploration says"),
        (["method.network.duelling=true"], "no second head to duel with"),
        (["method.replay=Prioritised"], "learns from whole completions"),
        (["method.horizon=50"], "one completion of each of prompts_per_step prompts"),
        (["method.replay.batch=2", "method.replay.capacity=18", "max_new_tokens=20"], "up to max_new_tokens 20 steps"),
        (["method.value_target=DoubleTarget", "method.target_network=null"], "two networks"),
        (["budget.steps=5"], "has no environment steps"),
    ],
)
def test_what_a_language_model_cannot_do_is_told_before_it_is_loaded(
    sets: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rung.runs.recipes.sft.tiny_for", lambda task: pytest.fail("a model was made"))
    arguments = [word for one in sets for word in ("--set", one)]
    answer = CliRunner().invoke(app, ["train", "dqn", "--model", "tiny", "--task", "copying", *arguments])
    assert answer.exit_code == 2 and words in " ".join(answer.stderr.split()), answer.stderr


def test_a_check_counts_tokens_and_says_what_epsilon_and_the_limit_mean() -> None:
    arguments = ["check", "dqn", "--model", "tiny", "--task", "copying", "--set", "task.symbols=32"]
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert found["step"] == {
        "prompts": 64, "episodes": 64, "new_tokens_at_most": 1024, "updates_at_most": 42,
        "tokens_an_update_learns_from": 128,
    }  # fmt: skip
    assert found["weights"]["all"] == sum(
        p.numel() for p in tiny_model(0, characters="".join(map(chr, range(100, 133)))).trainable().values()
    )
    said = CliRunner().invoke(app, arguments).stdout
    assert "44% of completions of 16 tokens have no random one" in said
    assert "judged as it stands" in said and "the token of the highest value each time" in said
    assert "an older copy, which makes the targets" in said
