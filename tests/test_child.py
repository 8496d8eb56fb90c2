"""The killable child: deadlines, deaths, prints, limits; and nothing is left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import left_behind

from rung.child import Child, ChildError, Limits
from rung.errors import SettingsError

USER = """
import os, sys, time, signal, subprocess, threading, random, resource
import numpy

def run(prompts, completions, what):
    return ACTIONS[what[0]](completions)

def hang(_):
    while True:
        pass

def hang_in_c(_):
    import re
    return [float(bool(re.match(r"(a+)+$", "a" * 60 + "b")))]

def stubborn(_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(100)
        except BaseException:
            pass

def grandchild(completions):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(completions[0], "w").write(str(process.pid))
    time.sleep(600)

def forks(_):
    os.fork()
    return [7.0]

def prints(_):
    block = "x" * (1 << 20)
    for _ in range(100):
        print(block)
        sys.stderr.write(block)
    os.write(1, b'{"answer": [5.0]}\\n')
    return [1.0]

def closes_stdout(_):
    sys.stdout.close()
    return [1.0]

def writes_file(completions):
    with open(completions[0], "wb") as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    return [1.0]

def memory(_):
    return [float(len(bytearray(3 << 30)))]

ACTIONS = {
    "ok": lambda c: [float(len(c))],
    "hang": hang, "hang_in_c": hang_in_c, "stubborn": stubborn, "grandchild": grandchild, "forks": forks,
    "prints": prints, "closes_stdout": closes_stdout, "writes_file": writes_file, "memory": memory,
    "exit": lambda c: sys.exit(0),
    "hard_exit": lambda c: os._exit(3),
    "segfault": lambda c: os.kill(os.getpid(), signal.SIGSEGV),
    "last_words": lambda c: (print("I am out", flush=True), os._exit(1)),
    "random": lambda c: [random.random() + numpy.random.rand()],
    "reads_stdin": lambda c: [float(len(sys.stdin.read()))],
    "recursion": lambda c: ACTIONS["recursion"](c),
    "hash_seed": lambda c: [float(os.environ["PYTHONHASHSEED"])],
}
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    file = tmp_path / "user_code.py"
    file.write_text(USER)
    setup = {"name": "run", "file": str(file), "function": "run"}
    with Child("user_function", setup, limits=Limits(memory_bytes=2 * 2**30, file_bytes=8 * 2**20)) as made:
        yield made
    assert left_behind() == []


def ask(child: Child, what: str, deadline_s: float = 20, completion: str = "c") -> Any:
    request = {"prompts": ["p"], "completions": [completion], "columns": {"what": [what]}}
    return child.ask(request, deadline_s=deadline_s)


def test_one_worker_answers_request_after_request(child: Child):
    assert ask(child, "ok") == [1.0]
    pid = child.pid
    assert [ask(child, "ok") for _ in range(20)] == [[1.0]] * 20 and child.pid == pid


@pytest.mark.parametrize("what", ["hang", "hang_in_c", "stubborn"])
def test_what_hangs_is_killed_at_the_deadline_and_replaced(child: Child, what: str):
    assert ask(child, "ok") == [1.0]
    pid, started = child.pid, time.monotonic()
    with pytest.raises(ChildError, match=r"timeout: no answer within 1 s"):
        ask(child, what, deadline_s=1.0)
    assert 1.0 <= time.monotonic() - started < 2.0
    assert not psutil.pid_exists(pid)
    assert ask(child, "ok") == [1.0] and child.pid != pid


def test_what_it_started_dies_with_it(child: Child, tmp_path: Path):
    assert ask(child, "ok") == [1.0]
    note = tmp_path / "grandchild.pid"
    with pytest.raises(ChildError, match="timeout"):
        ask(child, "grandchild", deadline_s=1.5, completion=str(note))
    assert _ends(int(note.read_text()))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("hard_exit", r"died: its process ended \(exit code 3\)"),
        ("segfault", r"died: its process ended \(killed by SIGSEGV\)"),
        ("last_words", r"died: its process ended \(exit code 1\); it last printed 'I am out'"),
        ("exit", r"raised: SystemExit: 0"),
        ("memory", r"raised: MemoryError"),
        ("recursion", r"raised: RecursionError"),
    ],
)
def test_what_ends_or_raises_is_told_apart_and_the_next_request_is_answered(child: Child, what: str, message: str):
    with pytest.raises(ChildError, match=message):
        ask(child, what)
    assert ask(child, "ok") == [1.0]


