"""A budget ends a run with the first whole step that reaches it, also when the run was killed before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from costs import work_of
from run_server import KILLED, Runs, assert_same

from rung.methods import METHODS
from rung.models.language.tiny import tiny_model
from rung.models.small.network import SmallPolicy, SmallShape
from rung.trainers.budget import Budget, Spent, spent_on
from rung.trainers.policy_gradient.work import work
from rung.trainers.reading import read_run
from rung.trainers.work import Work


def text_settings(model: Path, **budget: float) -> dict[str, Any]:
    return {
        "model": str(model),
        "method": {"name": "grpo", "samples_per_prompt": 4, "optimizer": {"learning_rate": 1e-3}},
        "task": {"name": "arithmetic", "levels": [1], "size": 50, "held_out": 8},
        "steps": 50,
        "budget": budget,
        "prompts_per_step": 3,
        "max_new_tokens": 5,
        "learner": {"threads": 1},
        "evaluation": {"every": 0, "num_items": 6},
        "saving": {"every": 2},
        "reporting": {"page": False},
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(0).save(folder)
    return folder


@pytest.fixture(scope="module")
def runs(model: Path) -> Runs:
    return Runs(text_settings(model))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def generated(folder: Path) -> list[float]:
    return [row["tokens/generated"] for row in rows(folder)[1:]]


def test_it_ends_with_the_first_step_that_reaches_it(runs: Runs, model: Path, tmp_path: Path) -> None:
    runs.settings = text_settings(model, tokens=150)
    code, said = runs.ask("train", tmp_path / "run")
    assert code == 0, said
    tokens = generated(tmp_path / "run")
    assert sum(tokens) >= 150 > sum(tokens[:-1])
    assert 1 < len(tokens) < 50
    last = rows(tmp_path / "run")[-1]
    assert last["held_out/score"] is not None, "the last step is evaluated although it was not known to be the last"
    assert (tmp_path / "run" / "checkpoints" / f"step_{last['step']:06d}").is_dir()
    assert (tmp_path / "run" / "final").is_dir()


@pytest.mark.slow
def test_exactly_the_budget_is_enough(runs: Runs, model: Path, tmp_path: Path) -> None:
    runs.settings = text_settings(model, tokens=150)
    runs.ask("train", tmp_path / "first")
    exactly = sum(generated(tmp_path / "first")[:2])
    runs.settings = text_settings(model, tokens=exactly)
    runs.ask("train", tmp_path / "second")
    assert len(generated(tmp_path / "second")) == 2
    runs.settings = text_settings(model, tokens=exactly + 1)
    runs.ask("train", tmp_path / "third")
    assert len(generated(tmp_path / "third")) == 3


@pytest.mark.slow
def test_of_two_limits_the_first_reached_counts_and_steps_is_the_last_resort(
    runs: Runs, model: Path, tmp_path: Path
) -> None:
    runs.settings = text_settings(model, tokens=10**9, trained=60)
    runs.ask("train", tmp_path / "trained")
    trained = [row["tokens/trained"] for row in rows(tmp_path / "trained")[1:]]
    assert sum(trained) >= 60 > sum(trained[:-1])
    runs.settings = {**text_settings(model, tokens=10**9), "steps": 2}
    runs.ask("train", tmp_path / "steps")
    assert len(generated(tmp_path / "steps")) == 2


@pytest.mark.parametrize(
    "point",
    [
        "step.done:3:kill",
        pytest.param("step.done:2:kill", marks=pytest.mark.slow),
        pytest.param("checkpoint.rename:1:kill", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_it_spends_the_same(runs: Runs, model: Path, tmp_path: Path, point: str) -> None:
    runs.settings = text_settings(model, tokens=200)
    assert runs.ask("train", tmp_path / "whole")[0] == 0
    assert len(generated(tmp_path / "whole")) > 3, "the budget ends after the kill"
    assert runs.ask("train", tmp_path / "run", fault=point)[0] == KILLED
    runs.resumed(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_resumed_after_its_last_step_it_makes_no_other(runs: Runs, model: Path, tmp_path: Path) -> None:
    runs.settings = text_settings(model, tokens=100)
    assert runs.ask("train", tmp_path / "run")[0] == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    runs.resumed(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_larger_budget_goes_on_as_if_it_had_been_there(runs: Runs, model: Path, tmp_path: Path) -> None:
    runs.settings = text_settings(model, tokens=100)
    assert runs.ask("train", tmp_path / "run")[0] == 0
    code, said = runs.ask("resume", tmp_path / "run", changes={"budget.tokens": 200, "evaluation.every": 0})
    assert code == 0, said
    runs.settings = text_settings(model, tokens=200)
    assert runs.ask("train", tmp_path / "whole")[0] == 0
    assert generated(tmp_path / "run") == generated(tmp_path / "whole")
    weights = "final/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


@pytest.mark.parametrize("budget", [{}, {"tokens": 120}], ids=["steps", "tokens"])
def test_an_annealed_rate_falls_over_the_run_killed_or_not(
    runs: Runs, model: Path, tmp_path: Path, budget: dict[str, float]
) -> None:
    settings = text_settings(model, **budget)
    settings["method"]["optimizer"]["anneal"] = True
    settings["steps"] = 50 if budget else 4
    runs.settings = settings
    assert runs.ask("train", tmp_path / "whole")[0] == 0
    found, tokens = rows(tmp_path / "whole")[1:], generated(tmp_path / "whole")
    spent = [sum(tokens[:step]) / 120 for step in range(len(found))] if budget else [0.0, 0.25, 0.5, 0.75]
    assert len(found) > 2
    assert [row["learning_rate"] for row in found] == pytest.approx([1e-3 * (1 - share) for share in spent])
    assert runs.ask("train", tmp_path / "run", fault="step.done:2:kill")[0] == KILLED
    runs.resumed(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_an_annealed_run_that_is_made_longer_says_that_its_rate_changes(
    runs: Runs, model: Path, tmp_path: Path
) -> None:
    settings = text_settings(model)
    settings["method"]["optimizer"]["anneal"] = True
    runs.settings = {**settings, "steps": 2}
    assert runs.ask("train", tmp_path / "run")[0] == 0
    code, said = runs.ask("resume", tmp_path / "run", changes={"steps": 3, "evaluation.every": 0})
    assert code == 0 and "method.optimizer.anneal: the learning rate falls to 0 over the run's new length" in said
    assert rows(tmp_path / "run")[-1]["learning_rate"] == pytest.approx(1e-3 / 3)


def test_environment_steps(runs: Runs, tmp_path: Path) -> None:
    sets = [
        "budget.steps=100",
        "method.horizon=16",
        "num_environments=2",
        "method.num_minibatches=2",
        "method.num_epochs=1",
    ]
    sets += ["evaluation.num_items=2", "reporting.page=false", "steps=50", "evaluation.every=0"]
    runs.settings = read_run(flags={"method": "ppo", "task": "CartPole-v1"}, sets=sets).required().as_data()
    code, said = runs.ask("train", tmp_path / "run")
    assert code == 0, said
    assert [row.get("environment/steps") for row in rows(tmp_path / "run")] == [None, 32.0, 64.0, 96.0, 128.0]


def test_what_rows_add_up_to() -> None:
    metrics = [
        {"step": 0, "held_out/score": 0.1},
        {"step": 1, "tokens/generated": 10.0, "tokens/trained": 6.0},
        {"step": 2, "tokens/generated": 20.0, "tokens/trained": None, "environment/steps": 30.0},
    ]
    timings = [
        {"step": 0, "seconds/evaluate": 9.0},
        {"step": 1, "seconds/sample": 1.0, "seconds/reward": 0.25, "seconds/learn": 2.0, "seconds/save": 7.0},
        {"step": 2, "seconds/sample": 0.5, "seconds/evaluate": 5.0},
    ]
    found = spent_on(metrics, timings, Work(generated=2.0, trained=6.0))
    assert found == Spent(tokens=30.0, trained=6.0, steps=30.0, seconds=3.75, flops=96.0)


def test_a_purse_says_which_limit_is_reached() -> None:
    budget = Budget({"tokens": 100, "seconds": 5.0}, Work(generated=1.0, trained=1.0))
    budget.pay({"step": 1, "tokens/generated": 99.0}, 1.0)
    assert budget.empty == []
    budget.pay({"step": 2, "tokens/generated": 1.0}, 1.0)
    assert budget.empty == ["tokens"]
    assert Budget({}, budget.work, budget.spent).empty == [], "without a budget there is no end"


def test_operations_by_hand() -> None:
    """N = 100 weights, a critic of 40: forward 2 a weight, gradient 4."""
    cost = {name: work(METHODS[name], policy=100, critic=0, trained=100).trained for name in ("reinforce", "grpo")}
    assert cost["reinforce"] == 600.0, "one forward, one backward"
    assert cost["grpo"] == 600.0 + 200.0, "and a pass of the reference"
    ppo = work(METHODS["ppo"], policy=100, critic=40, trained=140)
    assert ppo.generated == 200.0 and ppo.trained == 2 * 140 + 10 * 6 * 140
    lora = work(METHODS["reinforce"], policy=100, critic=0, trained=5)
    assert lora.trained == 400.0 + 10.0, "frozen weights get no gradient of their own"
    trpo = work(METHODS["trpo"], policy=100, critic=40, trained=140)
    assert trpo.trained == 280.0 + 600.0 + 11 * 0.2 * 1200.0 + 400.0 + 5 * 240.0


def test_a_policy_s_weights_are_counted() -> None:
    shape = SmallShape(observations=4, choices=2, dimensions=None, critic=True)
    policy = SmallPolicy(shape, seed=0)
    sizes = {name: p.numel() for name, p in policy.trainable().items()}
    critic = sum(size for name, size in sizes.items() if name.startswith("critic."))
    expected = work(METHODS["ppo"], policy=sum(sizes.values()) - critic, critic=critic, trained=sum(sizes.values()))
    assert critic > 0 and work_of(METHODS["ppo"], policy) == expected
