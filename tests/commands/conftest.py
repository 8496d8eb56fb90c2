"""The commands as a user runs them, in this process; one small model and one finished run for all of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rung.cli import app

SMALL = """\
model: {model}
method:
  name: grpo
  samples_per_prompt: 3
  step:
    learning_rate: 1e-3
task:
  name: arithmetic
  levels: [1]
  size: 40
  held_out: 6
steps: 2
prompts_per_step: 2
max_new_tokens: 4
learner:
  threads: 1
evaluation:
  num_items: 6
saving:
  every: 1
"""


class Answer:
    """What a command printed, and how it ended."""

    def __init__(self, result):
        self.code, self.out, self.err, self.exception = result.exit_code, result.stdout, result.stderr, result.exception

    @property
    def json(self):
        """stdout, which must be one JSON object and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def errors(self):
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


@pytest.fixture
def rung():
    def run(*arguments, stdin=None):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Answer(result)

    return run


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """An untrained tiny model's folder."""
    from rung.models.language.tiny import tiny_model

    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model(0).save(folder)
    return folder


@pytest.fixture(scope="session")
def finished(model, tmp_path_factory):
    """A run of two steps, made by `rung train`; its answer is kept beside it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "run.yaml").write_text(SMALL.format(model=model))
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(app, ["train", "--config", "run.yaml", "--out", "run"])
    finally:
        os.chdir(before)
    assert result.exit_code == 0, (result.output, result.exception)
    (folder / "said.txt").write_text(result.stdout)
    return folder / "run"
