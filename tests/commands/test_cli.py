"""The command line as a whole: help, exit codes, errors without tracebacks, nothing heavy at the start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from rung import __version__
from rung.cli import app
from rung.errors import CheckpointError, DataError, MissingExtra, NonFiniteError, RewardError, SettingsError

COMMANDS = (
    "train",
    "check",
    "resume",
    "sft",
    "eval",
    "play",
    "chat",
    "methods",
    "explain",
    "diff",
    "tasks",
    "explain-metric",
)


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_names_every_command(rung):
    answer = rung("--help")
    assert answer.code == 0
    assert all(f"\n  {command}" in answer.out for command in COMMANDS)
    assert "75" in answer.out and "Exit codes" in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(rung, command):
    answer = rung(command, "--help")
    assert answer.code == 0 and f"{command} " in answer.out


def test_the_version(rung):
    assert rung("--version").out == f"{__version__}\n"


def test_nothing_heavy_is_loaded_for_help():
    code = (
        "import sys\nfrom rung.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = ('torch', 'transformers', 'numpy', 'pyarrow', 'matplotlib', 'reasoning_gym')\n"
        "print('loaded:', [name for name in heavy if name in sys.modules])"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_methods_settings_and_the_check_of_a_small_network_do_without_transformers(tmp_path):
    code = (
        "import sys\nfrom rung.cli import app\n"
        "for command in (['methods'], ['settings'], ['check', 'boxes', '--task', 'cartpole-1983']):\n"
        "    try:\n        app(command)\n    except SystemExit as end:\n        assert end.code == 0\n"
        "print('loaded:', [name for name in ('transformers', 'matplotlib') if name in sys.modules])"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("train", "--nothing"), ("explain",), ("chat", "tiny", "--max-new-tokens", "0")]
)
def test_wrong_usage_exits_2(rung, arguments):
    answer = rung(*arguments)
    assert (answer.code, answer.out) == (2, "") and answer.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError(["a: wrong", "b: wrong"]), 2),
        (DataError(["rows.jsonl:3: wrong"]), 2),
        (MissingExtra("LoRA", "lora"), 2),
        (RewardError("f", "timeout", "10 s"), 1),
        (NonFiniteError("NaN in the loss"), 1),
        (CheckpointError("disk full"), 1),
    ],
)
def test_our_errors_are_messages_with_an_exit_code(rung, monkeypatch, error, code):
    def fails():
        raise error

    monkeypatch.setattr("rung.tasks.load.available_tasks", fails)
    answer = rung("tasks", "--json")
    assert (answer.code, answer.out) == (code, "")
    assert answer.errors == str(error).splitlines()
    assert "Traceback" not in answer.err


def test_the_environment_variable_shows_the_traceback(rung, monkeypatch):
    monkeypatch.setenv("RUNG_DEBUG", "1")
    answer = rung("explain", "x")
    assert answer.code == 2 and "Traceback" in answer.err and "SettingsError" in answer.err
    assert answer.errors


def test_other_errors_keep_their_traceback(monkeypatch):
    def fails():
        raise ZeroDivisionError

    monkeypatch.setattr("rung.tasks.load.available_tasks", fails)
    assert isinstance(CliRunner().invoke(app, ["tasks"]).exception, ZeroDivisionError)


def test_hostile_text_in_an_error_is_escaped(rung, in_folder):
    (in_folder / "run.yaml").write_bytes(b'"\\x1b[31mkey": 1\n"\\u202eb": 2\n')
    answer = rung("check", "grpo", "--model", "tiny", "--task", "arithmetic", "--config", "run.yaml")
    assert answer.code == 2
    assert "\x1b" not in answer.err and "\u202e" not in answer.err
    assert any(error.startswith("run.yaml:1: \\x1b[31mkey: unknown key") for error in answer.errors)


def test_an_error_from_the_shell():
    done = python("-m", "rung.cli", "train", "grpo", "--model", "tiny", "--task", "arithmetic", "--set", "stepz=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --set stepz: unknown key; did you mean 'steps'?")
    assert "Traceback" not in done.stderr
