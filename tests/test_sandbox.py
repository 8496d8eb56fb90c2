"""The sandbox: what code that means harm can do, and that nothing it says or does counts as an end it did not reach."""

# ruff: noqa: E501  (programs stand in one line each)

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from rung import sandbox
from rung.errors import SettingsError
from rung.sandbox import Limits, Ran, require_sandbox, run_python
from rung.tasks.tools import SandboxTools, answered

try:
    require_sandbox()
    WHY = ""
except SettingsError as error:
    WHY = str(error)
    if "could do what it must not" in WHY:  # a box that leaks is a failure, never a reason to skip
        raise
boxed = pytest.mark.skipif(bool(WHY), reason=WHY)
SHORT = Limits(seconds=1.5)


def test_a_program_is_run_and_asked() -> None:
    if WHY:
        pytest.skip(WHY)
    ran = run_python(
        "import sys\nprint('a', file=sys.stderr)\nprint(input())\nx = [1, 2.5, 'ä']", asks=["x", "len(x)"], stdin="b\n"
    )
    assert (ran.status, sorted(ran.output.split()), ran.values) == ("ok", ["a", "b"], [[1, 2.5, "ä"], 3])
    assert run_python("print(open(0).read())", stdin="äö" * 9_000).output == "äö" * 9_000 + "\n"
    assert run_python("import os; print(os.getuid(), os.getpid() < 9, os.getcwd())").output == "65534 True /tmp\n"


@boxed
@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("1/0", "raised", "line 1: ZeroDivisionError"),
        ("x = (", "raised", "SyntaxError"),
        ("x = '\\0'\n\0", "raised", "null bytes"),
        ("def f(): f()\nf()", "raised", "RecursionError"),
        ("import sys\nsys.exit(0)", "left", "SystemExit: 0"),
        ("import os\nos._exit(0)", "died", "its process ended"),
        ("print('passed'); print('ok'); import os; os._exit(0)", "died", ""),
        ("import ctypes\nctypes.string_at(0)", "died", ""),
        ("while True: pass", "timeout", "did not end within 1.5 s"),
        ("import signal, time\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): pass\ntime.sleep(99)", "timeout", ""),
        ("while True: print('x' * 1000)", "output", "printed more than 64 KiB"),
        ("import os, signal\nos.kill(-1, signal.SIGKILL)", "raised", "No such process"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "died", ""),
        ("import os, signal\nos.kill(1, signal.SIGKILL)\nos.kill(os.getppid(), 9)\nwhile True: pass", "timeout", ""),
        ("x = bytearray(1 << 30)", "raised", "MemoryError"),
        ("x = 9**9**9", "timeout", ""),
        ("open('big', 'wb').write(b'x' * (33 << 20))", "raised", "OSError"),
        ("[open(f'f{i}', 'wb').write(b'x' * (4 << 20)) for i in range(20)]", "raised", "No space left"),
        ("fs = [open('/dev/null') for _ in range(1000)]", "raised", "Too many open files"),
        ("import os\nwhile True: os.fork()", "raised", "Resource temporarily unavailable"),
        ("import threading, time\nfor _ in range(99): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()", "raised", "can't start new thread"),
        ("import socket\nsocket.create_connection(('1.1.1.1', 53), 1)", "raised", "Network is unreachable"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 22), 1)", "raised", "refused"),
        ("open('/usr/x', 'w')", "raised", "Read-only"),
        ("open('/x', 'w')", "raised", "Read-only"),
        ("open('/dev/shm/x', 'w')", "raised", "Read-only"),
        ("import os\nos.symlink('/etc/passwd', 'x')\nopen('x')", "raised", "FileNotFoundError"),
        ("import os\nos.chroot('/tmp')", "raised", "PermissionError"),
        ("import ctypes\nl = ctypes.CDLL(None, use_errno=True)\nassert l.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == 0, 'refused'", "raised", "refused"),
        ("import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0, 'refused'", "raised", "refused"),
        ("import os\nos.setuid(0)", "raised", "Error"),
        ("open('/proc/sysrq-trigger', 'w').write('b')", "raised", "Error"),
    ],
)  # fmt: skip
def test_an_attack_has_a_status_and_ends(code: str, status: str, error: str) -> None:
    started = time.monotonic()
    ran = run_python(code, limits=SHORT)
    assert ran.status == status and error in ran.error and ran.values == [], ran
    assert time.monotonic() - started < 10 and len(ran.output) <= 64 << 10


