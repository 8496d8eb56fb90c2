"""The sandbox: Python code that a model wrote, run where it can do no harm. Linux, with bubblewrap.

    ran = run_python(code, asks=["add(2, 3)"])
    right = ran.values == [5]

The code has no network, a user of its own, a read-only system without the project's and the user's files, one small
folder in memory, and limits on time, memory, processes, files and output. What is there of the kernel it can reach: a
machine with secrets should run it in a virtual machine.

That it ended is known by a number drawn for the run, which the harness gives back once the code has come to its end:
an exit code of 0, or a printed "passed", is no proof. Code that studies the harness can still claim to have ended. So
ask for values, and compare them outside; the right ones never go in.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import selectors
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.waiting import turns

_HARNESS = Path(__file__).with_name("sandbox_harness.py")
_NOBODY = 65534
_MOST_CODE = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the code may use. Memory is of each process, so all of it together is `memory_mib * processes`."""

    seconds: float = 10.0
    memory_mib: int = 512
    processes: int = 8
    """Processes and threads."""
    files_mib: int = 32
    """Of all files together, and of each; they lie in memory."""
    output_kib: int = 64


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a run ended. Example: `Ran(status="ok", output="hello\\n", values=[5], error="")`."""

    status: str
    """`ok`: the code came to its end, and each ask has a value. Else `raised`, `left` (sys.exit), `died` (its process
    ended), `timeout`, `output` (it printed too much)."""
    output: str
    """What it printed, to standard output and error."""
    values: list[Any]
    """Of the asks, as JSON has them; empty unless `ok`."""
    error: str
    """For people: what was raised and where, or what became of the process."""


def run_python(code: str, *, asks: Sequence[str] = (), stdin: str = "", limits: Limits | None = None) -> Ran:
    """Runs a program, and then evaluates expressions after it.

    >>> run_python("def add(a, b): return a + b", asks=["add(2, 3)"]).values
    [5]

    Raises SettingsError: there is no bubblewrap, or it cannot close the box here. Nothing is run then.
    """
    require_sandbox()
    return _run(code, asks, stdin, limits or Limits())


@cache
def require_sandbox() -> None:
    """SettingsError where code cannot be closed in: a first program tries what must be refused."""
    here = [str(Path.cwd()), str(Path.home())]
    ran = _run(_TRIED, [f"tried({here!r})"], "", Limits())
    if ran.status != "ok" or any(ran.values[0]):
        what = f"{ran.status}, {ran.error}, {ran.output.strip()[-300:]}" if ran.status != "ok" else f"{ran.values[0]}"
        raise SettingsError([f"sandbox: a first program could do what it must not ({what}); no code is run here"])


_TRIED = """
import os, time
def tried(folders):
    found = [one for one in folders if one not in ("/", "/tmp") and os.path.isdir(one) and os.listdir(one)]
    networks = [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line]
    if networks not in ([], ["lo"]): found.append(f"network {networks}")
    for place in ("/x", "/usr/x", "/dev/x"):
        try:
            open(place, "w").close()
            found.append(place)
        except OSError:
            pass
    if os.getuid() == 0: found.append("root")
    made = []
    try:
        for _ in range(100):
            pid = os.fork()
            if pid == 0:
                time.sleep(5)
                os._exit(0)
            made.append(pid)
        found.append("100 processes")
    except OSError:
        pass
    for pid in made: os.kill(pid, 9)
    return found
