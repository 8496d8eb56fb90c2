"""The engine's sampler, against a fake engine that is another process: what it draws, and what it does not believe."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from engines import engine_sampler, interpreter, learners_gap, moved, small_policy

from rung.batch import Episode, Judgement
from rung.errors import DataError, EngineError, SettingsError
from rung.models.language.lora import Lora, add_adapter
from rung.models.language.policy import TextPolicy
from rung.random import Stream
from rung.rollouts.engine import delivery
from rung.rollouts.engine import engines as engine_module
from rung.rollouts.engine.process import PACKAGE, version_of
from rung.rollouts.engine.sampler import EngineSampler
from rung.rollouts.sampling import Prompt, checked
from rung.rollouts.turns import answers
from rung.tasks.turns import Step, turn_task
from rung.trainers.assemble import assemble

STREAM = Stream(seed=7, step=1, purpose="train")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return interpreter(tmp_path_factory.mktemp("interpreter"))


@pytest.fixture(scope="module")
def sampler(python: Path) -> Iterator[EngineSampler]:
    """One engine for all tests that leave it well."""
    sampler = engine_sampler(python)
    yield sampler
    sampler.close()


@pytest.fixture
def fault(python: Path) -> Iterator[Callable[[str], object]]:
    """`fault("layer")`: what the engine does wrong from now on."""
    yield python.with_name("fault").write_text
    python.with_name("fault").write_text("")


def script(folder: Path, command: str) -> Path:
    """In place of an interpreter: whatever it is asked to run, it does this."""
    (folder / "python").write_text(f"#!/bin/sh\n{command}\n")
    (folder / "python").chmod(0o755)
    return folder / "python"


def prompts(policy: TextPolicy, count: int = 3) -> list[Prompt]:
    return [Prompt(f"q{n}", n, policy.encode(f"{n}+{n}=")) for n in range(count)]


def drawn(sampler: EngineSampler, **changed: Any) -> list[Episode]:
    asked = {"samples_per_prompt": 4, "max_new_tokens": 6, "temperature": 1.0, "stream": STREAM, **changed}
    return sampler.sample(prompts(sampler.policy), **asked)


def tokens(episodes: list[Episode]) -> list[list[int]]:
    return [one.actions.tolist() for one in episodes]


def test_what_was_asked_for_with_the_learners_log_probs(sampler: EngineSampler) -> None:
    for temperature in (1.0, 0.7):
        episodes = drawn(sampler, temperature=temperature)
        checked(episodes, prompts(sampler.policy), 4, 6)
        assert learners_gap(sampler.policy, episodes, temperature) < 2e-5
        assert {len(one.actions) for one in episodes} > {6} or all(one.truncated for one in episodes)


def test_the_likeliest_tokens_at_temperature_0(sampler: EngineSampler) -> None:
    from rung.rollouts.sampler import InProcessSampler

    own = InProcessSampler(sampler.policy).sample(
        prompts(sampler.policy), samples_per_prompt=1, max_new_tokens=6, temperature=0.0, stream=STREAM
    )
    episodes = drawn(sampler, samples_per_prompt=1, temperature=0.0)
    assert tokens(episodes) == tokens(own)
    assert all((one.log_probs == 0).all() for one in episodes)


def test_a_row_depends_on_its_key_and_on_no_other_row(sampler: EngineSampler) -> None:
    many, one = drawn(sampler), drawn(sampler, samples_per_prompt=1)
    assert tokens(many)[::4] == tokens(one)
    assert tokens(drawn(sampler, stream=replace(STREAM, step=2))) != tokens(many)


@pytest.mark.parametrize("length", [1, 3])
def test_stop_texts_of_one_and_of_several_tokens_end_an_answer(sampler: EngineSampler, length: int) -> None:
    free = drawn(sampler, max_new_tokens=20)
    stop = free[0].text[8 : 8 + length]
    stopped = drawn(sampler, max_new_tokens=20, stop=(stop,))
    assert stopped[0].terminated and stopped[0].text.endswith(stop) and len(stopped[0].actions) < 20
    for before, after in zip(free, stopped, strict=True):
        assert before.actions[: len(after.actions)].tolist() == after.actions.tolist()
        assert after.terminated == (stop in after.text or after.actions[-1] in sampler.policy.end_ids)
        assert stop not in sampler.policy.decode(after.actions[:-1])


def test_begun_answers_are_those_of_their_own_time(sampler: EngineSampler) -> None:
    version, at_once = sampler.version, drawn(sampler)
    asked: dict[str, Any] = {"samples_per_prompt": 4, "max_new_tokens": 6, "temperature": 1.0}
    sampler.begin(prompts(sampler.policy), stream=STREAM, **asked)
    moved(sampler.policy)
    sampler.deliver(sampler.policy.weights(), version + 1)
    other = drawn(sampler, stream=replace(STREAM, purpose="held out"))
    begun = drawn(sampler)
    assert tokens(begun) == tokens(at_once)
    assert {one.policy_version for one in begun} == {version}
    assert {one.policy_version for one in other} == {version + 1}
    assert tokens(drawn(sampler)) != tokens(at_once)


class Patient:
    """Says 1, whatever it is told; three turns."""

    def reset(self, item: Any, seed: int) -> str:
        self.heard = 0
        return f"{item}:"

    def step(self, reply: str) -> Step:
        self.heard += 1
        return Step("1", done=self.heard == 3)


def test_several_turns_are_drawn_as_one_is(sampler: EngineSampler) -> None:
    task = replace(turn_task("patient", Patient), stop=tuple("0123456789abcdefgh"))  # random weights end there soon
    how: dict[str, Any] = {"max_new_tokens": 20, "temperature": 1.0, "stream": STREAM}
    episodes = answers(sampler, sampler.policy, task, [task.train[0], task.train[1]], samples_per_prompt=3, **how)
    assert {len(one.played.turns) for one in episodes if one.played is not None} == {3}
    assert learners_gap(sampler.policy, episodes, 1.0) < 5e-5


def test_no_epsilon_and_no_prompt_that_is_too_long(sampler: EngineSampler) -> None:
    with pytest.raises(SettingsError, match="softmax"):
        drawn(sampler, epsilon=0.1)
    with pytest.raises(DataError, match="expected at most"):
        drawn(sampler, max_new_tokens=126)


@pytest.mark.parametrize(
    ("what", "by"),
    [("label", 0.02), ("head", 0.02), ("layer", 0.02), ("bucket", 0.02), ("cache", 0.02)],
)
def test_what_does_not_arrive_is_seen(
    sampler: EngineSampler,
    fault: Callable[[str], object],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    by: float,
) -> None:
    monkeypatch.setattr(delivery, "BUCKET", 20_000)
    drawn(sampler)
    moved(sampler.policy, by)
    sampler.deliver(sampler.policy.weights(), sampler.version + 1)
    fault(what)
    with pytest.raises(EngineError, match=f"delivery of version {sampler.version}: the engine does not draw from"):
        drawn(sampler)
    fault("")
    assert learners_gap(sampler.policy, drawn(sampler), 1.0) < 5e-5


def test_a_change_too_small_for_a_gap_is_seen_by_the_way_that_it_went(
    sampler: EngineSampler, fault: Callable[[str], object]
) -> None:
    drawn(sampler)
    moved(sampler.policy, 3e-7)
    sampler.deliver(sampler.policy.weights(), sampler.version + 1)
    fault("label")
    with pytest.raises(EngineError, match="% of the way from the old weights' to the new ones'"):
        drawn(sampler)


def test_of_a_lora_the_adapters_alone_are_sent_and_what_they_change_is_drawn_from(python: Path) -> None:
    policy = small_policy(tied=False)
    add_adapter(policy.model, Lora(rank=2, targets=("q_proj", "down_proj")), seed=0)
    policy = TextPolicy(policy.model, policy.tokenizer)
    sampler = engine_sampler(python, policy)
    try:
        drawn(sampler)
        assert sampler.engines.seats[0].process is not None
        first = sampler.engines.seats[0].process.sent
        moved(policy, 0.1)
        sampler.deliver(policy.weights(), 1)
        episodes = drawn(sampler)
        assert learners_gap(policy, episodes, 1.0) < 5e-5
        with policy.computing():
            base = policy.reference()
        assert learners_gap(base, episodes, 1.0) > 1e-2, "the adapters change what is drawn"
        adapters = 4 * sum(p.numel() for p in policy.trainable().values())
        whole = 4 * sum(p.numel() for p in policy.model.parameters())
        assert first > whole > 4 * adapters
        assert adapters < sampler.engines.seats[0].process.sent - first < adapters + 30_000, (
            "adapters, prompts and the canary"
        )
    finally:
        sampler.close()


def test_one_that_dies_is_started_again_and_draws_what_it_would_have_drawn(
    sampler: EngineSampler, fault: Callable[[str], object]
) -> None:
    before = drawn(sampler)
    fault("once dies")
    assert tokens(drawn(sampler)) == tokens(before)
    (said,) = sampler.told().notes
    assert "ended with exit code 3" in said and "out of memory, it said" in said and "1 of 3 times" in said
    assert "answers ('train' of step 1)" in said


def test_begun_answers_are_asked_again_of_the_weights_that_they_were_begun_with(
    python: Path, fault: Callable[[str], object]
) -> None:
    sampler = engine_sampler(python, ahead=1)
    try:
        before = drawn(sampler)
        asked: dict[str, Any] = {"samples_per_prompt": 4, "max_new_tokens": 6, "temperature": 1.0}
        fault("once dies")
        sampler.begin(prompts(sampler.policy), stream=STREAM, **asked)
        moved(sampler.policy)
        sampler.deliver(sampler.policy.weights(), 1)
        assert tokens(drawn(sampler)) == tokens(before)
        assert sampler.told().notes
    finally:
        sampler.close()


def test_who_draws_a_row_and_how_many_engines_there_are_does_not_show(
    sampler: EngineSampler, python: Path, fault: Callable[[str], object]
) -> None:
    with closing(engine_sampler(python, engines=2)) as two:
        assert tokens(drawn(two)) == tokens(drawn(engine_of(sampler, two.policy)))
        assert all(seat.process is not None and seat.has == 0 for seat in two.engines.seats)
        sent = [seat.process.sent for seat in two.engines.seats if seat.process is not None]
        assert abs(sent[0] - sent[1]) < 1000, "each was given all weights and half of the rows"
        fault("once dies")
        assert tokens(drawn(two, max_new_tokens=9)) == tokens(drawn(sampler, max_new_tokens=9))
        (said,) = two.told().notes
        assert "of 2 is started again, 1 of 3 times" in said


def engine_of(sampler: EngineSampler, policy: TextPolicy) -> EngineSampler:
    """The one engine, given another policy's weights, which have its names."""
    with torch.no_grad():
        for name, weight in sampler.policy.weights().items():
            weight.copy_(policy.weights()[name])
    sampler.deliver(sampler.policy.weights(), sampler.version + 1)
    return sampler


