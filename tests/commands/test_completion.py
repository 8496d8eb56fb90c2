"""What the shell offers after Tab."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rung.commands.shared import _names
from rung.methods import METHODS
from rung.runs.metrics import METRICS


def offered(typed: str) -> list[str]:
    words = typed.split(" ")
    asked = {"_RUNG_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv = ['rung']; from rung.cli import main"
    code += "\ntry:\n  main()\nfinally:\n  print('torch' in sys.modules)"
    given = {"env": {**os.environ, **asked}, "capture_output": True, "text": True, "timeout": 60}
    run = subprocess.run([sys.executable, "-c", code], check=False, **given)
    *names, torch = run.stdout.splitlines()
    assert torch == "False", "the shell would wait seconds for torch"
    return names


def test_the_shell_completes_methods_without_waiting_for_torch() -> None:
    assert offered("rung train ppo") == [name for name in METHODS if name.startswith("ppo")]


@pytest.mark.parametrize("kind", ["methods", "metrics", "settings", "tasks"])
def test_what_is_offered_is_what_there_is(kind: str) -> None:
    there = {"methods": METHODS, "metrics": METRICS, "settings": ["evaluation.every"], "tasks": ["arithmetic"]}[kind]
    assert set(there) <= set(_names(kind))
    if kind == "methods":
        assert list(_names(kind)) == list(METHODS)


def test_the_completion_is_installed_by_one_option(rung) -> None:
    assert "--install-completion" in rung("--help").out
