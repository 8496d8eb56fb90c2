"""A process that has imported everything once and forks a child for every run: kills cost no start-up time.

Reads one JSON request a line, {"do": "train" | "resume", "folder": ..., "fault": ..., "kill": [changes, seconds]},
answers with the child's wait status and what it printed. `kill` waits until so many changes were seen in the run's
folder, then so long, then kills: on any machine, slow or busy, the run has begun and is at work.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401  (once here, not once in every child)
from transformers.models.llama import modeling_llama  # noqa: F401

import rung.models.language.load  # noqa: F401
from rung.errors import RungError
from rung.library import resume, train
from rung.settings import Settings


def in_child(request: dict[str, Any], write_to: int) -> None:
    torch.set_num_threads(1)
    if request.get("fault"):
        os.environ["RUNG_FAULT"] = request["fault"]
    said = io.StringIO()
    code = 1
    with redirect_stdout(said), redirect_stderr(said):
        try:
            folder = Path(request["folder"])
            if request["do"] == "train":
                code = train(Settings.model_validate(request["settings"]), folder).exit_code
            else:
                code = resume(folder, request.get("changes")).exit_code
        except RungError as error:
            print(f"{type(error).__name__}: {error}")
            code = error.exit_code
        except Exception:  # noqa: BLE001  (the child tells its parent everything)
            traceback.print_exc()
    os.write(write_to, said.getvalue().encode()[-20_000:])
    os._exit(code)


def kill_at_work(child: int, folder: Path, changes: int, seconds: float) -> None:
    before = listing(folder)
    while changes > 0 and os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(0.001)
        now = listing(folder)
        changes -= now != before
        before = now
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)


def listing(folder: Path) -> set[tuple[str, int]]:
    found = set[tuple[str, int]]()
    for place, folders, files in os.walk(folder):  # which passes over a folder that is gone when it is looked into
        for name in (*folders, *files):
            with suppress(FileNotFoundError):  # renamed or removed while it was listed
                found.add((name, (Path(place) / name).stat().st_size))
    return found


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        read_from, write_to = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_from)
            in_child(request, write_to)
        os.close(write_to)
        if request.get("kill"):
            kill_at_work(child, Path(request["folder"]), *request["kill"])
        with os.fdopen(read_from, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "said": said}), flush=True)


if __name__ == "__main__":
    serve()
