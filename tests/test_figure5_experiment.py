"""What grpo_figure5.py computes, and that what it prints follows from its numbers."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

figure5: Any = importlib.import_module("grpo_figure5")


def rows(*items: str) -> list[dict[str, Any]]:
    """Items written as their answers; 7 is right. `x`: no number at all."""
    return [
        {"id": str(item), "completion": f"{answer}\n", "rewards": {"correct": float(answer == "7")}}
        for item, answers in enumerate(items)
        for answer in answers
    ]


def test_answers_are_drawn_once_and_read_back(tmp_path: Path) -> None:
    written = rows("7788", "xx7x")
    calls: list[tuple[str, ...]] = []

    def rung(*command: str) -> str:
        calls.append(command)
        Path(command[command.index("--samples") + 1]).write_text("".join(json.dumps(row) + "\n" for row in written))
        return ""

    work = SimpleNamespace(folder=tmp_path, rung=rung)
    assert figure5.answers(work, Path("model"), "start") == written
    assert figure5.answers(work, Path("model"), "start") == written and len(calls) == 1
    names = [file.name for file in (tmp_path / "answers").iterdir()]
    assert names == ["start.jsonl"], "what is half written has another name"


def test_votes_and_passes_by_hand() -> None:
    found = figure5.by_k(rows("7777", "7788", "9978", "xx7x"))
    assert [len(values) for values in found.values()] == [3, 3], "K of 1, 2 and 4 of four samples"
    assert found["pass"] == pytest.approx([8 / 16, (1 + 5 / 6 + 0.5 + 0.5) / 4, 1.0])
    # of 2: 77|77, 77|88, 99|78 (a tie), xx|7x (who says nothing has no vote)
    assert found["maj"] == pytest.approx([8 / 16, (1 + 0.5 + 0.25 + 0.5) / 4, (1 + 0.5 + 0 + 1) / 4])
    assert figure5.by_k(rows("8888"))["maj"] == [0.0, 0.0, 0.0]


def runs_of(*finals: float, maj: float = 0.7, passed: float = 0.95) -> dict[str, Any]:
    """One run a seed."""
    return {
        str(seed): {
            "final": final,
            "maj": [final, 0.5, 0.6, maj, maj, maj, maj],
            "pass": [final, 0.8, 0.9, 0.9, 0.9, 0.9, passed],
            "curve": [[0, 0.3], [10, final]],
            "seconds": 60.0,
        }
        for seed, final in enumerate(finals)
    }


def found(**changes: Any) -> dict[str, Any]:
    arms = {"RFT": runs_of(0.4, 0.42), "Online RFT": runs_of(0.5, 0.52), "GRPO+OS": runs_of(0.6, 0.62)}
    start = {"final": 0.3, "maj": [0.3, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6], "pass": [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.94]}
    return {"start": start, "arms": {**arms, "GRPO+PS": runs_of(0.7, 0.72), **changes}}


def held(**changes: Any) -> list[bool]:
    return [one.get("passed", one.get("holds")) for one in figure5.lines_held(found(**changes)).values()]


def test_the_lines() -> None:
    assert held() == [True, True, True, True]
    assert held(**{"Online RFT": runs_of(0.39, 0.42)}) == [False, True, True, True]
    assert held(RFT=runs_of(0.65, 0.6))[0] is False
    assert held(**{"GRPO+PS": runs_of(0.58, 0.6)})[1] is False, "two standard errors below"
    assert held(**{"GRPO+PS": runs_of(0.59, 0.62)})[1] is True, "below, within the standard error"
    assert held(**{"GRPO+OS": runs_of(0.6, 0.62, maj=0.54)})[2] is False
    assert held(**{"GRPO+OS": runs_of(0.6, 0.62, passed=0.98)}) == [True, True, True, False]


def test_its_words_and_picture_say_what_was_measured(tmp_path: Path) -> None:
    given = found(**{"Online RFT": runs_of(0.39, 0.42)})
    result = json.loads(json.dumps({**given, "lines": figure5.lines_held(given)}))
    said = "\n".join(figure5.lines(result))
    assert "| RFT < online RFT < GRPO+OS | 41.0, 40.5, 61.0 | **no** |" in said
    assert "| Pass@64 within 3 points | 94.0, 95.0 | yes (no line) |" in said
    assert "| GRPO+PS (`grpo_process`) | 71.0 | 70.0, 72.0 | 70.0 | 70.0 | 90.0 | 95.0 | 60 |" in said
    figure5.picture(result).savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_failing_only_what_has_no_line_passes() -> None:
    lines = figure5.lines_held(found(**{"GRPO+OS": runs_of(0.6, 0.62, passed=0.5)}))
    assert all(line["passed"] for line in lines.values() if "passed" in line)
    assert [line["holds"] for line in lines.values() if "holds" in line] == [False]


def test_the_arms_differ_by_method_and_what_judges_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure5.running_sums, "start", lambda work: Path("start"))
    commands = {arm: figure5.run_of(None, arm, 1).command for arm in figure5.ARMS}
    assert [command[1] for command in commands.values()] == ["rft", "online_rft", "grpo", "grpo_process"]
    beside = {arm: [word for word in command[2:] if word != "--set"] for arm, command in commands.items()}
    assert beside["RFT"] == beside["Online RFT"] == beside["GRPO+OS"]
    assert [word for word in beside["GRPO+PS"] if word not in beside["RFT"]] == ["task.steps=true"]
