"""Every experiment's declaration against today's methods, tasks and settings, and the cheap ones at smallest size."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from rung.trainers.reading import read_run

experiment: Any = importlib.import_module("experiment")
ROOT = Path(__file__).parent.parent
HOME = ROOT / "experiments"


def declared(text: str) -> bool:
    return "\nEXPERIMENT = " in text


NAMES = sorted(path.stem for path in (*HOME.glob("*.py"), *HOME.glob("claims/*.py")) if declared(path.read_text()))
WAITING = {"turns"}
"""Declared with their pass lines, and not run yet."""
NEEDS = {"labelled_in_browser": "playwright.sync_api"}


def load(name: str) -> Any:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason="pip install -e '.[dev]'")
    return experiment.load(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_run_that_is_declared_can_be_read(name: str, tmp_path: Path) -> None:
    """In full and as it is tried: a setting, method or task that is no longer there is found before the run."""
    one = load(name)
    assert one.name == name and one.seeds and (one.about or "").count("\n") > 3
    for small in (False, True):
        work = experiment.Work(root=tmp_path, name=name, seeds=tuple(one.seeds[:2]), small=small)
        for run in one.runs(work).values():
            words = list(experiment.tried(run.command) if small else run.command)
            asked = {
                word[2:]: words[at + 1] for at, word in enumerate(words) if word in ("--task", "--seed", "--model")
            }
            sets = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
            recipe = words[words.index("--recipe") + 1] if "--recipe" in words else None
            for file in (path for path in (asked["task"], asked.get("model", "")) if path.startswith(str(tmp_path))):
                stand_in(Path(file))
            settings = read_run(flags={"method": run.method, **asked}, recipe=recipe, sets=sets).required()
            assert settings.seed == run.seed and (not small or settings.steps == 2)


def stand_in(path: Path) -> None:
    """A file or folder that an experiment would have made by now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("") if path.suffix else path.mkdir(exist_ok=True)


@pytest.mark.parametrize("name", sorted({*NAMES} - WAITING))
def test_what_is_recorded_can_be_said_and_drawn(name: str, tmp_path: Path) -> None:
    one = load(name)
    run = experiment.recorded(one.key)
    assert run is not None and one.words() != "Not recorded yet."
    assert one.rule == run["rule"] if "verdict" in run and "rule" in run else "passed" in run
    if one.picture is not None and name != "demo":  # the curves of the recorded demo were not kept
        one.draw(run, tmp_path / "picture.svg")
        picture = (tmp_path / "picture.svg").read_text()
        assert len(picture) > 10_000 and picture.count("var(--c0)") > 10 and "prefers-color-scheme:dark" in picture
        assert one.heading(run).split()[0] in picture  # what was found stands above it


@pytest.mark.parametrize(
    "name",
    [
        "dqn_continuous",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("dqn_on_tokens", "reinforce_unstable")),
    ],
)
def test_an_experiment_runs_at_its_smallest_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner, the reading of runs, the table and the picture, all of it; nothing is recorded."""
    one = load(name)
    if name == "dqn_on_tokens":
        monkeypatch.setattr(importlib.import_module(name), "SIZES", (8,))
    before = {path: path.read_bytes() for path in (experiment.RESULTS / f"{one.key}.json", one.image)}
    said = one.try_out()
    assert f"`{one.command}`" in said
    assert {path: path.read_bytes() for path in before} == before


def test_what_is_tried_has_few_steps_and_no_budget() -> None:
    run = experiment.Run("ppo", "CartPole-v1", 3, ("steps=40", "budget.tokens=9", "evaluation.every=5"))
    words = experiment.tried(run.command, steps=3)
    sets = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    assert "steps=3" in sets and "evaluation.every=1" in sets and "evaluation.num_items=4" in sets
    assert not [one for one in sets if one.startswith("budget.") or one == "steps=40"]
    assert experiment.tried(("eval", "M", "--items", "60")) == ("eval", "M", "--items", "4")


def test_other_seeds_are_printed_and_not_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measure(work: Any, folders: Any) -> dict[str, Any]:
        return {"lines": {"up": True, "apart": {"passed": work.seeds[0] == 7}, "said": {}}}

    one = experiment.Experiment(
        name="mine", about="Mine.", seeds=(7, 8), pass_line="p", measure=measure, lines=lambda run: ["a line"]
    )
    monkeypatch.setattr(experiment, "RESULTS", tmp_path)
    one.main(["--seeds", "100"])
    assert list(tmp_path.iterdir()) == []
    one.main([])
    run = json.loads((tmp_path / "mine.json").read_text())
    assert run["passed"] and run["seeds"] == [7, 8] and run["command"] == "python experiments/mine.py"
    assert one.words().endswith("Pass line: p. Passed: yes.\na line")
    one.main(["--seeds", "8"])
    assert json.loads((tmp_path / "mine.json").read_text()) == run
