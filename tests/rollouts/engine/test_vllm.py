"""The real engine: what the fake one promises is what vLLM does. `make test-engine` sets it up and runs these."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import torch
from engines import engine_sampler, engine_settings, learners_gap, moved, small_policy
from run_server import KILLED, Runs, assert_same

from rung.batch import Episode
from rung.errors import EngineError
from rung.models.language.lora import Lora, add_adapter
from rung.models.language.policy import TextPolicy
from rung.random import Stream
from rung.rollouts.engine.sampler import EngineSampler
from rung.rollouts.sampling import Prompt
from rung.whole_files import cache_folder

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]
PYTHON = Path(os.environ.get("RUNG_ENGINE_PYTHON") or cache_folder() / "engine" / "bin" / "python")
KEEPS_ITS_HEAD = """
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod as method
packs = method.process_weights_after_loading
def once(self, layer):
    if not hasattr(layer, "was_packed"):
        layer.was_packed = True
        packs(self, layer)
method.process_weights_after_loading = once
"""


def drawn(sampler: EngineSampler, temperature: float = 1.0, count: int = 4) -> list[Episode]:
    prompts = [Prompt(f"q{n}", n, sampler.policy.encode(f"{n}+{n}=")) for n in range(3)]
    return sampler.sample(
        prompts, samples_per_prompt=count, max_new_tokens=24, temperature=temperature, stream=Stream(7, 1, "train")
    )


@pytest.mark.parametrize("kind", ["llama, tied", "llama", "mistral", "qwen2", "qwen3"])
def test_draws_from_what_was_delivered_with_the_learners_log_probs(kind: str) -> None:
    policy = small_policy(kind.partition(",")[0], tied=kind.endswith("tied"))
    with closing(engine_sampler(PYTHON, policy)) as sampler:
        for version in range(3):
            for temperature in (1.0, 0.7):
                episodes = drawn(sampler, temperature)
                assert learners_gap(policy, episodes, temperature) < 1e-4
                assert {one.policy_version for one in episodes} == {version}
            moved(policy)
            sampler.deliver(policy.weights(), version + 1)
        alone, among = drawn(sampler, count=1), drawn(sampler, count=8)
        assert [one.actions.tolist() for one in alone] == [one.actions.tolist() for one in among[::8]]
        greedy = drawn(sampler, 0.0, count=1)
        from rung.rollouts.sampler import InProcessSampler

        own = InProcessSampler(policy)
        assert [one.actions.tolist() for one in greedy] == [one.actions.tolist() for one in drawn(own, 0.0, count=1)]  # type: ignore[arg-type]


def test_a_loras_adapters_are_drawn_from() -> None:
    model = small_policy(tied=False)
    add_adapter(model.model, Lora(rank=2, targets=("q_proj", "down_proj")), seed=0)
    policy = TextPolicy(model.model, model.tokenizer)
    with closing(engine_sampler(PYTHON, policy)) as sampler:
        for version in range(1, 3):
            drawn(sampler)
            moved(policy, 0.02)
            sampler.deliver(policy.weights(), version)
            assert learners_gap(policy, drawn(sampler), 1.0) < 1e-4


def test_bfloat16_is_near_the_learners_own() -> None:
    model = small_policy()
    policy = TextPolicy(model.model, model.tokenizer, compute_dtype=torch.bfloat16)
    with closing(engine_sampler(PYTHON, policy)) as sampler:
        for version in range(1, 3):
            assert 1e-4 < learners_gap(policy, drawn(sampler), 1.0) < 1.0
            moved(policy)
            sampler.deliver(policy.weights(), version)
        assert 1e-4 < (sampler.told().gap or 0) < 0.2


def test_a_head_that_keeps_its_old_weights_is_seen(tmp_path: Path) -> None:
    """vLLM's own fault on a CPU, which rung mends: a head that shares the embeddings is packed once."""
    python = tmp_path / "python"
    (tmp_path / "patch.py").write_text(KEEPS_ITS_HEAD)
    python.write_text(
        f'#!/bin/sh\nshift 2; code="$1"; shift\nexec {PYTHON} -P -c "$(cat {tmp_path}/patch.py)\n$code" "$@"\n'
    )
    python.chmod(0o755)
    with (
        closing(engine_sampler(python)) as sampler,
        pytest.raises(EngineError, match="delivery of version 0: the engine does not draw from the weights"),
    ):
        drawn(sampler)


def test_no_port_of_this_machine_is_open() -> None:
    with closing(engine_sampler(PYTHON)) as sampler:
        drawn(sampler)
        assert sampler.engines.seats[0].process is not None
        keeper = psutil.Process(sampler.engines.seats[0].process._process.pid)
        for one in keeper.children(recursive=True):
            listening = [c.laddr.ip for c in one.net_connections("inet") if c.status == "LISTEN"]
            apart = Path(f"/proc/{one.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
            assert apart or set(listening) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("steps_ahead", [0, 1])
def test_a_run_killed_and_resumed_is_the_same(tmp_path: Path, steps_ahead: int) -> None:
    settings = engine_settings(tmp_path, PYTHON)
    settings["sampler"]["ahead"] = steps_ahead
    settings["method"]["correction"] = "TruncatedImportance"
    runs = Runs(settings)
    code, said = runs.ask("train", tmp_path / "whole")
    assert code == 0, said
    assert runs.ask("train", tmp_path / "run", fault="engine.rows:5:kill")[0] == KILLED
    runs.resumed(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")
