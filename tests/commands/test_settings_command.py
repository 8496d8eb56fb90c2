"""`rung settings` lists what can be set."""

from __future__ import annotations


def test_one_setting_is_told_with_type_range_default_and_sentence(rung):
    answer = rung("settings", "evaluation.every")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "evaluation.every: whole number, 0 or more; default: 10",
        "  Steps between evaluations; 0: only at the start and at the end.",
    ]


def test_all_settings_as_json(rung):
    settings = rung("settings", "--json").json["settings"]
    one = next(one for one in settings if one["key"] == "method.objective.high" and one["part"] == "ClippedSurrogate")
    assert (one["type"], one["range"], one["default"]) == ("number", "at least 0", "0.2")
    assert {one["command"] for one in settings} == {"train", "sft", "pairs", "eval"}
    assert len(rung("settings").out.splitlines()) == 2 * len(settings)


def test_a_wrong_key_is_told_with_the_nearest(rung):
    answer = rung("settings", "evry")
    assert answer.code == 2
    assert answer.errors == [
        "KEY: got 'evry', which is no setting; did you mean 'saving.every'?; `rung settings` lists all"
    ]
