"""A killable child process for code that may hang, crash or print: math-verify, a user's reward, a chat template.

One worker serves one of them and is used again and again. It speaks JSON lines over pipes (no pickle, no fork), runs
in a session of its own, dies with its parent, and is killed with its whole process group at the deadline; the next
request starts a new one. Whatever else it started ends with it (`worker.left_guard`). What its code prints goes to a
pipe that only the last few lines are kept of.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import selectors
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.waiting import turns

TIMEOUT = "timeout"
"""The deadline passed and the code was stopped."""
RAISED = "raised"
"""The code raised, or called `sys.exit`."""
DIED = "died"
"""The process that ran the code ended: killed for memory, a crash in C."""
WRONG_TYPE = "wrong type"
"""A reward returned something that is no number, or was given what is no JSON."""
SETTINGS = "settings"
"""The status of a setup that failed through the user's settings."""

_START_S = 120.0
"""Starting may import torch from a cold disk; it has a deadline of its own, apart from the requests'."""
_OUTPUT_KEPT = 4096
_REPLY_LIMIT = 256 * 2**20
_KEPT = frozenset({"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "OMP_NUM_THREADS"})
"""All that a closed child has of the user's environment."""
_SHARE_OF_TIMEOUTS = 0.1
MARK = "RUNG_WORKER"
"""In the environment of a worker and all that it starts: whose they are."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the worker's processes may use each."""

    memory_bytes: int = 8 * 2**30
    """Private writable memory (RLIMIT_DATA): CUDA's address space does not count."""
    file_bytes: int = 2**30
    """The largest file it may write."""


@dataclass(frozen=True)
class Failure:
    """This sample could not be judged, or this request not be answered.

    Example: `Failure("timeout", "math-verify did not answer in 3 s")`.
    """

    status: str
    """One of the words above, or of those in rewards/reward.py."""
    detail: str = ""
    """For people: the last line of the traceback, or what was waited for."""


class ChildError(Exception):
    """The worker did not answer; `failure` says why in a status and a detail."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"{failure.status}: {failure.detail}")


@dataclass
class _Worker:
    """A running process and the parent's ends of its three pipes."""

    process: subprocess.Popen[bytes]
    requests: int
    replies: int
    output: int
    folder: str | None = None
    """Its own, to be removed with it."""
    output_tail: bytearray = field(default_factory=bytearray)


class Child:
    """One worker process for one job (`worker.JOBS`), started when needed and replaced after it was killed.

    >>> with Child("math_verify", {}) as child:
    ...     child.ask({"gold": "x+1", "answer": "1+x"}, deadline_s=3)
    1.0

    A `closed` child is for code that needs nothing of the user's: it has no environment but what Python needs to
    start, a temporary home and working folder of its own that is removed with it, and where the kernel allows it no
    network.
    """

    def __init__(
        self,
        job: str,
        setup: Mapping[str, Any],
        *,
        limits: Limits | None = None,
        closed: bool = False,
        python: str = sys.executable,
    ) -> None:
        self._first = {"job": job, "setup": dict(setup), "limits": asdict(limits or Limits()), "closed": closed}
        self._is_walled, self._python = closed, python
        self._worker: _Worker | None = None
        self._finalizer: weakref.finalize | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._worker.process.pid if self._worker else None

    def start(self) -> Any:
        """Start a fresh worker, ending the one before, and return what its job's setup says of itself.

        Raises:
            SettingsError: the setup refuses what the user asked for.
            ChildError: it died or was not ready in time.
        """
        assert not self._closed, "this child was closed"
        self._end()
        self._worker = _launched(self._python, closed=self._is_walled)
        self._finalizer = weakref.finalize(self, _kill, self._worker, os.getpid())
        try:
            return self._exchange(self._first, _START_S)
        except ChildError as error:
            self._end()
            if error.failure.status == SETTINGS:
                raise SettingsError(error.failure.detail.splitlines()) from None
            raise

    def ask(self, request: Mapping[str, Any], *, deadline_s: float) -> Any:
        """Send one request (JSON-like) and wait for its answer.

        Raises ChildError: with status `timeout` (killed at the deadline), `died`, or what the job itself reports.
        """
        if self._worker is None or _cause_of_death(self._worker, os.WNOHANG) is not None:
            self.start()
        return self._exchange(request, deadline_s)

    def close(self) -> None:
        """Kill the worker and everything it started; wait until it is gone."""
        self._closed = True
        self._end()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, request: Mapping[str, Any], deadline_s: float) -> Any:
        assert self._worker is not None
        try:
            line = json.dumps(request, ensure_ascii=True).encode("ascii") + b"\n"
        except TypeError as error:
            detail = f"{error}; what is given to a reward in a child must be JSON-like"
            raise ChildError(Failure(WRONG_TYPE, detail)) from error
        try:
            reply = json.loads(_exchanged(self._worker, line, deadline_s))
        except BaseException:
            # Also on Ctrl-C: a worker whose answer nobody took would answer the next request with it.
            self._end()
            raise
        if "failed" in reply:
            status, detail = reply["failed"]
            raise ChildError(Failure(status, detail))
        return reply["answer"]

    def _end(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._worker = self._finalizer = None


def judged_one_by_one(child: Child, requests: Sequence[Any], deadline_s: float) -> list[float | Failure | None]:
    """Ask for each request in turn; None as a request stands for a sample that needs no asking and gets None.

    A request that fails becomes a `Failure` of its sample alone. After a tenth of the batch (at least 2) has timed
    out or died, the rest is not tried: a step must end, and a judge stops the run at such a rate anyway.

    Raises SettingsError: the job says that no sample can be judged.
    """
    most = max(2, math.ceil(_SHARE_OF_TIMEOUTS * len(requests)))
    scores: list[float | Failure | None] = []
    slow = 0
    for request in requests:
        if request is None:
            scores.append(None)
            continue
        if slow > most:
            scores.append(Failure(TIMEOUT, f"not tried: {slow} samples of this batch had timed out or died"))
            continue
        try:
            scores.append(child.ask(request, deadline_s=deadline_s))
        except ChildError as error:
            if error.failure.status == SETTINGS:
                raise SettingsError(error.failure.detail.splitlines()) from None
            slow += error.failure.status in (TIMEOUT, DIED)
            scores.append(error.failure)
    return scores


def _launched(python: str, *, closed: bool) -> _Worker:
    replies, reply_end = os.pipe()
    folder = tempfile.mkdtemp(prefix="rung-child-") if closed else None
    try:
        process = subprocess.Popen(
            [python, "-P", "-m", "rung.worker", str(os.getpid()), str(reply_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=(reply_end,),
            start_new_session=True,
            cwd=folder,
            env=environment_for(folder),
        )
    except BaseException:
        os.close(replies)
        _removed(folder)
        raise
    finally:
        os.close(reply_end)
    assert process.stdin is not None and process.stdout is not None
    os.set_blocking(process.stdin.fileno(), False)
    os.set_blocking(replies, False)
    return _Worker(process, process.stdin.fileno(), replies, process.stdout.fileno(), folder)


def environment_for(home: str | None) -> dict[str, str]:
    """A child's environment: ours, or for a closed child with a home of its own what Python needs to start."""
    # The worker must find this very copy of rung, and must not find a stray json.py in the current folder (-P).
    source = str(Path(__file__).resolve().parents[1])
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [source, *(os.path.abspath(part) for part in given if part)]  # noqa: PTH100  its folder is another one
    always = {"PYTHONPATH": os.pathsep.join(path), "PYTHONHASHSEED": "0", MARK: secrets.token_hex(16)}
    if home is None:
        return os.environ | always
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    packages = {"PYTHONUSERBASE": site.USER_BASE} if site.USER_BASE and site.ENABLE_USER_SITE else {}
    return kept | always | offline | packages | {"HOME": home, "TMPDIR": home}


def _removed(folder: str | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _exchanged(worker: _Worker, line: bytes, deadline_s: float) -> bytes:
    """Write the request and read one line of answer, draining the output all the while."""
    unsent, reply = memoryview(line), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(worker.requests, selectors.EVENT_WRITE)
        ready.register(worker.replies, selectors.EVENT_READ)
        ready.register(worker.output, selectors.EVENT_READ)
        for seconds in turns(deadline_s):
            for key, _ in ready.select(seconds):
                if key.fd == worker.requests:
                    unsent = _sent(worker, unsent)
                    if not unsent:
                        ready.unregister(worker.requests)
                elif key.fd == worker.output:
                    if not _drained(worker):
                        ready.unregister(worker.output)
                else:
                    data = os.read(worker.replies, 2**16)
                    reply += data
                    if not data or len(reply) > _REPLY_LIMIT:
                        raise ChildError(_death(worker, len(reply)))
            if reply.endswith(b"\n"):
                return bytes(reply)
    raise ChildError(Failure(TIMEOUT, f"no answer within {deadline_s:g} s{_last_words(worker)}"))


def _sent(worker: _Worker, unsent: memoryview) -> memoryview:
    try:
        return unsent[os.write(worker.requests, unsent[: 2**16]) :]
    except BrokenPipeError:
        return unsent[:0]  # it died: the end of its replies says so, with the cause


def _drained(worker: _Worker) -> bool:
    data = os.read(worker.output, 2**16)
    worker.output_tail += data
    del worker.output_tail[:-_OUTPUT_KEPT]
    return bool(data)


def _death(worker: _Worker, reply_bytes: int) -> Failure:
    if reply_bytes > _REPLY_LIMIT:
        return Failure(DIED, f"it answered with more than {_REPLY_LIMIT >> 20} MiB and was killed")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.process.pid, signal.SIGKILL)
    return Failure(DIED, f"its process ended ({_cause_of_death(worker, 0)}){_last_words(worker)}")


def _cause_of_death(worker: _Worker, wait: int) -> str | None:
    """How it ended, None while it lives. Not reaped (WNOWAIT): until then its id and its group's are its own."""
    try:
        end = os.waitid(os.P_PID, worker.process.pid, os.WEXITED | os.WNOWAIT | wait)
    except ChildProcessError:
        return "somebody else has waited for it"
    if end is None:
        return None
    return (
        f"exit code {end.si_status}"
        if end.si_code == os.CLD_EXITED
        else f"killed by {signal.Signals(end.si_status).name}"
    )


def _last_words(worker: _Worker) -> str:
    text = worker.output_tail.decode("utf-8", "replace").strip()
    last = text.splitlines()[-1] if text else ""
    return f"; it last printed {last[-200:]!a}" if last else ""


def _kill(worker: _Worker, owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked copy of the parent ends: the worker is not its own
    with contextlib.suppress(ProcessLookupError):  # gone already, with its whole group
        os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    os.close(worker.replies)
    assert worker.process.stdin is not None and worker.process.stdout is not None
    worker.process.stdin.close()
    worker.process.stdout.close()
    _removed(worker.folder)
