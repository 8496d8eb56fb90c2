"""TOML settings: tomllib's values, with lines."""

from __future__ import annotations

import tomllib

import pytest

from rung.settings.given import leaves, plain
from rung.settings.toml_text import read_toml

TEXT = """\
model = "tiny"   # a comment
method.optimizer.learning_rate = 1e-5

[task]
name = "arithmetic"
levels = [
  1,
  2,
]

[[rewards]]
function = "task"

[[rewards]]
function = "a.py:f"
weight = 0.5

[learner]
compute = "float32"
"method" = 3
"""


def test_values_are_tomllibs():
    assert plain(read_toml(TEXT, "run.toml", [])) == tomllib.loads(TEXT)


def test_every_value_has_the_line_of_its_key():
    tree = read_toml(TEXT, "run.toml", [])
    places = {path: value.origin.place for path, value in leaves(tree)}
    assert places["model"] == "run.toml:1"
    assert places["method.optimizer.learning_rate"] == "run.toml:2"
    assert places["task.name"] == "run.toml:5"
    assert places["task.levels"] == "run.toml:6"
    assert places["learner.compute"] == "run.toml:19"
    assert places["learner.method"] == "run.toml:20"
    assert tree.at("rewards.0.function").origin.line == 12
    assert tree.at("rewards.1.weight").origin.line == 16


def test_an_inline_table_has_its_line():
    tree = read_toml('a = 1\ntask = {name = "x", levels = [1]}\n', "run.toml", [])
    assert tree.at("task.levels").origin.place == "run.toml:2"


@pytest.mark.parametrize(
    ("text", "place"),
    [("a = 1\na = 2\n", "run.toml:2: not TOML"), ("a = 1\nb = [1,\n", "run.toml:"), ("x", "run.toml:1")],
)
def test_what_is_no_toml_is_a_problem(text, place):
    problems = []
    assert read_toml(text, "run.toml", problems) is None
    assert len(problems) == 1 and problems[0].startswith(place), problems