def test_two_hundred_megabytes_of_prints_neither_block_nor_corrupt_nor_stay(child: Child):
    assert ask(child, "prints") == [1.0]
    assert len(child._worker.output_tail) <= 4096
    assert ask(child, "ok") == [1.0]


@pytest.mark.parametrize(("what", "score"), [("closes_stdout", 1.0), ("forks", 7.0)])
def test_odd_behaviour_leaves_the_protocol_whole(child: Child, what: str, score: float):
    assert ask(child, what) == [score]
    assert [ask(child, "ok") for _ in range(3)] == [[1.0]] * 3


def test_user_code_reads_an_empty_standard_input(child: Child):
    assert ask(child, "reads_stdin") == [0.0]


def test_file_size_is_limited(child: Child, tmp_path: Path):
    target = tmp_path / "big"
    with pytest.raises(ChildError, match=r"raised: OSError.*File too large"):
        ask(child, "writes_file", completion=str(target))
    assert target.stat().st_size <= 8 * 2**20


def test_random_rewards_depend_on_the_request_alone(child: Child):
    first = ask(child, "random")
    assert ask(child, "random", completion="another") != first
    assert ask(child, "random") == first
    child.start()
    assert ask(child, "random") == first and ask(child, "hash_seed") == [0.0]


@pytest.mark.parametrize("text", ["\0", "\ud800", "\x1b[31m", "\n\r\u2028", "é🦆", "x" * 3_000_000])
def test_any_text_travels_whole(tmp_path: Path, text: str):
    file = tmp_path / "sums.py"
    file.write_text(
        "def run(completions):\n    return [float(sum(i * ord(c) for i, c in enumerate(completions[0], 1)))]\n"
    )
    with Child("user_function", {"name": "run", "file": str(file), "function": "run"}) as sums:
        assert ask(sums, "", completion=text) == [float(sum(i * ord(c) for i, c in enumerate(text, 1)))]


def test_a_worker_that_died_between_requests_is_replaced(child: Child):
    assert ask(child, "ok") == [1.0]
    os.kill(child.pid, signal.SIGKILL)
    psutil.Process(child.pid).wait(5)
    assert ask(child, "ok") == [1.0]


def test_an_interrupted_request_does_not_answer_the_next_one(child: Child):
    assert ask(child, "ok") == [1.0]

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(child, "hang", deadline_s=10)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert ask(child, "ok") == [1.0]


def test_a_setup_that_the_user_got_wrong_is_a_settings_error(tmp_path: Path):
    file = tmp_path / "broken.py"
    file.write_text("raise RuntimeError('not today')\n")
    with (
        Child("user_function", {"name": "f", "file": str(file), "function": "f"}) as child,
        pytest.raises(SettingsError, match=r"broken\.py could not be loaded: RuntimeError: not today"),
    ):
        child.start()
    assert left_behind() == []


def test_a_forgotten_child_is_ended_with_its_object(tmp_path: Path):
    file = tmp_path / "user_code.py"
    file.write_text(USER)
    forgotten = Child("user_function", {"name": "run", "file": str(file), "function": "run"})
    forgotten.start()
    pid = forgotten.pid
    del forgotten
    gc.collect()
    assert not psutil.pid_exists(pid)


