"""A run in an environment: killed and resumed it ends like one never stopped, and its score is a mean return."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_server import KILLED, Runs, assert_same
from typer.testing import CliRunner

from rung.cli import app
from rung.library import train
from rung.models.small.network import SmallPolicy
from rung.settings import settings_from
from rung.trainers.reading import read_run

COMPARED = ("metrics.jsonl", "final/small_policy.safetensors", "settings.yaml", "method.json")


def settings(method: str, **more: Any) -> dict[str, Any]:
    sets = [
        *("steps=4", "evaluation.num_items=3", "evaluation.every=2", "saving.every=1", "reporting.page=false"),
        *(f"{name}={value}" for name, value in more.items()),
    ]
    return read_run(flags={"method": method, "task": "CartPole-v1"}, sets=sets).required().as_data()


PPO = {"method.horizon": 40, "method.num_minibatches": 4, "method.num_epochs": 2, "num_environments": 3}


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs({})


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("ppo_kl", {**PPO, "task.normalize_observations": "true", "task.normalize_rewards": "true"}),
        ("grpo", {"prompts_per_step": 2, "samples_per_prompt": 3}),
        pytest.param("trpo", {"method.horizon": 64, "num_environments": 2}, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_ends_the_same(runs: Runs, tmp_path: Path, method: str, more: dict[str, Any]) -> None:
    runs.settings = settings(method, **more)
    assert runs.ask("train", tmp_path / "whole")[0] == 0
    code, said = runs.ask("train", tmp_path / "killed", fault="step.done:3:kill")
    assert code == KILLED, said
    runs.resumed(tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "whole", COMPARED)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    if method == "ppo_kl":
        assert len({row["kl/coefficient"] for row in rows[1:]}) > 1, "β moved, so its restoring was tested"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["step.done:3:kill", "update.step:5:kill", "checkpoint.manifest:2:kill"])
def test_envpools_environments_killed_and_resumed_end_the_same(runs: Runs, tmp_path: Path, fault: str) -> None:
    """Its episodes cannot be begun from a seed: those before are begun and left again, and the last one replayed."""
    pytest.importorskip("envpool")
    runs.settings = settings("ppo", **PPO, **{"task.engine": "envpool", "task.normalize_observations": "true"})
    assert runs.ask("train", tmp_path / "whole")[0] == 0
    code, said = runs.ask("train", tmp_path / "killed", fault=fault)
    assert code == KILLED, said
    runs.resumed(tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "whole", COMPARED)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(row["episodes/generated"] > 0 for row in rows[1:]), "episodes ended, so that their number matters"
    runs.settings = settings("ppo", **PPO, **{"task.normalize_observations": "true"})
    assert runs.ask("train", tmp_path / "own")[0] == 0
    assert (tmp_path / "own" / "metrics.jsonl").read_bytes() != (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_its_score_is_the_mean_return(tmp_path: Path) -> None:
    summary = train(settings_from(settings("ppo", **PPO)), tmp_path / "run", quiet=True)
    assert summary.after is not None and 8 <= summary.after.value <= 500
    asked = ["eval", str(tmp_path / "run"), "--task", "CartPole-v1", "--items", "5", "--json"]
    found = json.loads(CliRunner().invoke(app, asked).stdout)
    assert {"score", "interval", "k", "items"} <= set(found) and found["items"] == 5
    assert found["interval"][0] <= found["score"] <= found["interval"][1] and found["score"] >= 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "ppo", "--task", "CartPole-v9"], "CartPole-v9"),
        (["train", "ppo", "--task", "CartPole-v1", "--model", "tiny"], "is an environment"),
        (["train", "ppo", "--task", "arithmetic", "--model", "small"], "acts in environments only"),
        (["sft", "--task", "CartPole-v1", "--model", "tiny"], "expected a text task"),
        (["train", "grpo", "--task", "CartPole-v1", "--set", "rewards=[{function: task}]"], "gives its own reward"),
    ],
)
def test_what_does_not_go_together_is_told_with_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 2 and words in answer.stderr, answer.stderr


def test_the_small_network_has_the_widths_that_are_set(tmp_path: Path) -> None:
    train(settings_from(settings("ppo", **PPO, **{"network.hidden": "[24, 8, 8]"})), tmp_path / "run", quiet=True)
    assert SmallPolicy.load(tmp_path / "run" / "final").shape.hidden == (24, 8, 8)
    asked = ["check", "ppo", "--task", "CartPole-v1", "--set", "network.hidden=[24, 8, 8]"]
    weights = 5 * 24 + 25 * 8 + 9 * 8 + 9 * 2
    assert f"all {weights} weights" in CliRunner().invoke(app, asked).stdout


def test_a_step_whose_returns_never_differ_teaches_dapo_nothing_and_the_run_goes_on(tmp_path: Path) -> None:
    """As when every start state is solved: here every episode is over after 5 steps."""
    equal = {"task.max_episode_steps": 5, "prompts_per_step": 2, "samples_per_prompt": 3, "method.num_minibatches": 4}
    ended = train(settings_from(settings("dapo", **equal)), tmp_path / "run", quiet=True)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert ended.exit_code == 0 and [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(row["episodes/trained"] == 0 and row["loss"] is None for row in rows[1:])
    assert all(row["groups/rounds"] == 10 and row["groups/no_spread"] == 1 for row in rows[1:]), "refilled in vain"
