"""YAML with line numbers: safe_load's values, numbers with exponents, no duplicates, written text reads back."""

from __future__ import annotations

import itertools
import time

import pytest
import yaml
from hypothesis import given as for_all
from hypothesis import strategies as st

from rung.settings.given import leaves, plain, read_yaml, write_yaml


def read(text):
    problems = []
    tree = read_yaml(text, "run.yaml", problems)
    return (None if tree is None else plain(tree)), problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-2.5e3", -2500.0),
        ("+.5", 0.5),
        ("-.5", -0.5),
        (".5e1", 5.0),
        ("1_000", 1000),
        ("10", 10),
        ("true", True),
        ("no", False),
        ("null", None),
        ("~", None),
        ("'1e-5'", "1e-5"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("grpo", "grpo"),
        ("[1, 2.0, a]", [1, 2.0, "a"]),
    ],
)
def test_scalars_have_their_types(text, value):
    found, problems = read(f"key: {text}")
    assert problems == []
    assert found == {"key": value} and type(found["key"]) is type(value)


def test_everything_else_is_what_safe_load_gives():
    text = "a: {b: [1, x, {c: 2.5}], d: 'no'}\ne: >\n  folded\n  text\nf: &x {g: 1}\nh: {<<: *x, i: 2}\n"
    assert read(text) == (yaml.safe_load(text), [])


def test_every_value_has_the_line_of_its_key():
    text = "a: 1\n\nb:\n  # why\n  c: 2\n  d:\n    - x\n    - e: 3\n"
    tree = read_yaml(text, "run.yaml", [])
    lines = {path: value.origin.place for path, value in leaves(tree)}
    assert lines == {"a": "run.yaml:1", "b.c": "run.yaml:5", "b.d": "run.yaml:6"}
    assert [inner.origin.line for inner in tree.at("b.d").value] == [7, 8]
    assert tree.at("b.d.1.e").origin.place == "run.yaml:8"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "run.yaml:3: 'a' is given twice, first at run.yaml:1"),
        ("x:\n  a: 1\n  a: 1\n", "run.yaml:3: 'a' is given twice, first at run.yaml:2"),
        ("a: [1", "run.yaml:1: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n---\nb: 2\n", "run.yaml:2: not YAML: but found another document"),
        ("3: x", "run.yaml:1: got the key '3', expected a name"),
        ("? [a]\n: x", "run.yaml:1: got the key"),
        ("a.b: 1", "run.yaml:1: got the key 'a.b', expected nested keys: a: {b: ...}"),
        ("a: !!python/object/apply:os.system ['true']", "run.yaml:1: got the tag 'tag:yaml.org,2002:python/object"),
        ("a: !!python/name:os.system", "run.yaml:1: got the tag"),
        ("a: !mine {b: 1}", "run.yaml:1: got the tag '!mine'"),
        ("a: !!set {b, c}", "run.yaml:1: got the tag"),
        ("a: !!binary aGk=", "run.yaml:1: got the tag"),
        ("a: 2024-13-45", "run.yaml:1: cannot read '2024-13-45'"),
        ("a: " + "9" * 5000, "run.yaml:1: cannot read '9999"),
        ("a: \x00", "run.yaml: not YAML"),
        ("a: &a [*a]", "run.yaml:1: more than 10000 values"),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_its_line(text, problem):
    _, problems = read(text)
    assert len(problems) == 1 and problems[0].startswith(problem), problems


def test_python_tags_run_nothing(tmp_path):
    _, problems = read(f"a: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert not (tmp_path / "made").exists()
    assert len(problems) == 1


def test_aliases_that_multiply_are_refused_quickly():
    names = "abcdefghi"
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"{n}: &{n} [{', '.join(['*' + below] * 10)}]\n" for below, n in itertools.pairwise(names))
    began = time.monotonic()
    _, problems = read(text)
    assert time.monotonic() - began < 5
    assert len(problems) == 1 and "more than 10000 values" in problems[0]


@for_all(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), inner),
        max_leaves=8,
    )
)
def test_what_is_written_reads_back(value):
    text = write_yaml({"key": value})
    assert read(text) == ({"key": value}, [])
    assert write_yaml({"key": value}) == text


LOOKS_LIKE = ["1e-5", "-.5", "1e5", "no", "null", "2024-01-01", "1:30", "0x1f", "a: b", "", " x", "\x85", "a\u2028b\n"]


@pytest.mark.parametrize("text", LOOKS_LIKE)
def test_text_that_looks_like_something_else_reads_back_as_text(text):
    assert read(write_yaml({"key": text})) == ({"key": text}, [])