PARENT = """
import signal, sys, time
from rung.child import Child, ChildError

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
child = Child("user_function", {"name": "run", "file": sys.argv[1], "function": "run"})
child.start()
print(child.pid, flush=True)
if sys.argv[2] == "busy":
    child.ask({"prompts": ["p"], "completions": ["c"], "columns": {"what": ["hang"]}}, deadline_s=600)
time.sleep(600)
"""


@pytest.mark.parametrize("state", ["busy", "idle"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_child_dies_with_its_parent(tmp_path: Path, state: str, how: signal.Signals):
    file = tmp_path / "user_code.py"
    file.write_text(USER)
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(file), state],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        worker = psutil.Process(pid)
        assert worker.is_running() and worker.ppid() == parent.pid
        if state == "busy":  # the victim's state is seen, not assumed
            idle = worker.cpu_times().user
            assert _until(lambda: worker.cpu_times().user > idle + 0.05)
        parent.send_signal(how)
        parent.wait(10)
    assert _ends(pid)


def _ends(pid: int) -> bool:
    return _until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def _until(true: Any) -> bool:
    stop_at = time.monotonic() + 10
    while time.monotonic() < stop_at:
        try:
            if true():
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


STOPPED = """
import sys
from rung.child import Child

with Child("user_function", {"name": "run", "file": sys.argv[1], "function": "run"}) as child:
    child.start()
    print("asked", flush=True)
    print(child.ask({"prompts": ["p"], "completions": ["c"], "columns": {"what": [""]}}, deadline_s=1.5), flush=True)
"""
SLOW = """
import os, subprocess, sys, time

def run(prompts, completions, what):
    time.sleep(0.7)
    return [1.0]

def starts(completions):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], **quiet)
    open(completions[0], "w").write(str(process.pid))
    return [1.0]
"""


@pytest.mark.parametrize("whole_group", [False, True])
def test_time_in_which_the_run_was_stopped_is_not_the_rewards(tmp_path: Path, whole_group: bool):
    """Stopped as by Ctrl-Z for longer than the deadline: the answer that lies there, or still comes, is taken."""
    file = tmp_path / "slow.py"
    file.write_text(SLOW)
    parent = subprocess.Popen([sys.executable, "-c", STOPPED, str(file)], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None and parent.stdout.readline() == "asked\n"
        stopped = [psutil.Process(parent.pid), *(psutil.Process(parent.pid).children() if whole_group else [])]
        for one in stopped:
            one.suspend()
        time.sleep(2.5)
        for one in stopped:
            one.resume()
        assert parent.stdout.readline() == "[1.0]\n"


@pytest.mark.parametrize("how", ["killed", "closed"])
def test_what_it_started_in_a_session_of_its_own_ends_with_the_run(tmp_path: Path, how: str):
    file, note = tmp_path / "slow.py", tmp_path / "pid"
    file.write_text(SLOW)
    code = (
        "import sys\nfrom rung.child import Child\n"
        "with Child('user_function', {'name': 'starts', 'file': sys.argv[1], 'function': 'starts'}) as child:\n"
        "    child.ask({'prompts': ['p'], 'completions': [sys.argv[2]], 'columns': {}}, deadline_s=60)\n"
        "    print('started', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(file), str(note)]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None and parent.stdout.readline() == "started\n"
        started = int(note.read_text())
        assert psutil.pid_exists(started)
        if how == "killed":
            parent.kill()
        else:
            parent.communicate()
    assert _ends(started)


def test_the_alarm_rings_again_for_code_that_swallows_it():
    from rung.errors import RewardError
    from rung.rewards.values import called_within

    caught = []

    def swallows() -> None:
        for _ in range(2):
            try:
                time.sleep(2)
            except BaseException as error:  # noqa: BLE001  (it swallows whatever comes)
                caught.append(error)
        time.sleep(2)

    began = time.monotonic()
    with pytest.raises(RewardError, match=r"did not return within 0\.3 s"):
        called_within(0.3, "mine", swallows)
    assert len(caught) == 2 and time.monotonic() - began < 4