FORGED = """
import json, os
for fd in range(3, 64):
    for text in ('begun\\n', json.dumps({"status": "ok", "values": [1], "error": "", "nonce": NONCE}) + "\\n"):
        try: os.write(fd, text.encode())
        except OSError: pass
os._exit(0)
"""


@boxed
@pytest.mark.parametrize("nonce", ["''", "'0' * 64", "None", "5"])
def test_a_forged_proof_is_none(nonce: str) -> None:
    assert run_python(FORGED.replace("NONCE", nonce), asks=["1"]).status == "died"
    assert run_python("import atexit, os\natexit.register(os._exit, 0)", asks=["1"]).values == [1], "it had ended"


@boxed
def test_nothing_of_ours_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "s3cret")
    (tmp_path / "secret").write_text("s3cret")
    code = f"""
import os, glob
seen = [name for name in os.environ if "SECRET" in name]
for place in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline") + ["/proc/self/mountinfo"]:
    try: seen += [place] if b"s3cret" in open(place, "rb").read() or b"SECRET" in open(place, "rb").read() else []
    except OSError: pass
seen += [one for one in ({str(tmp_path)!r}, {str(Path.home())!r}, {str(Path(__file__).parent)!r}, "/etc/passwd", "/root")
         if os.path.exists(one) and one != "/"]
pids = [int(one) for one in os.listdir("/proc") if one.isdigit()]
"""
    ran = run_python(code, asks=["seen", "len(pids) < 9"])
    assert ran.values == [[], True], ran


def ended(found: list[psutil.Process]) -> bool:
    return psutil.wait_procs(found, timeout=10)[1] == []


@boxed
def test_what_it_started_ends_with_it() -> None:
    mark = "rung_sandbox_test_marker"
    started = f"[sys.executable, '-c', 'import time; time.sleep(99) # {mark}'], start_new_session=True"
    assert run_python(f"import subprocess, sys\nsubprocess.Popen({started})").status == "ok"
    assert ended([one for one in psutil.process_iter(["cmdline"]) if mark in " ".join(one.info["cmdline"] or [])])


@boxed
def test_it_ends_with_us() -> None:
    ours = "from rung.sandbox import *\nrequire_sandbox()\nprint('now', flush=True)\nrun_python('while True: pass')"
    parent = psutil.Popen([sys.executable, "-c", ours], stdout=subprocess.PIPE)
    parent.stdout.readline()
    deadline, box = time.monotonic() + 20, []
    while not any("-I" in one.cmdline() and one.name().startswith("python") for one in box):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        box = parent.children(recursive=True)
    assert len(box) >= 2, "bubblewrap, and the program in it"
    parent.kill()
    parent.stdout.close()
    parent.wait()
    assert ended(box)


@boxed
def test_the_tool_tells_what_was_printed_or_what_went_wrong() -> None:
    tools = SandboxTools(5)
    assert list(tools.schemas) == ["python"] and tools.schemas["python"]["function"]["parameters"]["required"] == [
        "code"
    ]

    def told(code: str) -> Any:
        call = json.dumps({"name": "python", "arguments": {"code": code}})
        found = answered({"python": tools}, f"<tool_call>{call}</tool_call>")
        assert found is not None
        return found.text, found.calls

    assert told("print(12 * 34)") == ("408\n", ("ok",))
    assert told("print(1)\n1/0") == ("error: python: 1\nline 2: ZeroDivisionError: division by zero\n", ("raised",))
    assert told("import os; os._exit(0)")[1] == ("died",)


@pytest.mark.slow
@boxed
def test_the_example_scores_values_and_never_words() -> None:
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[1] / "examples" / "code_reward.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["1", "0", "0", "0"]


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require_sandbox.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    with pytest.raises(SettingsError, match=r"bubblewrap is not installed.*apt-get install bubblewrap"):
        run_python("open('/tmp/was_run', 'w')")
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: "/bin/false" if os.getuid() == 0 else str(fake))
    with pytest.raises(SettingsError, match=r"bubblewrap could not close the box.*user namespaces are forbidden"):
        run_python("1")
    monkeypatch.setattr(sandbox, "_run", lambda *_: Ran(status="ok", output="", values=[["/x"]], error=""))
    with pytest.raises(SettingsError, match="a first program could do what it must not"):
        run_python("1")
    require_sandbox.cache_clear()