"""


def _run(code: str, asks: Sequence[str], stdin: str, limits: Limits) -> Ran:
    box, nonce = _box(limits), secrets.token_hex(32)
    asked = {"memory": limits.memory_mib << 20, "seconds": int(limits.seconds) + 1, "file": limits.files_mib << 20}
    asked |= {"files": 64, "processes": limits.processes, "core": 0}
    data = json.dumps({"code": code, "asks": list(asks), "stdin": stdin, "limits": asked}).encode()
    if len(data) > _MOST_CODE:
        return Ran(status="raised", output="", values=[], error=f"the program has more than {_MOST_CODE:,} bytes")
    request = os.memfd_create("request", os.MFD_ALLOW_SEALING)
    answers, answer_end = os.pipe()
    try:
        os.write(request, b"%10d" % len(data) + data + nonce.encode())
        os.lseek(request, 0, os.SEEK_SET)
        fcntl.fcntl(request, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        process = subprocess.Popen(
            [*box, "-I", "-B", "-c", _HARNESS.read_text("utf-8"), str(answer_end)],
            stdin=request,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(answer_end,),
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
        )
    except BaseException:
        os.close(answers)
        raise
    finally:
        os.close(request)
        os.close(answer_end)
    try:
        said, answer, why = _read(process, answers, limits)
    finally:
        process.kill()  # all that it started goes with its namespace of processes
        process.wait()
        os.close(answers)
    output = said.decode("utf-8", "replace")
    if not answer.startswith(b"begun\n"):
        raise SettingsError([_not_begun(output)])
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        found = json.loads(answer.removeprefix(b"begun\n"))
        if not why and secrets.compare_digest(found["nonce"], nonce):
            return Ran(status=found["status"], output=output, values=found["values"], error=found["error"])
    ended = {"timeout": f"it did not end within {limits.seconds:g} s"}
    ended["output"] = f"it printed more than {limits.output_kib} KiB"
    return Ran(
        status=why or "died", output=output, values=[], error=ended.get(why, "its process ended before the code")
    )


def _read(process: subprocess.Popen[bytes], answers: int, limits: Limits) -> tuple[bytes, bytes, str]:
    """What it printed, what the harness answered, and which limit stopped it."""
    assert process.stdout is not None
    found = {process.stdout.fileno(): bytearray(), answers: bytearray()}
    most = limits.output_kib << 10
    with process.stdout, selectors.DefaultSelector() as ready:
        for place in found:
            ready.register(place, selectors.EVENT_READ)
        why = "timeout"
        for seconds in turns(limits.seconds):
            for key, _ in ready.select(seconds):
                data = os.read(key.fd, 2**16)
                found[key.fd] += data
                if not data:
                    ready.unregister(key.fd)
            over = [place for place in found if len(found[place]) > most]
            if over or not ready.get_map():
                why = "output" if over else ""
                break
        said, answer = found.values()
        return bytes(said[:most]), bytes(answer), why


def _box(limits: Limits) -> list[str]:
    """The command in which a Python runs closed in, up to the interpreter."""
    bwrap = shutil.which("bwrap")
    if bwrap is None or shutil.which("setpriv") is None:
        what = "bubblewrap is not installed, and without it no code of a model is run"
        raise SettingsError([f"sandbox: {what}: apt-get install bubblewrap (Linux; dnf and pacman have it too)"])
    python, prefix = _python()
    system = [part for one in ("/usr", prefix) for part in ("--ro-bind", one, one)]
    for name in ("bin", "lib", "lib64", "sbin"):
        place = Path("/", name)
        if place.is_symlink():
            system += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir():
            system += ["--ro-bind", str(place), str(place)]
    whose = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs"]
    variables = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    return [
        *(whose if os.getuid() == 0 else []),  # no limit on processes binds root
        *(bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"),
        *("--uid", f"{_NOBODY}", "--gid", f"{_NOBODY}", "--die-with-parent", "--new-session"),
        *system,
        *("--proc", "/proc", "--dev", "/dev", "--size", f"{limits.files_mib << 20}", "--tmpfs", "/tmp"),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--clearenv"),
        *(part for name, value in variables.items() for part in ("--setenv", name, value)),
        python,
    ]


@cache
def _python() -> tuple[str, str]:
    """A Python that the box's user may run, and the folder that it stands in: this one, or else the system's."""
    own = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}").resolve()
    for place, prefix in ((own, sys.base_prefix), (Path("/usr/bin/python3").resolve(), "/usr")):
        way = (place, *place.parents) if os.getuid() == 0 else ()
        if place.exists() and all(one.stat().st_mode & 5 == 5 for one in way):
            return str(place), prefix
    raise SettingsError(["sandbox: there is no Python that a user without rights may run: apt-get install python3"])


def _not_begun(said: str) -> str:
    hint = "where user namespaces are forbidden: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    hint += "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), or a container started with --security-opt "
    return f"sandbox: bubblewrap could not close the box: {said.strip()[-300:]!r}; {hint}seccomp=unconfined"
