"""A run of DQN: killed and resumed it ends like one never stopped; its score, its metrics, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_server import KILLED, Runs, assert_same
from typer.testing import CliRunner

from rung.cli import app
from rung.library import train
from rung.rollouts import replay as replay_module
from rung.trainers.reading import read_run

COMPARED = ("metrics.jsonl", "final/q_network.safetensors", "settings.yaml", "method.json")
SMALL = {
    "method.horizon": 60,
    "method.replay.starts": 70,
    "method.replay.batch": 16,
    "method.replay.capacity": 150,
    "method.exploration.over": 100,
}


def settings(method: str = "dqn", task: str = "CartPole-v1", **more: Any) -> dict[str, Any]:
    sets = [
        *("steps=5", "evaluation.num_items=2", "evaluation.every=2", "saving.every=1", "reporting.page=false"),
        *(f"{name}={value}" for name, value in {**more, **SMALL, **more}.items()),  # a part first, then its numbers
    ]
    return read_run(flags={"method": method, "task": task}, sets=sets).required().as_data()


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs({})


VARIANTS = {
    "2013": {},
    "everything at once": {
        "num_environments": 3,
        "method.steps_between_updates": 5,
        "method.updates": 2,
        "method.target_network.part": "Every",
        "method.target_network.updates": 7,
        "method.value_target.part": "DoubleTarget",
        "method.value_target.steps": 3,
        "method.replay.part": "Prioritised",
        "method.network.duelling": "true",
        "method.optimizer.part": "CentredRMSprop",
        "task.max_episode_steps": 30,
    },
}


@pytest.mark.parametrize("name", [pytest.param("2013", marks=pytest.mark.slow), "everything at once"])
@pytest.mark.parametrize(
    "fault",
    [
        "step.done:3:kill",
        pytest.param("checkpoint.manifest:4:kill", marks=pytest.mark.slow),
        pytest.param("update.step:40:kill", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_ends_the_same(runs: Runs, tmp_path: Path, name: str, fault: str) -> None:
    runs.settings = settings(**VARIANTS[name])
    assert runs.ask("train", tmp_path / "whole")[0] == 0
    code, said = runs.ask("train", tmp_path / "killed", fault=fault)
    assert code == KILLED, said
    runs.resumed(tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "whole", COMPARED)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[1]["updates"] == 0 and rows[5]["updates"] > 0
    assert rows[5]["replay/steps"] <= 150 < rows[5]["environment/steps"] == 300, "the ring went round"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["update.step:25:kill", "checkpoint.manifest:3:kill"])
def test_games_of_atari_killed_and_resumed_end_the_same(runs: Runs, tmp_path: Path, fault: str) -> None:
    """From screens, by the recipe for an hour of it, with games that are cut while others go on."""
    pytest.importorskip("ale_py")
    lines = {"num_environments": 2, "steps": 4, "task.max_episode_steps": 45, "method.value_target.steps": 3}
    own = {"method.horizon": 50, "method.steps_between_updates": 4, "method.replay.batch": 4, "evaluation.num_items": 1}
    runs.settings = settings(task="ALE/Breakout-v5", **lines, **own)
    assert runs.ask("train", tmp_path / "whole")[0] == 0
    code, said = runs.ask("train", tmp_path / "killed", fault=fault)
    assert code == KILLED, said
    runs.resumed(tmp_path / "killed")
    assert_same(tmp_path / "killed", tmp_path / "whole", COMPARED)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [row["updates"] for row in rows[1:]] == [0, 8, 12, 13], "else learning was not killed"


def test_how_often_metrics_are_written_changes_nothing_that_is_learnt(tmp_path: Path) -> None:
    finals = []
    for horizon, steps in ((60, 5), (100, 3)):
        from rung.settings import settings_from

        folder = tmp_path / str(horizon)
        one = settings(**{"method.horizon": horizon})
        train(
            settings_from({**one, "steps": steps, "evaluation": {**one["evaluation"], "every": 0}}), folder, quiet=True
        )
        finals.append((folder / "final" / "q_network.safetensors").read_bytes())
    assert finals[0] == finals[1]


def test_a_checkpoint_shares_what_did_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rung.settings import settings_from

    monkeypatch.setattr(replay_module, "SEGMENT_BYTES", 16 * 20)  # twenty observations a piece
    train(settings_from(settings(**{"method.replay.capacity": 1000})), tmp_path / "run", quiet=True)
    newest = tmp_path / "run" / "checkpoints" / "step_000005"
    links = sorted((path.stat().st_nlink, path.name) for path in newest.glob("frames-*"))
    assert len(links) >= 15
    assert sum(count == 2 for count, _ in links) >= 11, "the older checkpoint holds the very same files"
    assert sum(count == 1 for count, _ in links) >= 3


def test_its_score_is_the_mean_return_and_eval_repeats_it(tmp_path: Path) -> None:
    from rung.settings import settings_from

    summary = train(settings_from(settings()), tmp_path / "run", quiet=True)
    assert summary.after is not None and 8 <= summary.after.value <= 500
    asked = ["eval", str(tmp_path / "run"), "--task", "CartPole-v1", "--items", "2", "--temperature", "0", "--json"]
    found = json.loads(CliRunner().invoke(app, asked).stdout)
    assert found["score"] == pytest.approx(summary.after.value)
    (tmp_path / "run" / "final" / "q_network.json").unlink()
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 0 and json.loads(answer.stdout)["score"] == pytest.approx(summary.after.value), (
        "without the final network the newest checkpoint is used"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "dqn", "--task", "Pendulum-v1"], "the max over a continuous action has no closed form"),
        (["train", "dqn", "--task", "CartPole-v1", "--model", "tiny"], "is an environment"),
        (["train", "dqn", "--task", "CartPole-v1", "--set", "method.replay.starts=8"], "one update takes 128 steps"),
        (["train", "dqn", "--task", "CartPole-v1", "--set", "method.objective=Surrogate"], "unknown key"),
        (["train", "dqn", "--task", "CartPole-v1", "--set", "method.value_target=DoubleTarget"], "two networks"),
        (["train", "dqn", "--task", "CartPole-v1", "--set", "method.exploration.end=2"], "between 0 and 1"),
        (["train", "dqm", "--task", "CartPole-v1"], "did you mean 'dqn'"),
    ],
)
def test_what_does_not_go_together_is_told_with_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 2 and words in answer.stderr, answer.stderr


def test_a_check_counts_steps_and_updates() -> None:
    """Through the command line, as a run begins: it is where the plan is made."""
    answer = CliRunner().invoke(app, ["check", "dqn", "--task", "CartPole-v1", "--json"])
    assert answer.exit_code == 0, answer.stderr
    step = json.loads(answer.stdout)["step"]
    assert step == {"environment_steps": 1000, "updates": 250, "steps_an_update_learns_from": 128}
