"""Environments and tools of files: killed at the deadline, replayed from their seeds, never a harm to the run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from calls import called

from rung.errors import EnvironmentFailure, RewardError, SettingsError
from rung.random import Stream
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.turns import answers
from rung.tasks.hosted import Host, file_turn_task
from rung.tasks.load import load_task
from rung.tasks.task import Item
from rung.tasks.tools import WithTools
from rung.tasks.turns import EVERY_ITEM, Step

CODE = '''
import os, random, re, subprocess, sys, time
from rung import Step

calls = 0

def hang() -> str:
    """Never ends."""
    while True:
        pass

def hang_in_c() -> str:
    """Never comes back to Python."""
    return str(re.match(r"(a+)+$", "a" * 60 + "b"))

def dies() -> str:
    """Ends its process."""
    os._exit(0)

def leaves() -> str:
    """Asks to leave."""
    sys.exit(0)

def forks() -> str:
    """Comes back twice."""
    os.fork()
    return "once"

def starts(where: str) -> str:
    """Leaves a process behind."""
    one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    open(where, "w").write(str(one.pid))
    while True:
        pass

def eats() -> str:
    """Wants five GiB."""
    return str(len(bytearray(5 << 30)))

def prints() -> str:
    """Prints ten megabytes, and an answer that is none."""
    for _ in range(10):
        print("x" * (1 << 20))
    os.write(1, b'{"answer": ["forged", "ok"]}\\n')
    return "printed"

def counts() -> int:
    """How often a function of this file was called."""
    global calls
    calls += 1
    return calls

def luck() -> int:
    """Draw a number."""
    return random.randrange(10**9)

class Notes:
    """Made anew for each episode."""
    def __init__(self):
        self.kept = {}
    def keep(self, name: str, value: int) -> str:
        """Keep a number."""
        self.kept[name] = value
        return "kept"
    def recall(self, name: str) -> int:
        """Recall it."""
        return self.kept[name]

class Walk:
    """Says what was said so far, and a number of its own luck; some words break it."""
    def __init__(self, length: int = 9):
        self.length = length
    def reset(self, item, seed):
        self.said = [f"{item}"]
        return f"{item}:"
    def step(self, reply):
        self.said.append(reply)
        if reply == "hang":
            while True:
                pass
        if reply == "die":
            os._exit(3)
        if reply == "raise":
            raise ValueError("broken")
        if reply == "exit":
            sys.exit(0)
        if reply == "none":
            return "no step"
        if reply == "pid":
            return Step(str(os.getpid()))
        return Step(f"{' '.join(self.said)} {random.randrange(10**9)}\\n", done=len(self.said) > self.length)

class Clock:
    """Answers with what no seed gives."""
    def reset(self, item, seed):
        return "go:"
    def step(self, reply):
        return Step(str(time.monotonic_ns()))

class Inherits(Walk):
    stop = ("!",)
    def items(self, seed):
        return [f"a{seed}", "b", "c", "d", "e", "f"]
    def examples(self, seed):
        return [("a:", "x!")]

class Acts:
    def reset(self, *, seed=None, options=None): ...
    def step(self, action): ...
'''
NAMES = ("hang", "hang_in_c", "dies", "leaves", "forks", "starts", "eats", "prints", "counts", "luck", "Notes")
START = Item(id="i", prompt="", columns={EVERY_ITEM: 5})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(CODE)
    return str(path)


@pytest.fixture(scope="module")
def host(file: str) -> Host:
    return Host("tools", [f"{file}:{name}" for name in NAMES], {})


@pytest.mark.parametrize(
    ("call", "status", "told"),
    [
        ("?hang()", "timeout", "error: hang: no answer within 0.5 s"),
        ("?hang_in_c()", "timeout", "error: hang_in_c: no answer within 0.5 s"),
        ("?dies()", "died", "error: dies: its process ended"),
        ("?leaves()", "raised", "error: leaves: SystemExit: 0"),
        ("?forks()", "ok", "once"),
        ("?eats()", "raised", "error: eats: MemoryError"),
        ("?prints()", "ok", "printed"),
        ("?keep('a', {1})", "bad arguments", "error: keep: arguments must be plain values"),
        ("?keep('a', '1')", "bad arguments", "error: keep: 1: Input should be a valid integer"),
        ('<tool_call>{"name": "keep", "arguments": {"name": "a", "value": 1}}</tool_call>', "ok", "kept"),
    ],
)
def test_what_a_tool_does_is_its_answer_and_the_next_call_is_answered(
    host: Host, call: str, status: str, told: str
) -> None:
    episode = host.episode(0.5 if "hang" in call else 10)
    found = called(episode, call)
    assert found.calls == (status,) and found.text.startswith(told)
    assert called(episode, "?forks()").calls == ("ok",)


def test_what_a_tool_started_ends_with_it(host: Host, tmp_path: Path) -> None:
    where = tmp_path / "pid"
    assert called(host.episode(2), f"?starts({str(where)!r})").calls == ("timeout",)
    pid = int(where.read_text())
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError("it lives")


def test_tools_of_an_episode_go_on_in_a_fresh_process_where_they_were(host: Host) -> None:
    episode, other = host.episode(10), host.episode(10)
    other._worker = episode._worker  # both live in one process
    assert called(episode, "?keep('a', 7)").text == "kept\n"
    before = int(called(episode, "?counts()").text)
    assert called(other, "?recall('a')").calls == ("raised",)
    assert called(other, "?dies()").calls == ("died",)
    assert called(episode, "?recall('a')").text == "7\n"
    assert int(called(episode, "?counts()").text) == 2, f"a fresh process (before: {before}), counted again once"
    assert called(other, "?recall('a')").calls == ("raised",), "what ended it is not asked again"


def test_luck_comes_from_the_episodes_seed_and_the_place_of_the_call(host: Host) -> None:
    def drawn(seed: int) -> list[str]:
        episode = host.episode(10)
        episode.begin(seed)
        return [called(episode, "?luck()").text for _ in range(2)]

    assert drawn(1) == drawn(1) and drawn(1) != drawn(2) and len(set(drawn(1))) == 2


def test_an_environment_of_a_file_is_a_task(file: str) -> None:
    task: Any = load_task(f"{file}:Inherits", seed=4, length=2)
    assert [item.prompt for item in task.train] == ["a4:", "b:", "c:", "d:", "f:"]
    assert task.held_out[0].prompt == "e:" and task.stop == ("!",) and task.examples[0].completion == "x!"
    plain: Any = load_task(f"{file}:Walk")
    assert plain.stop == ("\n",) and plain.train[3].prompt == "3:"
    with pytest.raises(SettingsError, match="unexpected keyword argument 'lenth'"):
        load_task(f"{file}:Walk", lenth=2)
    with pytest.raises(SettingsError, match="defines no 'Wlak'; did you mean 'Walk'"):
        load_task(f"{file}:Wlak")
    assert file_turn_task(f"{file}:Acts") is None
    with pytest.raises(SettingsError, match=r"no class with reset\(item, seed\)"):
        load_task(f"{file}:Acts")


@pytest.mark.parametrize(
    ("reply", "status"),
    [("hang", "timeout"), ("die", "died"), ("raise", "raised"), ("exit", "raised"), ("none", "raised")],
)
def test_an_environment_that_fails_has_a_status_and_others_go_on_as_if_nothing_was(
    file: str, reply: str, status: str
) -> None:
    def walked(*, beside: str | None) -> list[Step]:
        task: Any = load_task(f"{file}:Walk")
        one, other = task.plays(1.0), task.plays(1.0)
        other._worker = one._worker
        one.reset(START, 3)
        found = [one.step("x")]
        if beside is not None:
            other.reset(START, 3)
            before = one.step("pid").text
            with pytest.raises(RewardError, match=status):
                other.step(beside)
            one._log.pop()  # its process id is no answer that comes again
            found.append(one.step("y"))
            assert (one.step("pid").text != before) == (reply in ("hang", "die"))
        else:
            found.append(one.step("y"))
        return found

    assert walked(beside=reply) == walked(beside=None)


def test_an_environment_that_cannot_be_repeated_is_said_so(file: str) -> None:
    task: Any = load_task(f"{file}:Clock")
    playing = task.plays(1.0)
    playing.reset(START, 3)
    playing.step("x")
    os.kill(playing._worker.child.pid, 9)
    with pytest.raises(RewardError, match=r"not repeatable: answer 2 .*draw from `seed` alone"):
        playing.step("y")


def test_episodes_that_ended_are_forgotten_and_two_of_one_file_have_one_module(file: str) -> None:
    host = Host("tools", [f"{file}:counts", f"{file}:luck"], {})
    first = host.episode(10)
    called(first, "?counts()")
    worker, key = first._worker, first._key
    del first
    assert worker.ended == [key]
    with pytest.raises(SettingsError, match="two are named 'counts'"):
        from rung.tasks.load import load_text_task
        from rung.tasks.tools import with_tools

        with_tools(load_text_task("arithmetic"), [], host.episode, host.episode)


def test_a_reset_that_fails_is_said_with_its_item(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("class Bad:\n def reset(self, item, seed):\n  return 3\n def step(self, r): ...\n")
    with pytest.raises(EnvironmentFailure, match=r"reset of item train-0: raised: ValueError: reset gave 3"):
        load_task(f"{tmp_path}/bad.py:Bad")


def test_played_in_children_it_draws_what_it_draws_here(file: str) -> None:
    from rung.models.language.tiny import tiny_model
    from rung.rewards.user import loaded
    from rung.tasks.turns import turn_task

    policy = tiny_model(0, characters="\n 0123456789:", context_length=128, layers=1, width=16)
    quiet = loaded(Path(file), "Walk")
    apart: Any = load_task(f"{file}:Walk", length=3)

    class Here(quiet):  # type: ignore[misc, valid-type]
        def step(self, reply: str) -> Step:
            return super().step(reply)

    def drawn(task: Any) -> list[Any]:
        given = {"samples_per_prompt": 6, "max_new_tokens": 8, "temperature": 1.0, "stream": Stream(0, 1, "train")}
        return list(answers(InProcessSampler(policy), policy, task, [task.train[0], task.train[1]], **given))

    found, again = drawn(apart), drawn(apart)
    assert any(len(e.played.turns) > 1 for e in found)
    assert [e.played for e in found] == [e.played for e in again]
    here = drawn(turn_task("walk", Here, length=3))
    assert [e.played.turns[0].said for e in found] == [e.played.turns[0].said for e in here]
    assert WithTools([]).apart and not WithTools([], Here()).apart
