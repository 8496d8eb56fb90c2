"""Runs over turns: one's own environment and tools from Python and the command line, kills, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_server import KILLED, Runs, assert_same

import rung
from rung import SettingsError, Step
from rung.models.language.tiny import tiny_model
from rung.runs.record.files import read_rows
from rung.settings.objects import taken_apart

SMALL: dict[str, Any] = {
    "method": {"name": "grpo", "samples_per_prompt": 4, "optimizer": {"learning_rate": 1e-3}},
    "steps": 2,
    "prompts_per_step": 2,
    "max_new_tokens": 30,
    "evaluation": {"num_items": 3, "num_samples": 2, "every": 1, "temperature": 1.0},
    "learner": {"threads": 1},
    "saving": {"every": 1},
    "reporting": {"page": False},
}
COMPARED = ("metrics.jsonl", "final/model.safetensors", "samples.parquet", "settings.yaml")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model(0, characters="\n0123456789<>:-", layers=1, width=16).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def runs(model: str) -> Runs:
    return Runs({"model": model, "task": "guess-number", **SMALL})


@pytest.mark.parametrize(
    "point", ["turn.done:2", pytest.param("rollout.done:2", marks=pytest.mark.slow), "turn.done:3 in a child"]
)
def test_killed_between_turns_and_resumed_it_ends_the_same(runs: Runs, tmp_path: Path, point: str) -> None:
    point, _, apart = point.partition(" ")
    if apart:
        (tmp_path / "own.py").write_text(LUCKY + CODE)
        own = {"task": f"{tmp_path}/own.py:Guess", "tools": [f"{tmp_path}/own.py:times"]}
        runs = Runs({**runs.settings, **own, "turns": {"most": 3}})
    whole = tmp_path / "whole"
    assert runs.ask("train", whole)[0] == 0
    code, said = runs.ask("train", tmp_path / "run", fault=f"{point}:kill")
    assert code == KILLED, said
    runs.resumed(tmp_path / "run")
    assert_same(tmp_path / "run", whole, COMPARED)


class Guess:
    """Three tries at a number; a reply that holds it is right."""

    made: list[tuple[int, int]] = []  # noqa: RUF012  counts over the test

    def __init__(self, most: int = 3) -> None:
        self.most = most

    def reset(self, item: int, seed: int) -> str:
        Guess.made.append((item, seed))
        self.secret, self.left = seed % self.most + 1, 3
        return "1-3:"

    def step(self, reply: str) -> Step:
        self.left -= 1
        right = str(self.secret) in reply
        return Step("<\n", reward=float(right), done=right or not self.left, success=float(right))


def times(a: int, b: int) -> int:
    """Multiply two whole numbers."""
    return a * b


def test_an_environment_and_tools_are_trained_kept_asked_for_again_and_scored(model: str, tmp_path: Path) -> None:
    Guess.made.clear()
    more: dict[str, Any] = {"task": {"name": Guess, "most": 9}, "tools": [times], "turns": {"most": 2}}
    run = rung.train(model=model, out=tmp_path / "run", quiet=True, **SMALL, **more)
    saved = (tmp_path / "run" / "settings.yaml").read_text()
    assert "given:Guess" in saved and "given:times" in saved and "most: 9" in saved
    starts = [made for made in Guess.made if Guess.made.count(made) >= 4]
    assert starts, "the samples of an item begin with one seed"
    rows = run.samples(step=1)
    assert all(1 <= len([t for t in row["turns"] if t["role"] == "assistant"]) <= 2 for row in rows)
    assert any(t["role"] == "user" and t["content"] == "<\n" for row in rows for t in row["turns"])
    assert {name for row in rows for name in row["reward_parts"]} == {"return", "success"}
    holes = [np.array(row["log_probs"])[~np.array(row["mask"])] for row in rows]
    assert any(len(one) for one in holes) and all((one == 0).all() for one in holes)
    metrics = dict(list(run.metrics())[1])
    assert metrics["turns/mean"] > 1 and metrics["tokens/observed"] > 0 and metrics["turns/failed"] == 0
    assert all(row["turn_rewards"] and len(row["turn_ends"]) == len(row["turn_calls"]) for row in rows)
    assert read_rows(run.folder / "timings.jsonl").rows[1]["turns/waiting"] > 0

    with pytest.raises(SettingsError, match=r"hand it in again: resume\(folder, task=Guess\)"):
        rung.resume(tmp_path / "run", {"steps": 3}, quiet=True)
    with pytest.raises(SettingsError, match=r"hand it in again: resume\(folder, tools=\[times\]\)"):
        rung.resume(tmp_path / "run", {"steps": 3}, quiet=True, task=Guess)
    again = rung.resume(tmp_path / "run", {"steps": 3}, quiet=True, task=Guess, tools=[times])
    assert len(list(again.metrics())) == 4
    score = rung.evaluate(again, Guess, tools=[times], k=2, items=4)
    assert score.items == 4 and {"return", "success"} <= set(score.parts)


LUCKY = "import random\nguess = random.random\n"
CODE = '''
from rung import Step

class Guess:
    def reset(self, item, seed):
        self.secret, self.left = seed % 3 + 1, 3
        return "1-3:"

    def step(self, reply):
        self.left -= 1
        right = str(self.secret) in reply
        luck = f"{guess()}" if "guess" in globals() else ""
        return Step(f"<{luck[:4]}\\n", reward=float(right), done=right or not self.left, success=float(right))

def times(a: int, b: int) -> int:
    """Multiply two whole numbers."""
    return a * b
'''


def test_the_command_line_names_an_environment_and_tools_by_file(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from rung.cli import app

    (tmp_path / "own.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    own = ["--task", "own.py:Guess", "--tools", "own.py:times"]
    sets = ["steps=1", "prompts_per_step=2", "samples_per_prompt=2", "max_new_tokens=12", "num_items=2", "page=false"]
    flags = [
        part for one in (*sets, "evaluation.every=0", "learner.threads=1", "turns.most=2") for part in ("--set", one)
    ]

    def command(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments))

    folder = str(tmp_path / "run")
    made = command("train", "grpo", "--model", model, *own, *flags, "--out", folder)
    assert made.exit_code == 0, made.output
    other = command("resume", folder, "--set", "steps=2", "--task", "arithmetic")
    assert other.exit_code == 2 and "own.py:Guess; leave --task out" in other.output
    again = command("resume", folder, "--set", "steps=2")
    assert again.exit_code == 0, again.output
    scored = command("eval", folder, "--items", "2", "--k", "1", "--json", *own)
    assert scored.exit_code == 0 and json.loads(scored.stdout)["items"] == 2, scored.output
    wrong = command("train", "grpo", "--model", model, *own[:2], "--tools", f"{tmp_path / 'own.py'}:tims")
    assert wrong.exit_code == 2 and "times" in wrong.output


def test_a_gymnasium_environment_is_still_told_apart() -> None:
    class Acts:
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any: ...

        def step(self, action: Any) -> Any: ...

    assert taken_apart({"task": Acts})[0]["task"]["name"] == "given:Acts-v0"
    data, objects = taken_apart({"task": Guess, "tools": [times]})
    assert data["task"]["name"] == "given:Guess" and objects.task is Guess and objects.environment is None
    assert data["tools"] == ["given:times"] and objects.tools == {"times": times}


def test_what_does_not_fit_is_refused(model: str, tmp_path: Path) -> None:
    more = {"model": model, "out": tmp_path / "run", "quiet": True, **SMALL}
    with pytest.raises(SettingsError, match=r"turns\.most: 'arithmetic' has one turn"):
        rung.train(task="arithmetic", turns={"most": 3}, **more)
    with pytest.raises(SettingsError, match=r"tools.*FILE\.py:FUNCTION"):
        rung.train(task="arithmetic", tools=["times"], **more)
    with pytest.raises(SettingsError, match=r"tools: there is no file tools\.py"):
        rung.train(task="arithmetic", tools=["tools.py:times"], **more)
    with pytest.raises(SettingsError, match=r"tools: .*times.* has no docstring"):
        rung.train(task="arithmetic", tools=[undocumented_times], **more)


def undocumented_times(a: int) -> int:
    return a


def test_a_command_that_only_a_runs_folder_names_is_started_by_nobody(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder may come from a stranger; what its settings.yaml names is no order of the user's."""
    from typer.testing import CliRunner

    from rung.cli import app

    mark, run = tmp_path / "mark", tmp_path / "run"
    command = f"mcp:touch {mark}"
    for name in ("final", "checkpoints"):
        (run / name).mkdir(parents=True)
    asked = f"model: {model}\nmethod: grpo\ntask: arithmetic\ntools: ['{command}']\nsteps: 1\n"
    (run / "settings.yaml").write_text(asked)
    for check in ("require_format", "began.require_settings"):
        monkeypatch.setattr(f"rung.runs.run.{check}", lambda *_: None)  # a stranger can write those files too
    (run / "final" / "config.json").write_text((Path(model) / "config.json").read_text())
    for words in (["resume", str(run)], ["eval", str(run), "--items", "1"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2 and "only when you name it yourself" in done.output, (words, done.output)
    assert not mark.exists()
    typed = CliRunner().invoke(app, ["eval", str(run), "--items", "1", "--tools", command])
    assert "no MCP server answers" in typed.output and mark.exists(), "negative control: typed, it is started"