IN_FLIGHT: dict[str, Any] = {"samples_per_prompt": 4, "max_new_tokens": 90, "temperature": 1.0}


@pytest.mark.parametrize("dies", [False, True])
def test_weights_change_in_flight_and_each_token_is_of_its_own_version(
    python: Path, fault: Callable[[str], object], dies: bool
) -> None:
    """What is drawn goes on from what there is: nothing is lost, and every log-prob is that of the token's version."""
    policy, versions = small_policy(), []
    with closing(engine_sampler(python, policy, ahead=2)) as sampler:
        sampler.begin(prompts(policy), stream=STREAM, **IN_FLIGHT)
        for version in (1, 2):
            sampler._hear(wait_s=0.02)
            versions.append(policy.copied())
            moved(policy)
            sampler.deliver(policy.weights(), version)
            known = [list(row.tokens) for row in sampler.begun()[0].rows]
            if dies and version == 2:
                fault("once dies")
            drawn(sampler, stream=replace(STREAM, step=version, purpose="held out"), max_new_tokens=3)
        versions.append(policy.copied())
        episodes = sampler.sample(prompts(policy), stream=STREAM, **IN_FLIGHT)
        assert bool(sampler.told().notes) == dies
    checked(episodes, prompts(policy), 4, 90)
    mixed = [one for one in episodes if one.versions is not None]
    assert mixed and max(one.versions.max() for one in mixed) == 2
    for episode, before in zip(episodes, known, strict=True):
        assert episode.actions[: len(before)].tolist() == before
        drawn_by = (
            np.full(len(episode.actions), episode.policy_version) if episode.versions is None else episode.versions
        )
        assert (np.diff(drawn_by) >= 0).all()
        gaps_VT = np.stack([gaps(one, episode) for one in versions])
        own_T = gaps_VT[drawn_by, np.arange(len(drawn_by))]
        assert own_T.max() < 2e-4
        assert len(drawn_by) < 5 or gaps_VT.max() > 1e-2, "the versions differ"


