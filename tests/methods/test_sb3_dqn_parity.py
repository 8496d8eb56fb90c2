"""DQN's loss and updates against Stable-Baselines3 2.9.2's own, on saved numbers, and afresh where it is installed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import json
from typing import Any

import numpy as np
import pytest
import torch
from sb3_dqn_numbers import ACTIONS, BATCH, FILE, HIDDEN, OBSERVATIONS, inputs, made_by_sb3

from rung.methods import METHODS, ValueLearning
from rung.methods.parts.q_learning import Adam, SquaredError
from rung.models.small.q_network import QNetwork, QShape
from rung.rollouts.replay import Frame, Replay
from rung.trainers.q_learning.learner import ValueLearner

SAVED = json.loads(FILE.read_text(encoding="utf-8"))
SB3 = METHODS["dqn@sb3"]
assert isinstance(SB3, ValueLearning)


class EachOnce:
    """Draws every step of the replay once, in order."""

    def span(self, first: int, count: int) -> np.ndarray:
        return np.tile((np.arange(BATCH) + 0.5) / BATCH, (count, 1))


def replay_of(steps: dict[str, Any]) -> Replay:
    """One update's saved steps, a row each."""
    frame = Frame(shape=(OBSERVATIONS,), dtype=np.dtype("float32"))
    replay = Replay(rows=BATCH, capacity=BATCH, frame=frame)
    for row, seen in enumerate(steps["observations"]):
        replay.begin(row, np.array(seen, np.float32))
    rewards_B, ended_B = np.array(steps["rewards"]), np.array(steps["dones"]) > 0
    following_B = np.array(steps["next_observations"], np.float32)
    replay.add(np.array(steps["actions"]), rewards_B, ended_B, np.zeros(BATCH, bool), following_B)
    return replay


def ours(method: ValueLearning) -> list[dict[str, Any]]:
    """Loss and weights after each update, by our learner."""
    given = SAVED["inputs"]
    network = QNetwork(QShape(observation=(OBSERVATIONS,), choices=ACTIONS, hidden=HIDDEN))
    network.load_state({name: torch.tensor(table) for name, table in given["network"].items()})
    learner = ValueLearner(network, method.changed(replay=dataclasses.replace(method.replay, batch=BATCH)))
    learner._draws = EachOnce()  # type: ignore[assignment]
    assert learner.copy is not None
    learner.copy.load_state({name: torch.tensor(table) for name, table in given["target"].items()})
    found = []
    for steps in given["updates"]:
        learner.learn(replay_of(steps))
        weights = {name: t.clone() for name, t in network.state().items()}
        found.append({"loss": learner.update(None, 1).metrics()["loss"], "weights": weights})
    return found


def largest_gap(method: ValueLearning) -> float:
    return max(
        float((mine["weights"][name] - torch.tensor(table)).abs().max())
        for mine, saved in zip(ours(method), SAVED["results"], strict=True)
        for name, table in saved["weights"].items()
    )


def test_the_saved_numbers_are_of_the_inputs_in_the_script() -> None:
    assert SAVED["inputs"] == inputs()
    assert SAVED["made_by"].startswith("stable_baselines3 2.9.2")


def test_losses_and_weights_equal_sb3s() -> None:
    for mine, saved in zip(ours(SB3), SAVED["results"], strict=True):
        assert mine["loss"] == pytest.approx(saved["loss"], rel=1e-6)
    assert largest_gap(SB3) < 1e-7


@pytest.mark.parametrize(
    "other",
    [
        SB3.changed(error=SquaredError()),
        SB3.changed(optimizer=Adam(learning_rate=1e-4, max_grad_norm=None)),
        SB3.changed(sum_errors=True),
        SB3.changed(value_target=dataclasses.replace(SB3.value_target, discount=0.9)),
    ],
    ids=["squared error", "no bound on the gradient", "summed", "another discount"],
)
def test_another_method_does_not_equal_sb3(other: ValueLearning) -> None:
    """Negative control: the saved numbers tell these apart."""
    assert largest_gap(other) > 1e-6


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_sb3_still_makes_the_saved_numbers_and_has_these_defaults() -> None:
    pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed: pip install -e '.[peers]'")
    version = importlib.metadata.version("stable_baselines3")
    if version != "2.9.2":
        pytest.skip(f"the saved numbers are of 2.9.2 and {version} is installed: pip install stable-baselines3==2.9.2")
    made = made_by_sb3()
    assert made["inputs"] == SAVED["inputs"]
    for fresh, saved in zip(made["results"], SAVED["results"], strict=True):
        assert fresh["loss"] == pytest.approx(saved["loss"], rel=1e-6)
        for name, table in saved["weights"].items():
            torch.testing.assert_close(torch.tensor(fresh["weights"][name]), torch.tensor(table), rtol=0, atol=1e-7)
    from stable_baselines3 import DQN

    default = {name: p.default for name, p in inspect.signature(DQN).parameters.items()}
    assert (SB3.replay.capacity, SB3.replay.starts, SB3.replay.batch) == (
        default["buffer_size"],
        default["learning_starts"],
        default["batch_size"],
    )
    assert (
        SB3.optimizer.learning_rate == default["learning_rate"]
        and SB3.optimizer.max_grad_norm == default["max_grad_norm"]
    )
    assert SB3.value_target.discount == default["gamma"] and SB3.value_target.steps == default["n_steps"]
    assert SB3.steps_between_updates == default["train_freq"] and SB3.updates == default["gradient_steps"]
    assert SB3.target_network.updates == default["target_update_interval"] / default["train_freq"]
    assert SB3.target_network.share == default["tau"]
    assert SB3.exploration.end == default["exploration_final_eps"]
