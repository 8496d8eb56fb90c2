from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from rung.errors import MissingExtra, SettingsError
from rung.tasks.environment import environment_task


class Odd(gymnasium.Env):  # type: ignore[type-arg]
    """An environment with whatever spaces are asked for."""

    def __init__(self, observation: Any = None, action: Any = None, fails: str = "") -> None:
        if fails:
            raise gymnasium.error.DependencyNotInstalled(fails)
        self.observation_space = observation or gymnasium.spaces.Box(0, 255, (4, 3, 2), np.uint8)
        self.action_space = action or gymnasium.spaces.Box(np.float32([-1, -2]), np.float32([1, 5]))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape, self.observation_space.dtype), {}

    def step(self, action: Any) -> Any:
        return np.zeros(self.observation_space.shape, self.observation_space.dtype), 0.0, False, False, {}


@pytest.fixture(autouse=True)
def registered() -> Any:
    gymnasium.register(id="rung/Odd-v0", entry_point=Odd)
    yield
    del gymnasium.registry["rung/Odd-v0"]


def test_cartpole_is_described() -> None:
    task = environment_task("CartPole-v1")
    assert (task.observations, task.choices, task.dimensions) == (4, 2, None)
    assert (task.threshold, task.max_episode_steps) == (475.0, 500)
    assert task.to_environment(np.array([1, 0])) == [1, 0]
    assert environment_task("CartPole-v1", max_episode_steps=20).require_time_limit() == 20


def test_vectors_and_pictures_are_flattened_and_actions_brought_within_bounds() -> None:
    task = environment_task("rung/Odd-v0")
    assert (task.observations, task.choices, task.dimensions, task.threshold) == (24, None, 2, None)
    (action,) = task.to_environment(np.array([[-3.0, 4.5]], np.float32))
    assert action.tolist() == [-1.0, 4.5] and action.dtype == np.float32
    with pytest.raises(SettingsError, match="no time limit"):
        task.require_time_limit()


def test_choices_that_do_not_begin_at_zero_are_shifted() -> None:
    task = environment_task("rung/Odd-v0", action=gymnasium.spaces.Discrete(3, start=-1))
    assert task.choices == 3 and task.to_environment(np.array([0, 2])) == [-1, 1]


@pytest.mark.parametrize(
    ("spaces", "words"),
    [
        ({"observation": gymnasium.spaces.Discrete(5)}, "observations Discrete"),
        ({"observation": gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(5))}, "observations Dict"),
        ({"action": gymnasium.spaces.MultiDiscrete([2, 2])}, "actions MultiDiscrete"),
    ],
)
def test_other_spaces_are_refused(spaces: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        environment_task("rung/Odd-v0", **spaces)


def test_an_unknown_environment_or_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="did you mean 'CartPole-v1'"):
        environment_task("CartPol-v1")
    with pytest.raises(SettingsError, match="unknown environment 'CartPole'"):
        environment_task("CartPole")
    with pytest.raises(SettingsError, match="gravitation"):
        environment_task("CartPole-v1", gravitation=3)
    with pytest.raises(SettingsError, match="discount"):
        environment_task("CartPole-v1", discount=1.5)
    with pytest.raises(SettingsError, match="nothing_of_this_name"):
        environment_task("nothing_of_this_name:Env-v0")


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for fails, extra in (("MuJoCo is not installed", "mujoco"), ("pygame is not installed", "control")):
        with pytest.raises(MissingExtra, match=rf"rung\[{extra}\]"):
            environment_task("rung/Odd-v0", fails=fails)
    with pytest.raises(SettingsError, match="jax"):
        environment_task("rung/Odd-v0", fails="jax is not installed")
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtra, match=r"rung\[control\]"):
        environment_task("CartPole-v1")


def test_mujocos_warnings_are_pythons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By itself it prints one for every environment made, and writes a file into the folder one works in."""
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        environment_task("HalfCheetah-v5")
    assert [str(one.message)[:8] for one in heard if "MuJoCo" in str(one.message)] == ["MuJoCo: "]
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_a_grid_of_actions_reaches_from_bound_to_bound() -> None:
    task = environment_task("rung/Odd-v0", action_bins=3)  # bounds -1..1 and -2..5
    assert (task.choices, task.dimensions) == (9, None)
    found = np.stack(task.to_environment(np.arange(9)))
    assert found.dtype == np.float32
    assert found.tolist() == [[a, b] for a in (-1.0, 0.0, 1.0) for b in (-2.0, 1.5, 5.0)]
    shaped = environment_task("rung/Odd-v0", action_bins=2, action=gymnasium.spaces.Box(0, 1, (2, 1)))
    assert [one.tolist() for one in shaped.to_environment(np.array([1, 2]))] == [[[0.0], [1.0]], [[1.0], [0.0]]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"action": gymnasium.spaces.Discrete(4)}, "has actions to choose among already"),
        ({"action": gymnasium.spaces.Box(-np.inf, np.inf, (2,))}, "have no bounds to lay a grid between"),
        ({"action_bins": 1}, "expected a whole number of at least 2"),
        ({"action_bins": "3"}, "expected a whole number of at least 2"),
        ({"action_bins": 257}, "257 values in each of the 2 dimensions of 'rung/Odd-v0' are 66,049 actions"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        environment_task("rung/Odd-v0", **{"action_bins": 5, **options})