def gaps(policy: TextPolicy, episode: Episode) -> Any:
    batch = assemble([replace(episode, judgement=Judgement(total=0.0, parts={}, accuracy=None))])
    with torch.no_grad():
        return (policy(batch).log_probs_BT - batch.sampler_log_probs_BT)[0].abs().numpy()


def test_what_is_in_flight_goes_on_in_another_process_from_where_it_was(python: Path) -> None:
    policy = small_policy()
    with closing(engine_sampler(python, policy, ahead=2)) as first:
        first.begin(prompts(policy), stream=STREAM, **IN_FLIGHT)
        first._hear(wait_s=0.02)
        (begun,) = first.begun()
        kept, known = begun.tensors(), [list(row.tokens) for row in begun.rows]
    assert any(known) and not all(row.done for row in begun.rows)
    with closing(engine_sampler(python, policy, ahead=2)) as second:
        second.take_begun(begun.gap, kept, prompts(policy), stream=STREAM, **IN_FLIGHT)
        episodes = second.sample(prompts(policy), stream=STREAM, **IN_FLIGHT)
    checked(episodes, prompts(policy), 4, 90)
    assert [one.actions[: len(its)].tolist() for one, its in zip(episodes, known, strict=True)] == known
    assert learners_gap(policy, episodes, 1.0) < 2e-4


