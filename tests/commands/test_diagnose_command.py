"""`rung diagnose` as a user runs it."""

from __future__ import annotations


def test_a_run_is_diagnosed_in_words_with_exit_code_0(rung, finished):
    answer = rung("diagnose", finished)
    assert answer.code == 0 and answer.err == ""
    assert answer.out.startswith("run: 2 steps; held-out score ")
    assert "note: too_short: " in answer.out and "--set steps=50 (now 2)" in answer.out
    assert "serious: start_too_hard: " in answer.out, "an untrained model cannot add"


def test_json_is_one_object_with_the_same_findings(rung, finished):
    found = rung("diagnose", finished, "--json").json
    assert set(found) == {"run", "summary", "healthy", "findings"} and found["healthy"] is False
    for one in found["findings"]:
        said = {"name", "subject", "severity", "says", "evidence", "cause", "change"}
        assert set(one) == said | {"setting", "value", "now"}
        assert f"{one['severity']}: {one['name']}: " in rung("diagnose", finished).out


def test_a_finished_run_names_what_to_look_at(finished):
    said = (finished.parent / "said.txt").read_text()
    assert "look at: " in said and "rung diagnose run" in said


def test_nothing_to_read_is_exit_code_2(rung, in_folder):
    answer = rung("diagnose", "nowhere")
    assert answer.code == 2 and answer.errors == [
        "nowhere: no run here, expected a folder with metrics.jsonl or settings.yaml"
    ]
    assert rung("diagnose").code == 2
