"""Trees of values that remember their places."""

from __future__ import annotations

import pytest

from rung.settings.given import NOWHERE, Given, Origin, given, leaves, only_written, overlay, placed, plain, without

FILE = Origin("run.yaml", 3)
FLAG = Origin("--set steps")


def test_plain_undoes_given():
    data = {"a": {"b": [1, {"c": None}], "d": "x"}, "e": {}}
    assert plain(given(data, FILE)) == data


def test_overlay_goes_key_by_key_and_replaces_lists_and_scalars():
    below = given({"a": {"b": 1, "c": 2}, "d": [1, 2], "e": 5}, FILE)
    above = given({"a": {"b": 3}, "d": [4], "f": {"g": 6}}, FLAG)
    merged = overlay(below, above)
    assert plain(merged) == {"a": {"b": 3, "c": 2}, "d": [4], "e": 5, "f": {"g": 6}}
    assert merged.at("a.b").origin == FLAG and merged.at("a.c").origin == FILE
    assert plain(overlay(given({"a": None}, FILE), given({"a": {"b": 1}}, FLAG))) == {"a": {"b": 1}}
    assert plain(overlay(given({"a": {"b": 1}}, FILE), given({"a": None}, FLAG))) == {"a": None}


def test_at_finds_what_stands_at_a_path():
    tree = given({"a": [{"b": 1}, {"b": 2}], "c": {"d": None}}, FILE)
    assert tree.at("a.1.b").value == 2
    assert tree.at("c.d") == Given(None, FILE)
    assert tree.at("") is tree
    assert [tree.at(path) for path in ("a.2", "a.x", "c.e", "c.d.e", "f")] == [None] * 5


def test_without_takes_out_one_thing():
    data = {"a": [{"b": 1, "c": 2}, {"b": 3}], "d": {"e": 4, "f": 5}}
    tree = given(data, FILE)
    assert plain(without(tree, "a.0.b")) == {"a": [{"c": 2}, {"b": 3}], "d": {"e": 4, "f": 5}}
    assert plain(without(tree, "a.1")) == {"a": [{"b": 1, "c": 2}], "d": {"e": 4, "f": 5}}
    assert plain(without(tree, "d.e")) == {"a": data["a"], "d": {"f": 5}}
    assert plain(without(tree, "d")) == {"a": data["a"]}
    assert plain(without(tree, "x.y")) == data
    assert plain(tree) == data


def test_only_written_leaves_what_somebody_wrote():
    below = given({"a": {"b": 1, "c": 2}, "d": 3}, None)
    tree = overlay(below, given({"a": {"c": 4}}, FILE))
    assert plain(only_written(tree)) == {"a": {"c": 4}}
    assert only_written(below) is None
    assert plain(only_written(given({"a": 1}, NOWHERE))) == {"a": 1}


def test_leaves_are_scalars_lists_and_empty_mappings():
    tree = given({"a": {"b": 1}, "c": [1], "d": {}}, FILE)
    assert [(path, plain(value)) for path, value in leaves(tree)] == [("a.b", 1), ("c", [1]), ("d", {})]


@pytest.mark.parametrize(
    ("tree", "problem", "expected"),
    [
        ({"steps": Given(1, FILE)}, "steps: got 1", "run.yaml:3: steps: got 1"),
        ({"steps": Given(1, FLAG)}, "steps: got 1", "--set steps: got 1"),
        ({"steps": Given(1, Origin("--set ps"))}, "steps: got 1", "--set ps: steps: got 1"),
        ({"seed": Given(1, Origin("--seed"))}, "seed: got 1", "--seed: got 1"),
        ({"max_new_tokens": Given(1, Origin("--max-new-tokens"))}, "max_new_tokens: got 1", "--max-new-tokens: got 1"),
        ({"task": given({"name": "x"}, Origin("--task"))}, "task.name: got 'x'", "--task: got 'x'"),
        ({"steps": Given(1, NOWHERE)}, "steps: got 1", "steps: got 1"),
        ({"steps": Given(1, None)}, "steps: got 1", "steps: got 1"),
        ({}, "steps: got 1", "steps: got 1"),
        ({"task": Given({}, FILE)}, "task.name: missing", "run.yaml:3: task.name: missing"),
        ({"task": Given({}, FILE)}, "task.name: got 3", "task.name: got 3"),
        ({}, "model: missing", "model: missing"),
        ({}, "a sentence without a path", "a sentence without a path"),
    ],
)
def test_a_problem_is_told_after_its_place(tree, problem, expected):
    assert placed(problem, Given(tree)) == expected
