"""A tracker is never the reason that a run ends, and is not begun when its package is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rung.cli import app
from rung.errors import MissingExtra
from rung.runs.record import trackers as tracking
from rung.runs.record.trackers import TRACKERS, TrackedRun, Tracking, require_tracker


class Listening:
    """A tracker that keeps what it is told, and fails where it is asked to."""

    where = "here"

    def __init__(self, run: TrackedRun, fails: str = "") -> None:
        self.run, self.fails, self.told, self.closed = run, fails, list(run.history), False
        if fails == "open":
            raise OSError("no room")

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        if self.fails == "row":
            raise RuntimeError("the service is gone\nsecond line")
        self.told.append((step, dict(numbers)))

    def close(self) -> None:
        self.closed = True
        if self.fails == "close":
            raise KeyError


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def open_one(fails: str = "", **rows: Any) -> tuple[Tracking, list[Listening], list[str]]:
        made: list[Listening] = []
        said: list[str] = []

        def kind(run: TrackedRun) -> Listening:
            made.append(Listening(run, fails))
            return made[-1]

        monkeypatch.setattr(tracking, "TRACKERS", {"wandb": kind})
        rows = {"metrics": [], "timings": [], **rows}
        return Tracking("wandb", tmp_path, {"steps": 3}, **rows, say=said.append), made, said

    return open_one


def test_it_is_told_metrics_and_timings_together_and_nothing_that_is_no_number(opened: Any) -> None:
    tracked, (one,), said = opened(
        metrics=[{"step": 0, "held_out/score": 0.5}, {"step": 1, "loss": None}],
        timings=[{"step": 1, "seconds/step": 2}],
    )
    tracked.row({"step": 2, "loss": 1.5, "entropy": None}, {"step": 2, "seconds/step": 3})
    tracked.close()
    assert one.told == [
        (0, {"held_out/score": 0.5}),
        (1, {"seconds/step": 2.0}),
        (2, {"loss": 1.5, "seconds/step": 3.0}),
    ]
    assert one.closed and said == [] and tracked.where == "here"


@pytest.mark.parametrize(("fails", "words"), [("open", "no room"), ("row", "service is gone"), ("close", "KeyError")])
def test_what_it_raises_is_said_once_and_the_run_goes_on(opened: Any, fails: str, words: str) -> None:
    tracked, _, said = opened(fails)
    for step in range(3):
        tracked.row({"step": step, "loss": 1.0})
    tracked.close()
    tracked.close()
    assert len(said) == 1 and "'wandb'" in said[0] and words in said[0] and "second line" not in said[0]


def test_an_interrupt_is_no_failure(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked, (one,), said = opened()

    def interrupted(step: int, numbers: Mapping[str, float]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(one, "row", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracked.row({"step": 1})
    assert said == []


def test_a_run_keeps_its_name_and_another_gets_another(opened: Any, tmp_path: Path) -> None:
    ids = [opened()[1][0].run.id for _ in range(2)]
    assert ids[0] == ids[1] and len(ids[0]) == 32
    (tmp_path / tracking.ID).write_text("../../etc/passwd")
    assert opened()[1][0].run.id not in (*ids, "../../etc/passwd")


def test_none_tells_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    tracked = Tracking(None, tmp_path, {}, metrics=[], timings=[], say=pytest.fail)
    tracked.row({"step": 1})
    tracked.close()
    assert list(tmp_path.iterdir()) == [] and require_tracker(None) is None


@pytest.mark.parametrize("name", list(TRACKERS))
def test_a_missing_package_is_said_with_the_pip_line_before_anything_begins(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one, *more: None if one == name else found(one, *more))
    with pytest.raises(MissingExtra, match=rf"pip install 'rung\[{name}\]'"):
        require_tracker(name)
    out = tmp_path / "run"
    asked = ["train", "grpo", "--model", "tiny", "--task", "arithmetic", "--set", f"tracker={name}", "--out", str(out)]
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 2 and f"rung[{name}]" in answer.stderr and not out.exists(), answer.output


def test_an_unknown_tracker_is_refused_with_the_valid_ones() -> None:
    asked = ["check", "grpo", "--model", "tiny", "--task", "arithmetic", "--set", "reporting.tracker=tensorbord"]
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 2 and "'tensorboard', 'wandb' or 'trackio'" in answer.stderr, answer.stderr
