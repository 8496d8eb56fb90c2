"""What mujoco_v5.py runs, how it scores and judges, and that what it prints follows from its numbers."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rung.errors import NonFiniteError
from rung.methods import METHODS
from rung.methods.explain import difference
from rung.methods.parts.objectives import ClippedSurrogate, KLPenalty, Surrogate
from rung.trainers.optimizer import require_finite_update
from rung.trainers.reading import read_run

ROOT = Path(__file__).parent.parent
HOME = ROOT / "experiments"

experiment: Any = importlib.import_module("mujoco_v5")
runs: Any = importlib.import_module("mujoco_runs")
scores: Any = importlib.import_module("mujoco_scores")
tuned: Any = importlib.import_module("mujoco_tuned")
Shares = dict[str, dict[str, list[float]]]


def test_no_file_of_the_experiments_stands_in_the_way_of_mujoco() -> None:
    """The folder is searched first: Gymnasium would import experiments/mujoco.py for the simulator."""
    assert not (HOME / "mujoco.py").exists()


@pytest.mark.parametrize("module", [scores, runs])
def test_examples_are_true(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.failed == 0 and found.attempted > 0


def shares(**means: float) -> Shares:
    """Normalised scores with these means, 0.01 to both sides over two seeds of two tasks."""
    rows = dict(zip(scores.TABLE, (0.1, 0.8, 0.75, 0.7, 0.9), strict=True))
    rows |= {scores.TUNED_TRPO: 0.9, scores.SB3_TRPO: 0.9, scores.SB3_PPO: 1.2}
    rows |= {getattr(scores, name): mean for name, mean in means.items()}
    return {row: {task: [mean - 0.01, mean + 0.01] for task in "ab"} for row, mean in rows.items()}


def failed(given: Shares, kl: float = 1.2) -> list[int]:
    """The numbers of the lines that do not hold."""
    judged = [held["passed"] for held in scores.lines_held(given, kl).values() if "passed" in held]
    assert len(judged) == 6
    return [number for number, passed in enumerate(judged) if not passed]


def test_each_line_can_fail() -> None:
    assert failed(shares()) == []
    assert failed(shares(CLIP=0.69, ADAPTIVE=0.69)) == [0]
    assert failed(shares(NO_CLIP=0.55)) == [1], "the lowest, but too near"
    assert failed(shares(NO_CLIP=-0.01, FIXED=-0.02)) == [1], "below 0, but not the lowest"
    assert failed(shares(ADAPTIVE=0.86)) == [2] and failed(shares(FIXED=0.86)) == [3]
    assert failed(shares(TUNED_TRPO=0.87)) == [4], "3 standard errors of 0.01"
    assert failed(shares(TRPO=0.2, SB3_PPO=2.0)) == [], "only reported"
    assert failed(shares(), kl=1.51) == [5]


def test_a_share_is_of_the_way_from_random_to_the_tables_best_run() -> None:
    given = {row: {"a": [1.0, 2.0], "b": [-10.0, -6.0]} for row in scores.TABLE}
    given[scores.TRPO] = {"a": [0.0, 5.0], "b": [-6.0, -4.0]}
    given[scores.SB3_PPO] = {"a": [9.0, 9.0], "b": [-4.0, -4.0]}
    found = scores.normalised(given, {"a": 1.0, "b": -8.0})
    assert found[scores.TRPO] == {"a": [-0.25, 1.0], "b": [0.5, 1.0]}
    assert found[scores.SB3_PPO]["a"] == [2.0, 2.0], "a peer does not make the scale"
    with pytest.raises(ValueError, match="above the random policy on b"):
        scores.normalised(given, {"a": 1.0, "b": -4.0})


@pytest.mark.parametrize("row", list(runs.ROWS))
def test_rung_is_told_what_the_row_says(row: str) -> None:
    command = runs.run_of((row, "Swimmer-v5", 1), 300_000).command
    sets = [command[place + 1] for place, word in enumerate(command) if word == "--set"]
    settings = read_run(
        flags={"method": command[1], "task": "Swimmer-v5", "seed": "1"}, recipe=None, sets=sets
    ).required()
    method: Any = settings.resolved_method()
    task = settings.task.options()
    rollout = settings.num_environments * method.horizon
    assert rollout == runs.ROWS[row].rollout and 300_000 <= settings.steps * rollout < 300_000 + rollout
    assert task["normalize_observations"] and task["normalize_rewards"]
    assert task.get("discount", 0.99) == method.advantage.discount == (0.9999 if row == scores.TUNED_TRPO else 0.99)
    objectives = {
        scores.NO_CLIP: Surrogate(),
        scores.CLIP: ClippedSurrogate(low=0.2, high=0.2),
        scores.ADAPTIVE: KLPenalty(coefficient=1.0, target=0.01),
        scores.FIXED: KLPenalty(coefficient=1.0, target=None),
    }
    if row in objectives:
        other = {change.slot for change in difference(METHODS["ppo"], method)}
        assert {slot.split(".")[0] for slot in other} <= {"objective"}, "the rows of PPO differ in that alone"
        assert method.objective == objectives[row] and rollout / method.num_minibatches == 64
    else:
        step, epochs = method.optimizer, 20 if row == scores.TUNED_TRPO else 5  # the zoo's, Baselines'
        assert (step.num_critic_epochs, step.num_critic_minibatches) == (epochs, 16)
        assert step.max_kl == runs.bound_of(row, "Swimmer-v5")


def test_the_zoo_has_every_task() -> None:
    assert set(tuned.PPO) == set(tuned.TRPO) == set(experiment.TASKS)
    assert runs.bound_of(scores.TUNED_TRPO, "HalfCheetah-v5") == pytest.approx(6 * 0.04)
    assert runs.bound_of(scores.TRPO, "HalfCheetah-v5") == 0.01


def test_the_zoos_tasks_have_so_many_dimensions() -> None:
    gymnasium = pytest.importorskip("gymnasium", reason="Gymnasium is not installed: pip install -e '.[control]'")
    pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install -e '.[mujoco]'")
    for task, dimensions in tuned.ACTIONS.items():
        environment = gymnasium.make(task)
        assert environment.action_space.shape == (dimensions,)
        environment.close()


def told(words: str) -> Any:
    """A work whose every run of rung ends with these words on stderr."""

    def finish(run: Any, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        raise SystemExit(words)

    return SimpleNamespace(finish=finish)


def test_a_run_without_a_gradient_is_stopped_for_good_and_any_other_failure_is_ours(
    tmp_path: Path,
) -> None:
    with pytest.raises(NonFiniteError) as stop:
        require_finite_update(float("nan"), torch.tensor(1.0), update=3)
    key, folder = (scores.NO_CLIP, "Reacher-v5", 0), tmp_path / runs.name_of((scores.NO_CLIP, "Reacher-v5", 0))
    with pytest.raises(SystemExit, match="no such method"):
        runs.finish(told("exit 2\nerror: no such method"), key, 10, tmp_path, "python")
    assert not (folder / "stopped.json").exists()
    runs.finish(told(f"exit 1\nerror: {stop.value}"), key, 10, tmp_path, "python")
    runs.finish(told("it was run again"), key, 10, tmp_path, "python")
    rows = [
        {"step": 0, "reward/mean": None},
        {"step": 1, "reward/mean": 2.0, "episodes/generated": 90.0, "environment/steps": 5.0},
        {"step": 2, "reward/mean": 4.0, "episodes/generated": 50.0, "environment/steps": 10.0, "held_out/score": 9.0},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "timings.jsonl").write_text(json.dumps({"step": 1, "seconds/step": 3.0}) + "\n")
    found = runs.of_run(key, tmp_path, 10)
    assert found["score"] == 3.0 and found["curve"][-1] == [10.0, 3.0] and found["seconds"] == 3.0
    assert found["stopped"] and found["held_out"] is None and "largest_kl" not in found


def test_a_peers_finished_run_is_left_alone(tmp_path: Path) -> None:
    key = (scores.SB3_TRPO, "Reacher-v5", 2)
    file = tmp_path / f"{runs.name_of(key)}.json"
    file.write_text(json.dumps({"episodes": [[5, 1.0], [9, 2.0]], "held_out": [3.0, 4.0], "processor_seconds": 7.0}))
    runs.finish(told("rung was run"), key, 10, tmp_path, "no/such/python")
    found = runs.of_run(key, tmp_path, 10)
    assert (found["score"], found["held_out"], found["seconds"]) == (1.5, 3.5, 7.0)


def test_a_kept_result_is_not_run_again_and_says_what_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, out, kept = (scores.SB3_TRPO, "Reacher-v5", 2), tmp_path / "runs", tmp_path / "kept"
    out.mkdir()
    kept.mkdir()
    one = {"episodes": [[5, 1.0], [9, 2.0]], "held_out": [3.0, 4.0], "processor_seconds": 7.0}
    (out / f"{runs.name_of(key)}.json").write_text(json.dumps(one))
    runs.keep(told("rung was run"), key, 10, out, "no/such/python", kept)
    (file,) = kept.iterdir()
    found = json.loads(file.read_text())
    assert found["score"] == 1.5 and found["commit"] and found["machine"]
    monkeypatch.setattr(runs, "finish", lambda *_: pytest.fail("it was run again"))
    runs.keep(told("rung was run"), key, 10, out, "no/such/python", kept)
    assert json.loads(file.read_text()) == found


def test_the_largest_kl_is_of_every_rollout_and_in_units_of_the_bound(tmp_path: Path) -> None:
    key = (scores.TUNED_TRPO, "HalfCheetah-v5", 0)
    folder = tmp_path / runs.name_of(key)
    folder.mkdir()
    rows = [
        {"step": 1, "reward/mean": None, "trpo/kl": 0.36},  # of 0.04 for each of 6 dimensions
        {"step": 2, "reward/mean": 1.0, "episodes/generated": 1.0, "environment/steps": 2048.0, "trpo/kl": 0.03},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "timings.jsonl").write_text("")
    assert runs.of_run(key, tmp_path, 2048)["largest_kl"] == pytest.approx(1.5)


def test_peers_of_another_version_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="no/such/python, expected a Python interpreter"):
        runs.require_peers("no/such/python")
    monkeypatch.setattr(runs, "version", lambda name: "3.1")
    right = {**tuned.VERSIONS, "gymnasium": "3.1", "mujoco": "3.1"}

    def answers(**changed: str | None) -> None:
        said = SimpleNamespace(returncode=0, stdout=json.dumps({**right, **changed}))
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)

    answers()
    assert runs.require_peers("python") == right
    answers(**{"sb3-contrib": None, "gymnasium": "0.26"})
    with pytest.raises(SystemExit, match=r"sb3-contrib None, expected 2\.9\.2; gymnasium 0\.26"):
        runs.require_peers("python")

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(runs, "version", missing)
    with pytest.raises(SystemExit, match=r"there is no gymnasium here; pip install -e '\.\[mujoco\]'"):
        runs.require_peers("python")


def result() -> dict[str, Any]:
    found: dict[Any, dict[str, Any]] = {}
    for row, by_task in shares().items():
        for task, values in by_task.items():
            for seed, value in enumerate(values):
                curve = [[float(step), 100 * value * step / 50] for step in range(seed, 50)]
                run = {"score": 100 * value, "held_out": 110 * value, "seconds": 36.0, "curve": curve}
                run |= {"commit": f"c{seed}", "machine": "m"}
                found[row, task, seed] = {**run, **({"largest_kl": 1.3} if row == scores.TRPO else {})}
    found[scores.NO_CLIP, "a", 0] |= {"held_out": None, "stopped": True}
    return json.loads(json.dumps(experiment.summary(found, {"a": 0.0, "b": 0.0}, 300_000)))


def test_words_and_picture_follow_from_the_runs(tmp_path: Path) -> None:
    made = result()
    assert made["best"] == {"a": 91.0, "b": 91.0} and (made["commit"], made["machine"]) == ("c0, c1", "m")
    assert made["hours"] == pytest.approx(0.32)
    assert made["lines"][next(reversed(made["lines"]))]["measured"] == "1.30 times"
    passed = all(line.get("passed", True) for line in made["lines"].values())
    said = "\n".join(experiment.EXPERIMENT.said({"command": "c", "passed": passed, "seeds": [0, 1], **made}))
    assert "| clip 0.2 | 0.88 ± 0.01 | 80.0 ± 1.0 (88.0) | 80.0 ± 1.0 (88.0) |" in said
    assert "10.0 ± 1.0 (12.1; 1 stopped)" in said and "Passed: yes" in said and "**no**" not in said
    experiment.EXPERIMENT.draw(made, tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").stat().st_size > 10_000


def test_a_methods_page_says_its_row_and_who_is_ahead() -> None:
    says: Any = importlib.import_module("method_results").SAYS["mujoco_v5"]
    made = result()
    (ppo,), (trpo,), (adaptive,) = (list(says(made, method)) for method in ("ppo", "trpo", "ppo_kl"))
    assert "0.88 ± 0.01" in ppo.good and ppo.picture == "mujoco_v5.svg" and not trpo.picture
    assert len(ppo.bad) == 1 and "SB3 PPO with settings tuned for each task 1.32" in ppo.bad[0]
    assert trpo.bad == () and "0.82 ± 0.01" in adaptive.good
    assert adaptive.bad == ("On MuJoCo it scored 0.82 ± 0.01 with its own settings, `ppo`'s clip 0.88 ± 0.01.",)
    assert list(says(made, "grpo")) == []
