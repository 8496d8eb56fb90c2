"""Runs on several processes: what is drawn and learnt, what each holds and sends, resuming, who dies or hangs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from pairs import written_pairs
from run_server import KILLED, Runs, assert_same
from safetensors.torch import load_file
from teams import small_policy
from typer.testing import CliRunner

import rung
from rung.cli import app
from rung.errors import RankError, SettingsError
from rung.methods import METHODS
from rung.models.language.sharded import local
from rung.models.language.size import ModelShape, shape_of
from rung.settings import Settings, SFTSettings
from rung.trainers.choose import problems
from rung.trainers.shares import Sends, sends
from rung.trainers.trainer import untimed

DEADLINE_S = 20.0
SMALL: dict[str, Any] = {
    "steps": 4,
    "prompts_per_step": 3,
    "max_new_tokens": 5,
    "method.samples_per_prompt": 4,
    "method.optimizer.learning_rate": 0.01,
    "evaluation.num_items": 5,
    "evaluation.every": 2,
    "saving.every": 1,
    "reporting.page": False,
    "learner.threads": 1,
    "learner.compute": "float32",
    "learner.micro_batch_tokens": 32,
    "learner.deadline_s": DEADLINE_S,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every first dimension divides by 2 and by 3, so that no share is padded and bytes are exact."""
    folder = tmp_path_factory.mktemp("model")
    small_policy(exact=False, width=48, characters="0123456789+-*=\n abcd").save(folder)
    return folder


def settings(model: Path, processes: int, *, method: str = "grpo", task: str = "arithmetic", **more: Any) -> Settings:
    asked = Settings(model=str(model), method=method, task=task)
    kept = {key: value for key, value in SMALL.items() if method == "grpo" or not key.startswith("method.sam")}
    return asked.changed({**kept, "learner.processes": processes, **more})


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def together(request: pytest.FixtureRequest, model: Path) -> Iterator[Any]:
    with closing(rung.trainer(settings(model, request.param))) as trainer:
        yield trainer


def test_processes_draw_and_learn_what_one_does(model: Path, together: Any) -> None:
    with closing(rung.trainer(settings(model, 1))) as alone:
        assert together.evaluate().completions_NK == alone.evaluate().completions_NK
        for _ in range(2):
            here, there = alone.step(), together.step()
            assert [e.actions.tolist() for e in there.episodes] == [e.actions.tolist() for e in here.episodes]
            assert here.metrics.keys() == there.metrics.keys()
            for name, number in here.metrics.items():
                close = number if number is None else pytest.approx(number, rel=2e-4, abs=2e-6)
                assert there.metrics[name] == close, name
        mine, theirs = alone.state(), together.state()
        assert mine.numbers == theirs.numbers
        assert mine.tensors["policy"].keys() == theirs.tensors["policy"].keys()
        for name, tensor in mine.tensors["policy"].items():
            torch.testing.assert_close(theirs.tensors["policy"][name], tensor, rtol=0, atol=1e-4)
        together.load_state(mine)  # whose optimizer's state is of one row of numbers, here it is of shares
        alone.load_state(theirs)
        assert together.step().loss == pytest.approx(alone.step().loss, rel=1e-3, abs=1e-6)


def test_each_process_holds_and_sends_what_the_plan_says(model: Path, together: Any) -> None:
    shape, ranks, plan = shape_of(str(model)), together.ranks, sends(together.settings, shape_of(str(model)))
    assert sum(local(one).numel() for one in together.policy.trainable().values()) * ranks.size == shape.parameters

    ranks.sent.clear()
    batch = together.collector.collect(9, untimed).batch
    assert ranks.sent["weights"] == plan.drawing
    passes = counted_passes(together.policy.engine)
    ranks.sent.clear()
    together._learn(batch, 9, 0.0)
    assert passes[True] >= 2 and passes[False] >= 2
    sent = ranks.sent["weights"] + ranks.sent["gradients"]
    assert sent == passes[True] * plan.with_gradient + passes[False] * plan.without_gradient
    assert ranks.sent["gradients"] == passes[True] * plan.checkpoint // 3 * (ranks.size - 1)


