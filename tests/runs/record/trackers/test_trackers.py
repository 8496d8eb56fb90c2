"""Each tracker holds exactly the rows of metrics.jsonl and timings.jsonl, read back by its own library.

What a library stores is read in a process of its own, with the network closed where the kernel allows it: these
libraries start threads and services, and must not need anything from outside.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HISTORY = [(0, {"held_out/score": 0.25}), (1, {"reward/mean": 0.5, "seconds/step": 2.0}), (2, {"reward/mean": 0.75})]
AFTER = [(3, {"reward/mean": 1.0, "nonfinite/loss": 1.0})]

TELL = """
import json, sys
from pathlib import Path
from rung.runs.record.trackers import Tracking
name, folder, history, rows = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4])
metrics = [{"step": step, **numbers} for step, numbers in history]
said = []
settings = {"steps": 3, "method": {"name": "grpo"}}
tracking = Tracking(name, folder, settings, metrics=metrics, timings=[], say=said.append)
for step, numbers in rows:
    tracking.row({"step": step, "gone": None, **numbers})
if "killed" in sys.argv:
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
tracking.close()
assert not said, said
print(tracking.where)
"""

READ = {
    "tensorboard": """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1] + "/tensorboard", purge_orphaned_data=False, size_guidance={"scalars": 0})
found.Reload()
rows = {}
for tag in found.Tags()["scalars"]:
    for event in found.Scalars(tag):
        rows.setdefault(event.step, []).append([tag, round(event.value, 6)])
print(json.dumps(rows))
""",
    "wandb": """
import json, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2 as pb
rows = {}
(path,) = Path(sys.argv[1], "wandb").glob("offline-run-*/run-*.wandb")
data, at, whole = path.read_bytes(), 7, b""
while at + 7 <= len(data):  # LevelDB's log: blocks of 32 KiB, records of checksum, length, kind
    left = 32768 - at % 32768
    if left < 7:
        at += left
        continue
    length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
    whole += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):
        record, whole = pb.Record.FromString(whole), b""
        if record.HasField("history"):
            step = record.history.step.num
            for item in record.history.item:
                key = item.key or "/".join(item.nested_key)
                if not key.startswith("_"):
                    rows.setdefault(step, []).append([key, round(json.loads(item.value_json), 6)])
print(json.dumps(rows))
""",
    "trackio": """
import json, os, sqlite3
from pathlib import Path
rows = {}
with sqlite3.connect(Path(os.environ["TRACKIO_DIR"], "rung.db")) as base:
    for step, metrics in base.execute("select step, metrics from metrics order by id"):
        rows.setdefault(step, []).extend([name, round(value, 6)] for name, value in json.loads(metrics).items())
print(json.dumps(rows))
""",
}


def network_closed() -> list[str]:
    """What to put before a command so that it has no network; nothing where the kernel does not allow it."""
    if shutil.which("unshare") is None:
        return []
    closed = ["unshare", "--user", "--map-root-user", "--net"]
    return closed if subprocess.run([*closed, "true"], capture_output=True, check=False).returncode == 0 else []


def run(code: str, *arguments: str, closed: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(__file__).parents[4] / "src")
    command = [*(network_closed() if closed else []), sys.executable, "-c", code, *arguments]
    own = {"PYTHONPATH": source, "WANDB_SILENT": "true", **environment}
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(params=["tensorboard", pytest.param("wandb", marks=pytest.mark.slow), "trackio"])
def name(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def tell(tmp_path: Path, name: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def told(history: list[Any], rows: list[Any], *more: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "run").mkdir(exist_ok=True)
        arguments = (name, str(tmp_path / "run"), json.dumps(history), json.dumps(rows), *more)
        return run(TELL, *arguments, TRACKIO_DIR=str(tmp_path / "trackio"))

    return told


def stored(name: str, tmp_path: Path) -> dict[int, dict[str, float]]:
    found = run(READ[name], str(tmp_path / "run"), TRACKIO_DIR=str(tmp_path / "trackio"))
    assert found.returncode == 0, found.stderr
    rows: dict[int, dict[str, float]] = {}
    for step, numbers in json.loads(found.stdout.splitlines()[-1]).items():
        names = [key for key, _ in numbers]
        assert len(names) == len(set(names)), f"step {step} is there twice"
        rows[int(step)] = dict(numbers)
    return rows


def test_it_holds_every_row_once(name: str, tell: Any, tmp_path: Path) -> None:
    done = tell([], [*HISTORY, *AFTER])
    assert done.returncode == 0, done.stderr
    assert stored(name, tmp_path) == dict([*HISTORY, *AFTER])
    assert {"tensorboard": "tensorboard --logdir", "wandb": "wandb sync", "trackio": "trackio show"}[
        name
    ] in done.stdout


def test_after_a_kill_and_a_resume_no_step_is_there_twice(name: str, tell: Any, tmp_path: Path) -> None:
    assert tell([], [*HISTORY, (3, {"reward/mean": -1.0}), (4, {"reward/mean": -2.0})], "killed").returncode == -9
    done = tell(HISTORY, AFTER)  # resumed from step 2: what stood after it is made again
    assert done.returncode == 0, done.stderr
    assert stored(name, tmp_path) == dict([*HISTORY, *AFTER])


def test_two_runs_do_not_mix(tmp_path: Path) -> None:
    """Runs of one name in different folders, as a shared database sees them."""
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    base = str(tmp_path / "trackio")
    for place, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / place / "run").mkdir(parents=True)
        row = json.dumps([(1, {"reward/mean": value})])
        assert run(TELL, "trackio", str(tmp_path / place / "run"), "[]", row, TRACKIO_DIR=base).returncode == 0
    code = "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('select count(*) from metrics').fetchone())"
    assert run(code, f"{base}/rung.db").stdout.strip() == "(2,)"
