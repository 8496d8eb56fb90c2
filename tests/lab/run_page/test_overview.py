"""A run at a glance: its state, figures, warnings and method in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import make_run, write_step

from rung.lab.diagnosis import rules as module
from rung.lab.diagnosis.rules import warnings_in
from rung.lab.run_page.opened_run import OpenedRun
from rung.lab.run_page.shown import describe


def overview(folder: Path) -> dict[str, Any]:
    return OpenedRun(folder).overview()


def write_evaluation(folder: Path, step: int, scores: list[list[Any]]) -> None:
    (folder / "held_out").mkdir(exist_ok=True)
    content = {"step": step, "items": [f"i{i}" for i in range(len(scores))], "accuracy": scores}
    (folder / "held_out" / f"step_{step:06d}.json").write_text(json.dumps(content))


def test_a_whole_run_is_told(made_up_run: Callable[..., Path]) -> None:
    folder = made_up_run(20)
    (folder / "final").mkdir()
    write_evaluation(folder, 0, [[0.0], [0.0], [1.0], [0.0]])
    write_evaluation(folder, 10, [[0.5], [0.0], [1.0], [1.0]])
    write_evaluation(folder, 20, [[1.0, None], [0.0, 0.0], [1.0, 1.0], [None, 1.0]])
    seen = overview(folder)
    assert seen["state"] == "Finished after 20 steps. 1m 22s of training, 12,800 tokens generated."
    before, after, gain, reward = seen["figures"]
    assert before == ("20.0 %", "held-out before training, 95 % interval 13.0 % to 26.0 %")
    assert after[1].startswith("held-out at step 20, 95 % interval ")
    assert gain[0] == "+50.0 points" and gain[1].startswith("paired on 4 items, 95 % interval")
    assert gain[1].endswith("1.7 standard errors (28.9 points each)")
    assert "→" in reward[0] and "first and last tenth" in reward[1]
    assert seen["method"] == {
        **{"name": "grpo", "summary": "siblings <b>", "formula": "J = E[ρ A]", "paper": "arXiv:2402.03300"},
        **{"link": "https://arxiv.org/abs/2402.03300", "deviations": ["</li>"]},
        "slots": [["objective", "Clip(low=0.2)"], ["reference_kl", "none"]],
    }
    assert seen["warnings"] == [] and seen["problems"] == [] and seen["film"] is None


def test_evaluations_that_cannot_be_compared_say_so(made_up_run: Callable[..., Path]) -> None:
    folder = made_up_run(12)
    assert overview(folder)["figures"][2][1] == "difference of the two scores, not paired by item"
    write_evaluation(folder, 0, [[0.0], ["seven"]])
    write_evaluation(folder, 12, [[0.0], [1.0]])
    seen = overview(folder)
    assert "cannot be compared" in seen["problems"][0]
    assert seen["figures"][2][1] == "difference of the two scores, not paired by item"


def test_returns_are_no_percentages(tmp_path: Path) -> None:
    rows = [{"step": step, "held_out/score": score} for step, score in ((0, 9.5), (1, 120.0))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [value for value, _ in overview(tmp_path)["figures"]] == ["9.50", "120", "+110.5"]


def test_a_run_without_evaluation_says_so(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward/mean": 0.5}\n')
    assert overview(tmp_path)["figures"][-1][0] == "no held-out score"


def test_warnings_come_once_with_their_steps(tmp_path: Path) -> None:
    rows = [{"step": step, "length/truncated": 0.9} for step in range(1, 8)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (warning,) = overview(tmp_path)["warnings"]
    assert warning["says"] == "Most completions are cut off before they end" and warning["when"] == "step 5"
    assert warning["evidence"].endswith(".") and "Likely cause: " in warning["advice"]


def test_a_run_that_grows_has_each_row_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_run(tmp_path / "run", 4)  # kl/start is above 1 from step 3 on
    whole = OpenedRun(tmp_path / "run")
    assert [warning["when"] for warning in whole.overview()["warnings"]] == ["step 3"]
    asked: list[int] = []
    monkeypatch.setattr(module, "warnings_in", lambda rows: asked.append(len(rows)) or warnings_in(rows))
    for step in range(5, 9):
        write_step(files, step, **{"length/truncated": 0.9})
    growing = whole.overview()["warnings"]
    write_step(files, 9, **{"length/truncated": 0.9})
    growing = whole.overview()["warnings"]
    assert asked == [5, 6, 7, 8, 9] and len(growing) > 1
    assert growing == OpenedRun(tmp_path / "run").overview()["warnings"]
    files.cut_back(2)
    assert whole.overview()["warnings"] == []


@pytest.mark.parametrize(
    "card", [[], {"slots": [1]}, {"name": 3, "slots": {"a": [1, None]}, "deviations": "x"}, {"paper": "javascript:1"}]
)
def test_a_card_of_another_shape_is_shown_as_far_as_it_goes(tmp_path: Path, card: Any) -> None:
    (tmp_path / "settings.yaml").write_text("a: 1\n")
    (tmp_path / "method.json").write_text(json.dumps(card))
    method = overview(tmp_path)["method"]
    assert method is None or (method["link"] == "" and method["deviations"] == [])


def test_hostile_cards_can_be_seen(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("a: 1\n")
    (tmp_path / "method.json").write_text(json.dumps({"name": "\u202egrpo", "slots": {"\x1b[31m": "\x00"}}))
    method = overview(tmp_path)["method"]
    assert method["name"] == "\\u202egrpo" and method["slots"] == [["\\x1b[31m", "\\x00"]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        (0.04, "0.04"),
        ({"part": "KL", "k": {"part": "K3"}, "b": 1}, "KL(k=K3, b=1)"),
        ({"other": 1}, '{"other": 1}'),
        ([1, 2], "[1, 2]"),
        ("x", "x"),
    ],
)
def test_slots_are_described_in_one_line(value: Any, words: str) -> None:
    assert describe(value) == words
