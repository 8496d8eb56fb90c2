"""A trained policy is loaded and asked: what acts gives the environment's own actions, what writes gives text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from typer.testing import CliRunner

import rung
from rung.cli import app
from rung.errors import DataError, SettingsError
from rung.models.small.network import SmallPolicy, SmallShape
from rung.tasks.cart_pole import box_of
from rung.trainers.boxes_1983.policy import BoxPolicy

FEW: dict[str, Any] = {"steps": 1, "evaluation": {"num_items": 2}, "reporting": {"page": False}, "quiet": True}


class Shifted(gymnasium.Env):  # type: ignore[type-arg]
    """Its actions are 5 and 6."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2, start=5)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        assert action in (5, 6)
        return np.zeros(2, np.float32), 1.0, False, False, {}


def shifted() -> Any:
    return gymnasium.wrappers.TimeLimit(Shifted(), 4)


def test_an_action_is_the_environments_own(tmp_path: Path) -> None:
    run = rung.train(method="reinforce", task=shifted, prompts_per_step=2, out=tmp_path / "run", **FEW)
    observation = [0.5, -0.5]
    action = run.policy().act(observation)
    network = SmallPolicy.load(tmp_path / "run" / "final")
    assert action == network.mode(np.array([observation], np.float32))[0] + 5
    opened = rung.open(tmp_path / "run")
    assert opened.policy(task=shifted).act(observation) == action
    with pytest.raises(SettingsError, match="hand it in again"):
        opened.policy().act(observation)


def test_numbers_come_within_the_bounds(tmp_path: Path) -> None:
    run = rung.train(method="ppo", task={"name": "Pendulum-v1", "max_episode_steps": 8}, out=tmp_path / "run", **FEW)
    policy = run.policy()
    policy._parameters["policy.2.bias"].data += 100.0
    assert policy.act([1.0, 0.0, 0.0]).tolist() == [2.0], "Pendulum's greatest torque"


def test_what_acts_is_no_model_of_text(tmp_path: Path) -> None:
    (tmp_path / "run" / "final").mkdir(parents=True)
    SmallPolicy(SmallShape(observations=4, choices=2)).save(tmp_path / "run" / "final")
    with pytest.raises(DataError, match=r"acts and does not write: rung.open\(RUN\).policy\(\).act"):
        rung.load_policy(str(tmp_path / "run" / "final"))
    told = CliRunner().invoke(app, ["chat", str(tmp_path / "run" / "final")])
    assert told.exit_code == 2 and "acts and does not write" in told.output


def test_boxes_push_by_their_table() -> None:
    policy, state = BoxPolicy(("push",), boxes=162), (0.0, 0.0, 0.05, 0.0)
    assert policy.act(state) == 1
    policy.push[box_of(*state)] = -1.0
    assert policy.act(state) == 0 and policy.act((9.0, 0.0, 0.0, 0.0)) == 1
