"""Real short runs with a fault made on purpose are told what they have; healthy ones are left alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rung.batch import Episode
from rung.lab.diagnosis.observed import Finding
from rung.lab.diagnosis.rules import diagnose
from rung.library import train
from rung.models.language.tiny import tiny_model
from rung.rollouts.sampler import InProcessSampler
from rung.settings import settings_from, to_yaml
from rung.trainers.reading import read_run

REWARDS = """
def digits(completions, **more):
    return [sum(map(str.isdigit, text)) / 5 for text in completions]

def different(completions, **more):
    return [len(set(text)) / 5 for text in completions]

def no_digit(completions, **more):
    return [float(not any(map(str.isdigit, text))) for text in completions]

def half(completions, **more):
    return [0.5 for _ in completions]

def seldom(completions, **more):
    return [None for _ in completions]

def breaks(data_source, solution_str, ground_truth, extra_info):
    if set("7aU") & set(solution_str):
        raise RuntimeError("I do not like it")
    return 0.1 * len(solution_str)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(0).save(folder / "tiny")
    (folder / "r.py").write_text(REWARDS)
    return folder


@pytest.fixture
def settings(place: Path) -> Callable[..., dict[str, Any]]:
    def chosen(*rewards: str, rate: float = 3e-3, method: str = "grpo", **more: Any) -> dict[str, Any]:
        parts = [(name, *weight) for name, *weight in (reward.split("=") for reward in rewards)]
        return {
            "model": str(place / "tiny"),
            "method": {"name": method, "samples_per_prompt": 4, "optimizer": {"learning_rate": rate}},
            "task": {"name": "arithmetic", "levels": [1], "size": 50, "held_out": 40},
            "rewards": [
                {"function": f"{place / 'r.py'}:{name}", "weight": float(weight[0]) if weight else 1.0}
                for name, *weight in parts
            ],
            "steps": 6,
            "prompts_per_step": 4,
            "max_new_tokens": 5,
            "learner": {"threads": 1},
            "evaluation": {"every": 0, "num_items": 40, "temperature": 1.0},
            "saving": {"every": 0},
            "reporting": {"page": False, "samples_every": 0},
            **more,
        }

    return chosen


@pytest.fixture
def findings(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], dict[str, Finding]]]:
    threads = torch.get_num_threads()

    def of(chosen: dict[str, Any]) -> dict[str, Finding]:
        train(settings_from(chosen), tmp_path / "run", quiet=True)
        return {one.name: one for one in diagnose(tmp_path / "run").findings}

    yield of
    torch.set_num_threads(threads)


def test_a_reward_that_is_the_same_for_all(settings: Any, findings: Any) -> None:
    found = findings(settings("half", "seldom"))
    assert found["constant_part"].says == "the reward part 'half' never varies"
    assert "'seldom'" in found["part_never_applies"].says


def test_a_task_that_the_model_cannot_do(settings: Any, findings: Any) -> None:
    found = findings(settings())
    assert found["too_hard"].severity == "serious" and "all wrong" in found["too_hard"].evidence
    assert found["start_too_hard"].severity == "serious" and found["start_too_hard"].value == 8
    assert "too_easy" not in found and "flat_reward" not in found


def test_completions_that_may_not_be_long_enough(settings: Any, findings: Any) -> None:
    found = findings(settings("digits", max_new_tokens=2, rate=1e-5))
    assert found["truncated"].severity == "serious" and found["truncated"].value == 4


def test_a_learning_rate_of_one(settings: Any, findings: Any) -> None:
    found = findings(settings("different", rate=1.0, steps=2))
    assert found["learning_rate_high"].value == pytest.approx(0.1)
    assert "too_hard" not in found


def test_a_learning_rate_of_a_trillionth(settings: Any, findings: Any) -> None:
    found = findings(settings("digits", rate=1e-12, steps=20))
    assert found["learning_rate_low"].severity == "serious" and found["learning_rate_low"].value >= 1e-6
    assert "learning_rate_high" not in found


