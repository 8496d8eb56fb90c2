"""Killed at any moment and resumed, a run ends byte for byte like one that was never stopped."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from run_server import KILLED, Runs, assert_same

from rung.models.language.tiny import tiny_model


def text_settings(model: Path) -> dict[str, Any]:
    return {
        "model": str(model),
        "method": {"name": "grpo", "samples_per_prompt": 4, "num_minibatches": 2, "optimizer": {"learning_rate": 1e-3}},
        "task": {"name": "arithmetic", "levels": [1], "size": 50, "held_out": 8},
        "steps": 5,
        "prompts_per_step": 3,
        "max_new_tokens": 5,
        "learner": {"threads": 1},
        "evaluation": {"every": 2, "num_items": 6},
        "saving": {"every": 2},
        "reporting": {"page": False},
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    model = tmp_path_factory.mktemp("model")
    tiny_model(0).save(model)
    return Runs(text_settings(model))


def test_the_run_did_something(whole: Path) -> None:
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert rows[0]["held_out/score"] is not None and rows[3].get("grad/norm") is not None
    assert torch.isfinite(torch.tensor([row["loss"] for row in rows[1:] if row["loss"] is not None])).all()


def test_a_second_run_is_the_same(runs: Runs, whole: Path, tmp_path: Path) -> None:
    code, said = runs.ask("train", tmp_path / "run")
    assert code == 0, said
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize(
    "point",
    [
        "update.step:6",
        "checkpoint.file:3",
        "checkpoint.manifest:1",
        *(
            pytest.param(point, marks=pytest.mark.slow)
            for point in (
                "rollout.done:1",
                "rollout.done:4",
                "reward.done:3",
                "update.backward:5",
                "step.done:2",
                "step.done:3",
                "checkpoint.open:2",
                "checkpoint.file:4",
                "checkpoint.remove:1",
                "checkpoint.rename:2",
            )
        ),
    ],
)
def test_killed_at_a_named_point(runs: Runs, whole: Path, tmp_path: Path, point: str) -> None:
    folder = tmp_path / "run"
    code, said = runs.ask("train", folder, fault=f"{point}:kill")
    assert code == KILLED, f"the point was not reached: {code} {said}"
    runs.resumed(folder)
    assert_same(folder, whole)


def test_a_critic_and_an_adapting_coefficient_go_on_as_they_were(runs: Runs, tmp_path: Path) -> None:
    method = {"name": "ppo@lm-human-preferences", "samples_per_prompt": 4, "num_epochs": 2}
    kept, runs.settings = runs.settings, {**runs.settings, "method": method, "steps": 3, "saving": {"every": 1}}
    try:
        assert runs.ask("train", tmp_path / "whole")[0] == 0
        assert runs.ask("train", tmp_path / "run", fault="step.done:3:kill")[0] == KILLED
        runs.resumed(tmp_path / "run")
    finally:
        runs.settings = kept
    assert_same(tmp_path / "run", tmp_path / "whole")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len({row["kl/coefficient"] for row in rows[1:]}) == 3, "the coefficient moved, so its restoring was tested"


@pytest.mark.slow
def test_a_reference_that_follows_the_policy_goes_on_as_it_was(runs: Runs, tmp_path: Path) -> None:
    """Refreshed before step 3; killed after step 3 and 4, so that the reference is neither the start nor the policy."""
    kl = {"coefficient": 1.0, "refresh_every": 2}
    method = {**runs.settings["method"], "reference_kl": kl}
    kept, runs.settings = runs.settings, {**runs.settings, "method": method, "saving": {"every": 1}}
    try:
        assert runs.ask("train", tmp_path / "whole")[0] == 0
        assert runs.ask("train", tmp_path / "run", fault="step.done:4:kill")[0] == KILLED
        runs.resumed(tmp_path / "run")
        runs.settings = {**runs.settings, "method": {**method, "reference_kl": {"coefficient": 1.0}}}
        assert runs.ask("train", tmp_path / "still")[0] == 0
    finally:
        runs.settings = kept
    assert_same(tmp_path / "run", tmp_path / "whole")
    final = "final/model.safetensors"
    assert (tmp_path / "still" / final).read_bytes() != (tmp_path / "whole" / final).read_bytes()


def test_killed_at_random_moments_again_and_again(runs: Runs, whole: Path, tmp_path: Path) -> None:
    moments = random.Random(20261122)
    folder, killed = tmp_path / "run-0", 0
    for attempt in range(1, 20):
        code, said = runs.begun_or_resumed(folder, kill=(moments.randint(1, 12), moments.uniform(0, 0.05)))
        assert code in (KILLED, 0), said
        killed += code == KILLED
        if killed >= 4:
            break
        if code == 0:  # it came to its end before the kill: begin another
            folder = tmp_path / f"run-{attempt}"
    assert killed >= 4
    code, said = runs.begun_or_resumed(folder)
    assert code == 0, said
    assert_same(folder, whole)


@pytest.mark.parametrize("point", ["reward.done:2", "finish.report:1"])
def test_killed_with_its_page_and_a_reward_of_the_users(runs: Runs, tmp_path: Path, point: str) -> None:
    """The reward's process ends with the run, and the run that goes on has its page at the end."""
    (tmp_path / "mine.py").write_text(
        "import os\n\ndef short(completions):\n    with open(__file__ + '.pids', 'a') as note:\n"
        "        note.write(f'{os.getpid()}\\n')\n    return [-float(len(text)) for text in completions]\n"
    )
    own = {"steps": 2, "rewards": [f"{tmp_path / 'mine.py'}:short"], "reporting": {"page": True}}
    kept, runs.settings = runs.settings, {**runs.settings, **own}
    try:
        assert runs.ask("train", tmp_path / "whole")[0] == 0
        assert runs.ask("train", tmp_path / "run", fault=f"{point}:kill")[0] == KILLED
        assert not (tmp_path / "run" / "report.html").exists()
        code, said = runs.begun_or_resumed(tmp_path / "run")
        assert code == 0, said
    finally:
        runs.settings = kept
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert b"run-data" in (tmp_path / "run" / "report.html").read_bytes()
    workers = {int(line) for line in (tmp_path / "mine.py.pids").read_text().splitlines()}
    assert len(workers) >= 2
    until = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_asked_to_stop_it_saves_and_exits_75(runs: Runs, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, said = runs.ask("train", folder, fault="reward.done:3:term")
    assert code == 75 and "rung resume" in said
    assert (folder / "checkpoints" / "step_000003").is_dir()
    runs.resumed(folder)
    assert_same(folder, whole)


def test_a_corrupt_checkpoint_leaves_the_older_one_in_use_and_says_so(runs: Runs, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert runs.ask("train", folder, fault="step.done:5:kill")[0] == KILLED
    newest = folder / "checkpoints" / "step_000004" / "optimizer.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(bytes(content))
    code, said = runs.ask("resume", folder)
    assert code == 0 and "step_000004 is not used: optimizer.safetensors" in said, said
    assert_same(folder, whole)


def test_a_full_disk_at_a_checkpoint_stops_with_1_and_resumes(runs: Runs, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, said = runs.ask("train", folder, fault="checkpoint.manifest:2:enospc")
    assert code == 1 and "No space left" in said and "older checkpoints are untouched" in said, said
    assert (folder / "checkpoints" / "step_000002").is_dir()
    runs.resumed(folder)
    assert_same(folder, whole)


@pytest.mark.slow
def test_more_steps_go_on_from_the_end(runs: Runs, whole: Path, tmp_path: Path) -> None:
    """5 steps, then 7, is the same as 7 at once, apart from the evaluations, which also stand at the last step."""
    short, long = tmp_path / "short", tmp_path / "long"
    assert runs.ask("train", short)[0] == 0
    assert runs.ask("resume", short, changes={"steps": 7})[0] == 0
    runs.settings["steps"] = 7
    try:
        assert runs.ask("train", long)[0] == 0
    finally:
        runs.settings["steps"] = 5
    final = "final/model.safetensors"
    assert (short / final).read_bytes() == (long / final).read_bytes()
    assert (short / final).read_bytes() != (whole / final).read_bytes()


def test_what_would_make_another_run_of_it_is_refused(runs: Runs, whole: Path) -> None:
    code, said = runs.ask("resume", whole, changes={"seed": 3})
    assert code == 2 and "seed" in said and "may change: steps" in said


def test_a_folder_in_use_is_refused(runs: Runs, whole: Path) -> None:
    code, said = runs.ask("train", whole)
    assert code == 2 and "rung resume" in said
