"""Runs in forked children of one process that has imported everything, and what two runs must have in common."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

KILLED = -signal.SIGKILL
COMPARED = ("metrics.jsonl", "samples.parquet", "final/model.safetensors", "settings.yaml", "method.json")


@cache
def server() -> subprocess.Popen[str]:
    """The one process, for all tests of this one."""
    script = Path(__file__).parent / "forked_runs.py"
    found = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    atexit.register(found.communicate)
    return found


class Runs:
    """Runs in forked children of one process that has imported everything."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def ask(self, do: str, folder: Path, **more: Any) -> tuple[int, str]:
        asked, answers = server().stdin, server().stdout
        assert asked is not None and answers is not None
        request = {"do": do, "folder": str(folder), "settings": self.settings, **more}
        asked.write(json.dumps(request) + "\n")
        asked.flush()
        answer = json.loads(answers.readline())
        return answer["code"], answer["said"]

    def begun_or_resumed(self, folder: Path, **more: Any) -> tuple[int, str]:
        """A run killed before it wrote its settings is begun again; from then on it is resumed."""
        return self.ask("resume" if (folder / "settings.yaml").exists() else "train", folder, **more)

    def resumed(self, folder: Path) -> None:
        code, said = self.ask("resume", folder)
        assert code == 0, said


def assert_same(folder: Path, whole: Path, compared: tuple[str, ...] = COMPARED) -> None:
    for name in compared:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    for part in ("samples", "held_out"):
        mine, theirs = ({p.name: p.read_bytes() for p in (root / part).iterdir()} for root in (folder, whole))
        assert mine == theirs, part
    assert not list(folder.glob("**/*.aside")), "nothing half-written is left"
