"""Environments of a user's own, as people write them: those that work are trained in, the others are told in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import rung
from rung.errors import EnvironmentFailure, SettingsError
from rung.rollouts.environments.rows import EnvironmentRows
from rung.tasks.environment import EnvironmentTask, environment_task
from rung.tasks.own_environment import import_named, module_of

ZEROS = np.zeros(3, np.float32)


class Plain(gymnasium.Env):  # type: ignore[type-arg]
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.taken = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.taken = 0
        return ZEROS.copy(), {}

    def step(self, action: Any) -> Any:
        self.taken += 1
        return ZEROS.copy(), 1.0, False, False, {}


class Lists(Plain):
    def reset(self, **given: Any) -> Any:
        return super().reset(**given)[0].tolist(), {}

    def step(self, action: Any) -> Any:
        return (0.0, 0.0, 0.0), 1.0, False, False, {}


class Numpys(Plain):
    def step(self, action: Any) -> Any:
        return ZEROS, float(action.item()), False, False, {}


class OldReset(Plain):
    def reset(self) -> Any:
        return ZEROS


class OldPair(Plain):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return ZEROS


class OldStep(Plain):
    def step(self, action: Any) -> Any:
        return ZEROS, 1.0, False, {}


class NoSeed(Plain):
    def reset(self, *, options: Any = None) -> Any:
        return ZEROS, {}


class RaisesAtOnce(Plain):
    def reset(self, **given: Any) -> Any:
        raise ZeroDivisionError("no maze")


class Exits(Plain):
    def step(self, action: Any) -> Any:
        sys.exit(3)


class Wide(Plain):
    def step(self, action: Any) -> Any:
        return np.zeros(4, np.float32), 1.0, False, False, {}


class NoReward(Plain):
    def step(self, action: Any) -> Any:
        return ZEROS, None, False, False, {}


class NoSpace(Plain):
    observation_space: Any = None


class Late(Plain):
    """Fails after the first try was fine."""

    def step(self, action: Any) -> Any:
        if self.taken == 6:
            raise KeyError("wall")
        return super().step(action)


class Images(Plain):
    observation_space: Any = gymnasium.spaces.Box(0, 255, (84, 84, 3), np.uint8)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros((84, 84, 3), np.uint8), {}

    def step(self, action: Any) -> Any:
        return np.zeros((84, 84, 3), np.uint8), 1.0, False, False, {}


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Any:
    """Registers a class and gives its id."""

    def register(cls: type[Any]) -> str:
        name = f"hands/{cls.__name__}-v0"
        gymnasium.register(name, entry_point=cls, max_episode_steps=10)
        request.addfinalizer(lambda: gymnasium.registry.pop(name))
        return name

    return register


@pytest.mark.parametrize("cls", [Plain, Lists, Numpys])
def test_what_works_is_trained_in(made: Any, cls: type[Any], tmp_path: Path) -> None:
    small = {"prompts_per_step": 2, "steps": 1, "evaluation": {"num_items": 2}, "reporting": {"page": False}}
    run = rung.train(method="reinforce", task=made(cls), out=tmp_path / "run", quiet=True, **small)
    assert run.finished
    assert run.policy().act(ZEROS) in (0, 1)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (OldReset, r"reset\(seed=0\): TypeError: .*reset takes no seed.*\*, seed=None, options=None"),
        (NoSeed, "reset takes no seed"),
        (OldPair, "reset gave no pair"),
        (OldStep, r"step 1 of an episode, with the action 1 \(int64\): .*expected 5: observation, reward, terminated"),
        (RaisesAtOnce, r"reset\(seed=0\): ZeroDivisionError: no maze"),
        (Exits, "step 1 of an episode, with the action 1"),
        (Wide, "cannot reshape array of size 4"),
        (NoReward, "step 1 of an episode, .*TypeError"),
        (NoSpace, "has no observation_space"),
    ],
)
def test_what_cannot_work_is_refused_in_words_before_the_first_step(made: Any, cls: type[Any], words: str) -> None:
    name = made(cls)
    with pytest.raises(SettingsError, match=f"'{name}'") as told:
        environment_task(name)
    assert told.match(words)


def test_what_fails_later_names_environment_step_and_action(made: Any) -> None:
    rows = EnvironmentRows(environment_task(made(Late)), 1)
    rows.reset(0, 1)
    for _ in range(6):
        rows.step(np.array([1]), (0,))
    with pytest.raises(EnvironmentFailure, match=r"'hands/Late-v0': step 7 of an episode, with the action 0 .*'wall'"):
        rows.step(np.array([0]), (0,))
    rows.reset(0, 1)
    assert rows.step(np.array([1]), (0,))[0].tolist() == [1.0], "counted anew"


def test_the_checkers_findings_are_said_with_the_environments_name(made: Any) -> None:
    (found, *_) = environment_task(made(Lists)).notes()
    assert found.startswith("environment 'hands/Lists-v0': Gymnasium's checker says: ") and "\x1b" not in found
    assert environment_task(made(Plain)).notes() == ()
    assert environment_task("Pendulum-v1").notes() == (), "Gymnasium's own are not checked"


def test_images_are_told_to_be_read_as_numbers(made: Any) -> None:
    task: EnvironmentTask = environment_task(made(Images))
    (told,) = [note for note in task.notes() if "84x84x3" in note]
    assert "21,168 plain numbers" in told and "unscaled, 0 to 255" in told
    (told,) = [n for n in environment_task(task.name, normalize_observations=True).notes() if "84x84x3" in n]
    assert "unscaled" not in told


MODULE = """\
import gymnasium, numpy as np

class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, False, {}

gymnasium.register("H1/Walk-v0", entry_point=Walk, max_episode_steps=5)
open("imported", "w").close()
"""


def rung_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.path = [p for p in sys.path if p]; from rung.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True)  # noqa: PLW1510


def test_a_module_in_ones_own_folder_is_imported_where_it_is_named_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "my_walks.py").write_text(MODULE)
    few = [
        word
        for one in ("steps=1", "prompts_per_step=2", "evaluation.num_items=2", "saving.every=1")
        for word in ("--set", one)
    ]
    name = "my_walks:H1/Walk-v0"
    named = rung_in(tmp_path, "train", "reinforce", "--task", name, *few, "--out", "run")
    assert named.returncode == 0, named.stderr
    (tmp_path / "imported").unlink()
    by_data = rung_in(tmp_path, "resume", "run", "--set", "steps=2")
    assert by_data.returncode == 2 and "imported only when you name it yourself" in by_data.stderr
    assert not (tmp_path / "imported").exists()
    again = rung_in(tmp_path, "resume", "run", "--set", "steps=2", "--task", name)
    assert again.returncode == 0, again.stderr


def test_modules_that_cannot_be_imported_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SettingsError, match=f"neither installed nor in {tmp_path}"):
        import_named("no_such_walks:H1/X-v0")
    (tmp_path / "broken_walks.py").write_text("1/0")
    with pytest.raises(SettingsError, match=r"broken_walks .*ZeroDivisionError"):
        import_named("broken_walks:H1/X-v0")
    assert module_of("/a/my.py:MINE") is None and module_of("a.b:H1/X-v0") == "a.b"
    with pytest.raises(SettingsError, match=r"needs the module broken_walks, .*--task broken_walks:H1/X-v0"):
        environment_task("broken_walks:H1/X-v0")
    assert module_of("CartPole-v1") is None and module_of("given:Mine-v0") is None and module_of(3) is None