def test_one_that_hangs_is_named_after_its_deadline_and_not_started_for_ever(
    python: Path, fault: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "RESTARTS", 0)
    sampler = engine_sampler(python, request_s=1.5)
    fault("hang")
    with pytest.raises(EngineError, match=r"did not answer within .* 12 answers .*started again 0 times before"):
        drawn(sampler)


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = script(tmp_path, "echo there is no vllm here; exit 1")
    with pytest.raises(EngineError, match=r"exit code 1; awaited since .* its start; .*there is no vllm here"):
        drawn(engine_sampler(broken))


def test_one_that_is_not_ready_in_time_is_killed(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"was not ready within 0\.5 s"):
        drawn(engine_sampler(script(tmp_path, "exec sleep 1000"), start_s=0.5))
    assert time.monotonic() - began < 30


def test_no_vllm_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"sampler\.python: .*none cannot be run|No such file"):
        version_of(str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="it has no vllm"):
        version_of(sys.executable)


@pytest.mark.parametrize("key", ["", "0" * 64])
def test_only_the_engine_that_was_started_may_speak(tmp_path: Path, key: str) -> None:
    speak = "from rung.rollouts.engine.wire import Wire; import socket; s = socket.socket(socket.AF_UNIX)\n"
    speak += f"s.connect('socket'); Wire(s).send(dict(key='{key}', longest=128)); Wire(s).receive()"
    stranger = script(tmp_path, f'PYTHONPATH={PACKAGE.parent} exec {sys.executable} -c "{speak}"')
    with pytest.raises(EngineError, match="did not show the key"):
        drawn(engine_sampler(stranger))


def test_a_killed_run_leaves_nothing_and_nothing_listens_meanwhile(python: Path, tmp_path: Path) -> None:
    run = os.fork()
    if run == 0:
        sampler = engine_sampler(python)
        drawn(sampler)
        assert sampler.engines.seats[0].process is not None
        (tmp_path / "aside").write_text(str(sampler.engines.seats[0].process.folder))
        (tmp_path / "aside").rename(tmp_path / "folder")
        signal.pause()
    while not (tmp_path / "folder").exists():
        time.sleep(0.05)
    folder = Path((tmp_path / "folder").read_text())
    started = psutil.Process(run).children(recursive=True)
    assert len(started) == 2, "the keeper and the engine"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_ISSOCK((folder / "socket").stat().st_mode)
    assert [one for each in started for one in each.net_connections("tcp") if one.status == "LISTEN"] == []
    os.kill(run, signal.SIGKILL)
    os.waitpid(run, 0)
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
    assert not folder.exists()
