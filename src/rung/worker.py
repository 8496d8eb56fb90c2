"""The child's side: `python -P -m rung.worker PARENT_PID REPLY_FD`, started by `child.py`.

The first line on standard input names the job and its setup; every further line is a request. Each gets one line on
the reply pipe: `{"answer": ...}` or `{"failed": [status, detail]}`. What the job's code prints never reaches that pipe.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from rung.child import MARK, RAISED, SETTINGS
from rung.errors import MissingExtra, RewardError, SettingsError, last_line
from rung.processes import die_with, kill_marked, leave_network

JOBS: Mapping[str, str] = {
    "math_verify": "rung.rewards.math_answer",
    "reasoning_gym": "rung.tasks.reasoning_gym",
    "user_function": "rung.rewards.user",
    "hosted": "rung.tasks.hosted_job",
    "chat_template": "rung.models.language.chat_template_job",
}
"""What a child can do: a job's name, and the module with its `NAME_job`. A job's setup returns the function that
answers requests, and what it says of itself.

Only the one job is imported, and nothing heavy before it asks for it: the worker starts fast.
"""


def main(parent: int, reply_fd: int) -> None:
    left_guard(reply_fd)
    die_with(parent)
    os.set_inheritable(reply_fd, False)
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(reply_fd, "wb", buffering=0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  a device, for its descriptor
        os.dup2(nothing.fileno(), 0)

    first = json.loads(requests.readline())
    if first["closed"]:
        leave_network()
        die_with(parent)  # a change of rights may have made the kernel forget it
    set_limits(**first["limits"])
    job: Callable[[Any], Any] | None = None

    def set_up(message: Mapping[str, Any]) -> Any:
        nonlocal job
        module = importlib.import_module(JOBS[message["job"]])
        job, about = getattr(module, f"{message['job']}_job")(message["setup"])
        return about

    serve(set_up, first, replies)
    for line in requests:
        if job is None:
            break
        seed_from(line)
        serve(job, json.loads(line), replies)
    os._exit(0)


def serve(answer: Callable[[Any], Any], request: Any, replies: BinaryIO) -> None:
    """Answer one request. Whatever the code raises, `sys.exit` included, is reported and never ends the worker."""
    me = os.getpid()
    try:
        reply: dict[str, Any] = {"answer": answer(request)}
        line = json.dumps(reply, allow_nan=False)
    except BaseException as error:  # noqa: BLE001  foreign code may raise anything
        line = json.dumps({"failed": failure_of(error)})
    if os.getpid() != me:
        os._exit(0)  # the code forked and the copy came back too: one request has one answer
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    data = memoryview(line.encode("ascii") + b"\n")
    while data:
        data = data[replies.write(data) :]


def failure_of(error: BaseException) -> tuple[str, str]:
    """Status and detail of what was raised."""
    if isinstance(error, (SettingsError, MissingExtra)):
        return SETTINGS, str(error)
    if isinstance(error, RewardError):
        return error.status, str(error).removeprefix(f"reward '{error.reward}': {error.status}: ")
    return RAISED, last_line(error)


def left_guard(reply_fd: int) -> None:
    """Starts a copy of this process that waits until this one is gone, however it went, and then kills whatever it has
    started, in any group or session: all bear its mark in their environment. It runs no code of others. Linux only."""
    worker = os.getpid()
    if sys.platform != "linux" or os.fork() != 0:
        return
    os.setsid()
    for handle in (0, 1, 2, reply_fd):
        os.close(handle)  # or nobody would see the worker's end of them close
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    die_with(worker, signal.SIGTERM)
    while os.getppid() == worker:
        signal.sigwait({signal.SIGTERM})
    mark = f"{MARK}={os.environ[MARK]}".encode()
    while kill_marked(mark):
        time.sleep(0.01)
    os._exit(0)


def set_limits(memory_bytes: int, file_bytes: int) -> None:
    """Bound memory and file size, leave no core file; never above a limit that stands already."""
    wanted = {resource.RLIMIT_DATA: memory_bytes, resource.RLIMIT_FSIZE: file_bytes, resource.RLIMIT_CORE: 0}
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


def seed_from(request: bytes) -> None:
    """Seed the global generators from the request, so that a reward that draws at random gives the same on resume."""
    seed = int.from_bytes(hashlib.blake2b(request, digest_size=4).digest(), "little")
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
