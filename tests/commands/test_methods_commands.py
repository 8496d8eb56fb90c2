"""`rung methods`, `explain`, `diff`: the definitions, printed and as JSON."""

from __future__ import annotations

import itertools

import pytest

from rung.methods import METHODS
from rung.methods.explain import card, difference


def test_methods_are_the_ladder_from_the_bottom(rung):
    answer = rung("methods")
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()] == list(METHODS)
    found = rung("methods", "--json").json["methods"]
    assert [method["name"] for method in found] == list(METHODS)
    assert all(set(method) == {"name", "paper", "summary", "parent"} for method in found)


@pytest.mark.parametrize("name", METHODS)
def test_explain_has_idea_formula_slots_and_paper(rung, name):
    method = METHODS[name]
    text = rung("explain", name).out
    assert method.summary in text and method.paper in text
    assert all(line in text for line in method.formula().splitlines())
    assert all(f"  {slot}" in text for slot in card(method)["slots"])
    assert rung("explain", name, "--json").json == card(method)


NEIGHBOURS = [
    *((method.parent, name) for name, method in METHODS.items() if method.parent is not None),
    *itertools.pairwise(METHODS),
]


@pytest.mark.parametrize(("before", "after"), NEIGHBOURS)
def test_diff_prints_exactly_the_changed_slots(rung, before, after):
    changes = difference(METHODS[before], METHODS[after])
    assert rung("diff", before, after).out.splitlines() == [change.words() for change in changes]
    data = rung("diff", before, after, "--json").json
    assert (data["before"], data["after"]) == (before, after)
    assert [change["slot"] for change in data["changes"]] == [change.slot for change in changes]
    assert all(change["before"] != change["after"] for change in data["changes"])


def test_diff_of_reinforce_and_grpo(rung):
    changes = {change["slot"]: change for change in rung("diff", "reinforce", "grpo", "--json").json["changes"]}
    assert set(changes) == {"samples_per_prompt", "advantage", "objective", "aggregation", "reference_kl"}
    assert changes["objective"]["before"] == {"part": "ScoreFunction"}
    assert changes["objective"]["after"] == {"part": "ClippedSurrogate", "low": 0.2, "high": 0.2, "dual": None}


def test_a_method_does_not_differ_from_itself(rung):
    assert rung("diff", "grpo", "grpo").out == ""
    assert rung("diff", "grpo", "grpo", "--json").json["changes"] == []


def test_unknown_methods_are_told_together(rung):
    answer = rung("diff", "reinforc", "grop", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert [error.split(";")[:2] for error in answer.errors] == [
        ["method: got 'reinforc'", " did you mean 'reinforce'?"],
        ["method: got 'grop'", " did you mean 'grpo'?"],
    ]
    assert rung("explain", "x").errors == [f"method: got 'x'; valid: {', '.join(METHODS)}"]