def counted_passes(engine: Any) -> Counter[bool]:
    """How many passes are made from now on, with gradients and without."""
    passes: Counter[bool] = Counter()

    def counted(way: Any) -> Any:
        def passed(*given: Any, **named: Any) -> Any:
            passes[torch.is_grad_enabled()] += 1
            return way(*given, **named)

        return passed

    engine.log_probs, engine.distribution = counted(engine.log_probs), counted(engine.distribution)
    return passes


def test_one_process_sends_nothing_and_more_send_less_each_time_what_they_share(model: Path) -> None:
    shape = ModelShape(parameters=1200, in_layers=900)
    assert sends(settings(model, 1), shape) == Sends(
        with_gradient=0, without_gradient=0, drawing=0, delivery=0, checkpoint=14400
    )
    two, three = (sends(settings(model, n), shape) for n in (2, 3))
    assert two == Sends(with_gradient=6600, without_gradient=2400, drawing=2400, delivery=0, checkpoint=7200)
    assert three == Sends(with_gradient=8800, without_gradient=3200, drawing=3200, delivery=0, checkpoint=4800)


def test_a_process_that_is_killed_ends_the_run_by_name(model: Path, together: Any) -> None:
    """The last test with this team: nothing can be done with what is left of it."""
    os.kill(together.ranks.pids[-1], signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(RankError) as told:
        together.step()
        together.step()
    assert time.monotonic() - began < DEADLINE_S
    last = together.ranks.size - 1
    for words in (f"rank {last} (process {together.ranks.pids[-1]}) was killed by SIGKILL", "waited", "its last lines"):
        assert words in str(told.value)
    pids = together.ranks.pids
    together.close()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_run_by_name_at_the_deadline(model: Path) -> None:
    with closing(rung.trainer(settings(model, 2, **{"learner.deadline_s": 12.0}))) as trainer:
        trainer.step()
        os.kill(trainer.ranks.pids[0], signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(RankError, match=r"at most 12 s .*rank 1 \(process \d+\) is still there; its last lines: "):
            trainer.step()
        assert 11 < time.monotonic() - began < 30


@pytest.mark.slow
def test_an_error_in_another_process_is_told_with_its_last_lines(model: Path) -> None:
    said = r"rank 1 .* ended with code 1; its last lines: .*IndexError"
    with closing(rung.trainer(settings(model, 2))) as trainer, pytest.raises(RankError, match=said):
        trainer.ranks._tell({"work": 99, "what": "nothing there is", "given": None, "tensors": []})
        trainer.step()


@pytest.fixture(scope="module")
def runs(model: Path) -> Runs:
    return Runs(settings(model, 2, **{"method.num_minibatches": 2}).as_data())


@pytest.fixture(scope="module")
def killed(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed in step 3; of what it had started nothing is there after ten seconds."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    before = set(ranks_running())
    code, said = runs.ask("train", folder, fault="reward.done:3:kill")
    assert code == KILLED, said
    began = time.monotonic()
    while set(ranks_running()) - before and time.monotonic() - began < 10:
        time.sleep(0.05)
    assert not set(ranks_running()) - before
    return folder


def ranks_running() -> list[int]:
    return [one.pid for one in psutil.process_iter(["cmdline"]) if "rung.rank" in (one.info["cmdline"] or ())]


@pytest.mark.slow
def test_the_final_model_holds_what_one_process_would_write(model: Path, whole: Path) -> None:
    written, of_start = load_file(whole / "final" / "model.safetensors"), load_file(model / "model.safetensors")
    assert {name: t.shape for name, t in written.items()} == {name: t.shape for name, t in of_start.items()}
    assert not any(torch.equal(written[name], of_start[name]) for name in written)


@pytest.mark.slow
def test_killed_and_resumed_by_as_many_it_is_the_same_to_the_byte(
    runs: Runs, whole: Path, killed: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    runs.resumed(folder)
    assert_same(folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 3])
def test_killed_and_resumed_by_others_it_is_the_same_up_to_rounding(
    whole: Path, killed: Path, tmp_path: Path, processes: int
) -> None:
    folder = shutil.copytree(killed, tmp_path / "run")
    rung.resume(folder, {"learner.processes": processes}, quiet=True)
    rows, expected = (
        [json.loads(line) for line in (at / "metrics.jsonl").read_text().splitlines()] for at in (folder, whole)
    )
    assert len(rows) == len(expected) == 5
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, number in other.items():
            close = number if number is None else pytest.approx(number, rel=2e-3, abs=1e-5)
            assert row[name] == close, (row["step"], name)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "reward_model"])
def test_pairs_are_learnt_by_two_processes_as_by_one(model: Path, tmp_path: Path, method: str) -> None:
    file = written_pairs(tmp_path / "pairs.jsonl")
    ended = []
    for processes in (1, 2):
        asked = settings(model, processes, method=method, task=str(file), **{"method.pairs_per_step": 5, "steps": 2})
        ended.append(rung.train(asked, tmp_path / f"run{processes}", quiet=True).metrics())
    for here, there in zip(
        *(each.to_dict("records") if hasattr(each, "to_dict") else each for each in ended), strict=True
    ):
        for name, number in here.items():
            close = number if number is None else pytest.approx(number, rel=1e-3, abs=1e-5, nan_ok=True)
            assert there[name] == close, name


ALONE = {
    "trpo": "whole gradient in one process",
    "dqn": "learns in one process",
    "ase_ace": "learns in one process",
    "rlhf@2017": "learns in one process",
}


@pytest.mark.parametrize("name", ALONE)
def test_what_learns_in_one_process_alone_says_so_before_anything_starts(name: str) -> None:
    task, small = ("arithmetic", "tiny") if name == "trpo" else ("CartPole-v1", "small")
    asked = Settings(model=small, method=name, task="cart-pole" if name == "ase_ace" else task)
    found = list(problems(asked.changed({"learner.processes": 2}), METHODS[name]))
    assert [one for one in found if one.startswith("learner.processes: got 2") and ALONE[name] in one], found
    assert not [one for one in problems(asked, METHODS[name]) if one.startswith("learner.processes")]


def test_what_other_processes_cannot_be_handed_is_refused(model: Path) -> None:
    policy = small_policy(exact=False)
    with pytest.raises(SettingsError, match=r"learner\.processes: got 2, but model is an object of this process"):
        rung.trainer(model=(policy.model, policy.tokenizer), method="grpo", task="arithmetic", learner={"processes": 2})
    for change, word in ({"sampler.engine": "given:x"}, "sampler.engine"), ({"learner.device": "cuda:1"}, "one device"):
        asked = settings(model, 2).changed(change)
        assert [one for one in problems(asked, METHODS["grpo"]) if word in one and one.startswith("learner.processes")]
    with pytest.raises(SettingsError, match="learner"):
        SFTSettings(model="tiny", task="arithmetic", learner={"processes": 2})


def test_check_says_what_each_process_holds_and_sends(model: Path) -> None:
    asked = ["check", "grpo", "--model", str(model), "--task", "arithmetic", "--set", "learner.processes=3"]
    said = CliRunner().invoke(app, [*asked, "--set", "max_new_tokens=5", "--set", "learner.device=cpu"])
    assert said.exit_code == 0, said.output
    mib = 4 * shape_of(str(model)).parameters / 2**20
    assert f"weights {mib / 3:.1f} MiB" in said.output and f"gathered {mib:.1f} MiB" in said.output
    for words in ("3 processes", "in a pass with gradients", f"{mib * 2 / 3:.1f} MiB before it draws", "1800 s"):
        assert words in said.output
