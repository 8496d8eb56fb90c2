"""Environments of other packages, each played by its own package: what is read, what counts, the same from one seed."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rung.errors import EnvironmentFailure, RewardError, SettingsError
from rung.tasks.load import load_task
from rung.tasks.turns import Step

OTHERS = Path(os.environ.get("RUNG_CACHE") or Path.home() / ".cache" / "rung") / "others"
FROZEN = {"actions": ["left", "down", "right", "up"], "is_slippery": False}
SERVED = """
import sys
from typing import Any
import uvicorn
from openenv.core.env_server import Action, Environment, Observation, State, create_app

class Say(Action):
    message: str

class Heard(Observation):
    text: str

class Count(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True
    def reset(self, seed=None, episode_id=None, **given: Any):
        self.secret = (seed or 0) % 9
        return Heard(text="0-9:")
    def step(self, action, timeout_s=None, **given: Any):
        right = action.message == str(self.secret)
        if action.message == "break":
            raise RuntimeError("broken")
        return Heard(text="right" if right else "wrong", reward=float(right), done=right)
    @property
    def state(self):
        return State()

uvicorn.run(create_app(Count, Say, Heard, max_concurrent_envs=12), port=int(sys.argv[1]), log_level="error")
"""


def python(package: str) -> str:
    place = OTHERS / package / "bin" / "python"
    assert place.exists(), "these packages are installed by `make others`"
    return str(place)


def played(task: Any, replies: list[str], seed: int = 3) -> list[Any]:
    """What was read first, and each answer, to the end."""
    playing = task.plays()
    found = [playing.reset(task.train[0], seed)]
    for reply in replies:
        found.append(playing.step(reply))
        if found[-1].done:
            break
    return found


def test_gymnasium_is_read_in_text_and_acted_in_by_words() -> None:
    task = load_task("gymnasium/FrozenLake-v1", **FROZEN)
    path = ["down", "up up", "down", "right", "right", "down", "right"]
    first, *steps = played(task, path)
    assert first == "<red>S</>FFF\nFHFH\nFFFH\nHFFG\none of left, down, right, up\n"
    assert steps[0] == Step("  (Down)\nSFFF\n<red>F</>HFH\nFFFH\nHFFG\n", success=0.0)
    assert steps[1] == Step("expected one of left, down, right, up\n"), "no step, and no failure"
    assert len(steps) == 7 and (steps[-1].reward, steps[-1].done, steps[-1].success) == (1.0, True, 1.0)
    assert played(task, ["down", "right"])[-1].success == 0.0, "a hole"


@pytest.mark.parametrize(
    ("spec", "options", "what"),
    [
        ("gymnasium/Nope-v0", {}, "NameNotFound"),
        ("gymnasium/Pendulum-v1", {}, r"its actions are Box\(.*which no word names"),
        ("gymnasium/FrozenLake-v1", {"actions": ["left"]}, "got 1 words, expected 4"),
        ("gymnasium/FrozenLake-v1", {"nope": 1}, "unexpected keyword argument 'nope'"),
        ("no_such_package/X", {}, "is no task"),
        ("textworld/x.z8", {"python": "/no/python"}, "there is no interpreter /no/python"),
        ("openenv/here", {}, "No module named|expected the address of a server"),
    ],
)
def test_what_cannot_be_played_is_said(spec: str, options: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        load_task(spec, **options)


def test_a_missing_package_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "textarena.py").write_text("import no_such_thing")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"install textarena here, or name an interpreter .*task.python=PATH"):
        load_task("textarena/GuessTheNumber-v0")


def test_a_game_keeps_its_own_luck_and_leaves_everybody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A game of another package's make, which draws from Python's global generator."""
    import sys
    from types import SimpleNamespace

    from rung.tasks.others.textarena import TextArena

    class Draws:
        def reset(self, num_players: int, seed: int) -> None:
            random.seed(seed)

        def step(self, action: str) -> tuple[bool, Any]:
            self.said = action
            return action == "[end]", {}

        def get_observation(self) -> Any:
            return 0, [(0, "what I said", None), (-1, f"{random.random()}", None)]

        def close(self) -> Any:
            return {0: 0.5}, {}

    wrapped = SimpleNamespace(make=lambda name: SimpleNamespace(env=SimpleNamespace(env=Draws())))
    monkeypatch.setitem(sys.modules, "textarena", wrapped)
    one, other = TextArena("x"), TextArena("x")
    alone = [one.reset(0, 5), one.step("a").text, one.step("b").text]
    random.seed(1)
    before = random.getstate()
    beside = [one.reset(0, 5), other.reset(0, 6), one.step("a").text, other.step("a").text, one.step("b").text]
    assert [beside[0], beside[2], beside[4]] == alone and random.getstate() == before
    wanted = random.Random(5)
    assert alone == [f"{wanted.random()}\n" for _ in range(3)], "as the game alone would draw"
    assert one.step("end") == Step(reward=0.5, done=True, success=0.0), "partial credit is no success"
    assert TextArena("x", first="go:", chat=True).reset(0, 5) == [{"role": "user", "content": "go:"}]


@pytest.mark.peers
@pytest.mark.parametrize(
    ("name", "replies"),
    [
        ("GuessTheNumber-v0", [str(n) for n in range(1, 21)]),
        ("TowerOfHanoi-v0", ["A C", "A B", "C B", "A C", "B A", "B C", "A C"]),
        ("2048-v0", ["up", "left", "down", "right", "up", "left"]),
        ("Minesweeper-v0", ["0 0", "1 1", "2 2", "3 3"]),
        ("FrozenLake-v0", ["right", "down", "left", "up"]),
    ],
)
def test_textarena(name: str, replies: list[str]) -> None:
    task = load_task(f"textarena/{name}", python=python("textarena"))
    found = played(task, replies)
    assert len(found[0]) > 100 and len(found) > 2 and found == played(task, replies)
    assert all(found[0][:200] not in step.text for step in found[1:]), "the rules are not repeated"
    if name == "GuessTheNumber-v0":
        assert (found[-1].reward, found[-1].done, found[-1].success) == (1.0, True, 1.0)
        lost = played(task, ["7", "x", "x"])[-1]
        assert lost.done and 0 < lost.reward < 1 and lost.success == 0.0


@pytest.mark.peers
def test_textworld(tmp_path: Path) -> None:
    make = [python("textworld"), str(OTHERS / "textworld" / "bin" / "tw-make")]
    asked = ["custom", "--world-size", "1", "--nb-objects", "2", "--quest-length", "1", "--seed", "4"]
    subprocess.run([*make, *asked, "--output", str(tmp_path / "one.z8")], check=True, capture_output=True)
    task = load_task(f"textworld/{tmp_path / 'one.z8'}", python=python("textworld"))
    walk = (tmp_path / "one.json").read_text().partition('"commands": ["')[2].partition('"]')[0].split('", "')
    first, *steps = played(task, ["dance", *walk])
    assert first[0].isalpha() and "$$" not in first and "\n>" not in first
    assert steps[0].reward == 0 and not steps[0].done
    assert steps[-1].done and steps[-1].success == 1.0 and sum(step.reward for step in steps) == 1.0
    assert len(load_task(f"textworld/{tmp_path}", python=python("textworld")).train) == 1


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served.py").write_text(SERVED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [python("openenv"), str(tmp_path / "served.py"), str(port)], stderr=subprocess.DEVNULL
    ) as server:
        try:
            for _ in range(300):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


@pytest.mark.peers
def test_openenv_over_its_own_server(served: str) -> None:
    task: Any = load_task(f"openenv/{served}", python=python("openenv"))
    first, *steps = played(task, ["5", "3"], seed=12)
    assert first == "0-9:\n" and steps == [Step("wrong\n"), Step("right\n", 1.0, True)]
    with pytest.raises(RewardError, match=r"openenv/http.*: raised: "):
        played(task, ["break"])
    whole: Any = load_task(f"openenv/{served}", python=python("openenv"), action="message", observation="text")
    assert played(whole, ["3"], seed=3)[-1].done
    held = [task.plays() for _ in range(13)]
    with pytest.raises((RewardError, EnvironmentFailure), match="CAPACITY_REACHED"):
        for one in held:
            one.reset(task.train[0], 3)
    with pytest.raises(SettingsError, match="there is no field 'said'; it has message"):
        load_task(f"openenv/{served}", python=python("openenv"), action="said")