def test_a_sampler_with_other_weights_than_the_learner(
    settings: Any, findings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = InProcessSampler.sample

    def perturbed(self: InProcessSampler, *arguments: Any, **more: Any) -> list[Episode]:
        weights = [weight for weight in self.policy.trainable().values() if weight.ndim > 1]
        kept = [weight.detach().clone() for weight in weights]
        noise = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in weights:
                weight.mul_(1 + 0.3 * torch.randn(weight.shape, generator=noise))
            try:
                return draw(self, *arguments, **more)
            finally:
                for weight, before in zip(weights, kept, strict=True):
                    weight.copy_(before)

    monkeypatch.setattr(InProcessSampler, "sample", perturbed)
    assert findings(settings("digits"))["sampler_gap"].severity == "serious"


def test_a_reward_that_is_gamed(settings: Any, findings: Any) -> None:
    """Being right is to write no digit; the second part pays for digits, and more."""
    found = findings(settings("no_digit", "digits=10", steps=15))
    gamed = found["gamed_reward"]
    assert "'digits'" in gamed.says and "the held-out score fell" in gamed.evidence
    assert [part["weight"] for part in gamed.value] == [1.0, 5.0]


def test_a_reward_that_raises(settings: Any, findings: Any) -> None:
    found = findings(settings("breaks", rewarding={"max_failed_share": 1.0}, steps=4))
    assert "breaks" in found["failed_rewards"].evidence and found["failed_rewards"].setting == "rewards"


@pytest.mark.parametrize(("method", "seed"), [("grpo", 0), ("rloo", 1), ("reinforce_baseline", 2)])
def test_a_healthy_run_on_text_is_left_alone(settings: Any, findings: Any, method: str, seed: int) -> None:
    found = findings(settings("digits", method=method, seed=seed, steps=14))
    assert all(one.severity == "note" for one in found.values()), [one.lines() for one in found.values()]


def in_cartpole(method: str, *sets: str) -> dict[str, Any]:
    chosen = ["evaluation.num_items=10", "evaluation.every=0", "saving.every=0", "reporting.page=false", *sets]
    return read_run(flags={"method": method, "task": "CartPole-v1"}, sets=chosen).required().as_data()


SHORT = {
    "ppo": ("steps=15", "method.horizon=128", "method.num_minibatches=4", "method.num_epochs=4", "num_environments=4"),
    "grpo": ("steps=12", "prompts_per_step=4", "samples_per_prompt=4"),
}


@pytest.mark.parametrize(("method", "seed"), [("ppo", 0), ("ppo", 1), ("grpo", 0)])
def test_a_healthy_run_in_an_environment_is_left_alone(findings: Any, method: str, seed: int) -> None:
    found = findings(in_cartpole(method, f"seed={seed}", *SHORT[method]))
    assert all(one.severity == "note" for one in found.values()), [one.lines() for one in found.values()]


def test_an_environment_with_a_learning_rate_of_a_trillionth(findings: Any) -> None:
    small = ("method.horizon=32", "method.num_epochs=1", "method.num_minibatches=1", "num_environments=4")
    found = findings(in_cartpole("ppo", "steps=20", "method.optimizer.learning_rate=1e-12", *small))
    assert found["learning_rate_low"].value == 3e-4 and "scores as before" in found["learning_rate_low"].evidence
    assert {"returns_stand_still", "blind_critic"} & set(found)


@pytest.mark.slow
def test_a_run_that_was_killed(settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(to_yaml(settings_from(settings("digits"))))
    command = [sys.executable, "-m", "rung.cli", "train", "--config", str(file), "--out", str(tmp_path / "run")]
    killed = subprocess.run(
        command, env={**os.environ, "RUNG_FAULT": "step.done:3:kill"}, capture_output=True, timeout=120, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    found = {one.name: one for one in diagnose(tmp_path / "run").findings}
    assert found["unfinished"].evidence.startswith("step 3 of 6") and "still_running" not in found
    assert "rung resume" in found["unfinished"].change


def test_a_run_that_is_at_work_is_said_to_be(settings: Any, tmp_path: Path) -> None:
    from rung.runs.folder import RunLock

    train(settings_from(settings("digits", steps=1)), tmp_path / "run", quiet=True)
    (tmp_path / "run" / "final").rename(tmp_path / "elsewhere")
    with contextlib.ExitStack() as held:
        held.enter_context(RunLock(tmp_path / "run"))
        assert "still_running" in {one.name for one in diagnose(tmp_path / "run").findings}
    assert "unfinished" in {one.name for one in diagnose(tmp_path / "run").findings}
