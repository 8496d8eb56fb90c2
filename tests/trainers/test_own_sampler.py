"""A sampler from outside: made once by the trainer's user, given each version of the weights, checked at the seam."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rung
from rung import SettingsError
from rung.batch import Episode
from rung.errors import DataError
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt, checked

SMALL: dict[str, Any] = {
    "task": "arithmetic",
    "prompts_per_step": 4,
    "max_new_tokens": 4,
    "evaluation": {"num_items": 4, "every": 1},
    "learner": {"threads": 1, "compute": "float32"},
    "reporting": {"page": False},
    "saving": {"every": 1},
}
GROUPS = {"name": "grpo", "samples_per_prompt": 4, "optimizer": {"learning_rate": 0.01}}


class Apart:
    """Draws from weights of its own, as an engine in another process does."""

    made: list[Apart] = []  # noqa: RUF012 - counts over the test

    def __init__(self, policy: TextPolicy) -> None:
        self.policy, self.versions, self.closed = policy.copied(), list[int](), False
        with torch.no_grad():
            for parameter in self.policy.model.parameters():
                parameter.zero_()  # nothing of the learner's is seen but what is delivered
        self.inner = InProcessSampler(self.policy)
        Apart.made.append(self)

    def deliver(self, weights: Mapping[str, Tensor], version: int) -> None:
        self.versions.append(version)
        mine = self.policy.weights()
        assert mine.keys() == weights.keys()
        for name, weight in weights.items():
            mine[name].copy_(weight)
        self.inner.deliver(weights, version)

    def sample(self, prompts: Sequence[Prompt], **asked: Any) -> list[Episode]:
        return self.inner.sample(prompts, **asked)

    def close(self) -> None:
        self.closed = True


class Stale(Apart):
    """Takes the first weights only, and notes every version."""

    def deliver(self, weights: Mapping[str, Tensor], version: int) -> None:
        if not self.versions:
            super().deliver(weights, version)
        self.inner.version = version


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model(0).save(folder)
    return str(folder)


def rows(run: rung.SavedRun) -> list[dict[str, Any]]:
    return [dict(row) for row in run.metrics()]


def alike(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """Equal up to rounding: a copy of the weights lies elsewhere in memory, which may change a product's last bit."""
    for one, other in zip(some, others, strict=True):
        assert {k: v is None for k, v in one.items()} == {k: v is None for k, v in other.items()}
        numbers = [{k: v for k, v in row.items() if v is not None} for row in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("method", [GROUPS, "ppo@lm-human-preferences", "rft", "dqn", "dpo"])
def test_a_sampler_with_weights_of_its_own_makes_the_same_run(method: Any, model: str, tmp_path: Path) -> None:
    asked = {"model": model, "method": method, "steps": 3, "quiet": True, **SMALL}
    if method == "dpo":
        asked |= {"pairs": {"source": "samples"}, "budget": {"tokens": 400}}
    Apart.made = []
    here = rung.train(out=tmp_path / "here", **asked)
    apart = rung.train(out=tmp_path / "apart", sampler=Apart, **asked)
    alike(rows(here), rows(apart))
    if method not in ("dqn", "dpo"):  # whose samples are kept step by step
        assert [row["completion"] for row in here.samples(3)] == [row["completion"] for row in apart.samples(3)]
    mine = Apart.made[0]
    assert mine.closed and mine.versions[0] == 0 and mine.versions == sorted(mine.versions)


def test_a_sampler_that_keeps_old_weights_is_another_run(model: str, tmp_path: Path) -> None:
    asked = {"model": model, "method": GROUPS, "steps": 3, "quiet": True, **SMALL}
    here, stale = (rung.train(out=tmp_path / str(n), sampler=s, **asked) for n, s in enumerate((Apart, Stale)))
    gaps = [[row.get("sampler_gap/mean") for row in rows(run)][1:] for run in (here, stale)]
    assert gaps[0][0] == gaps[1][0] and gaps[1][2] > 10 * gaps[0][2], gaps


def test_it_is_named_in_the_settings_and_asked_for_on_resume(model: str, tmp_path: Path) -> None:
    asked = {"model": model, "method": GROUPS, "quiet": True, **SMALL}
    whole = rung.train(out=tmp_path / "whole", steps=3, **asked)
    cut = rung.train(out=tmp_path / "cut", steps=2, sampler={"engine": Apart, "rows_at_once": 3}, **asked)
    assert cut.settings.sampler.engine == "given:Apart" and cut.settings.sampler.rows_at_once == 3
    with pytest.raises(SettingsError, match=r"sampler.engine: got 'given:Apart'.*resume\(folder, sampler=Apart\)"):
        rung.resume(cut.folder, {"steps": 3})
    again = rung.resume(cut.folder, {"steps": 3}, sampler=Apart, quiet=True)
    alike(rows(again), rows(whole))


def test_a_name_that_nobody_has_is_refused(model: str) -> None:
    with pytest.raises(
        SettingsError, match=r"sampler.engine: got 'vlm', expected in_process, vllm, or from Python what"
    ):
        rung.trainer(model=model, method=GROUPS, sampler={"engine": "vlm"}, **SMALL)


def test_what_a_sampler_gives_back_is_checked(model: str) -> None:
    policy = rung.load_policy(model)
    prompts = [Prompt("a", 0, policy.encode("1+1=")), Prompt("b", 1, policy.encode("2+2="))]
    asked: Any = {"samples_per_prompt": 2, "max_new_tokens": 3, "temperature": 1.0}
    good = InProcessSampler(policy).sample(prompts, stream=rung.random.Stream(0, 1, "train"), **asked)
    assert checked(good, prompts, 2, 3) is good

    def changed(**fields: Any) -> list[Episode]:
        return [*good[:3], dataclasses.replace(good[3], **fields)]

    length = len(good[3].actions)
    nan, above = np.full(length, np.nan, np.float32), np.full(length, 0.5, np.float32)
    wrong = {
        "expected 4": good[:3],
        "ordered by prompt": good[::-1],
        "0 tokens": changed(actions=good[3].actions[:0]),
        "4 tokens, expected 1 to 3": changed(actions=np.zeros(4, np.int64)),
        "log-probs$|of its mask": changed(action_mask=np.ones(length + 1, bool)),
        "not finite": changed(log_probs=nan),
        "above 0": changed(log_probs=above),
    }
    for words, episodes in wrong.items():
        with pytest.raises(DataError, match=words):
            checked(episodes, prompts, 2, 3)
