"""Rewards one by one, from the judge to what an advantage reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rung.batch import Episode
from rung.methods import METHODS, PolicyGradient
from rung.methods.parts.filters import SoftOverlong
from rung.rewards.judge import Judge
from rung.rewards.reward import WeightedReward
from rung.tasks.task import Item
from rung.trainers.assemble import assemble
from rung.trainers.wire import packed, unpacked


@dataclasses.dataclass
class Has:
    """1 where an answer has a letter; None, it does not apply, where an answer is empty."""

    letter: str

    @property
    def name(self) -> str:
        return f"has_{self.letter}"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[str], columns: Any) -> list[float | None]:
        return [None if not text else float(self.letter in text) for text in completions]


def batch_of(texts: Sequence[str]):
    rewards = [WeightedReward(reward=Has("a"), weight=1.0), WeightedReward(reward=Has("b"), weight=0.5)]
    with Judge(rewards) as judge:
        judged = judge([Item(id="1", prompt="say", columns={})] * len(texts), texts)
    row = {"item": "1", "context": np.array([1, 2]), "actions": np.array([3, 4]), "action_mask": np.array([True, True])}
    drawn = {"log_probs": np.zeros(2, np.float32), "terminated": True, "truncated": False}
    return assemble([Episode(group=0, sample=n, judgement=one, **row, **drawn) for n, one in enumerate(judged)])


def test_the_judges_parts_and_weights_reach_the_batch() -> None:
    batch = batch_of(["a", "b", "ab", "c"])
    assert {name: part_B.tolist() for name, part_B in batch.reward_parts.items()} == {
        "has_a": [1.0, 0.0, 1.0, 0.0],
        "has_b": [0.0, 1.0, 1.0, 0.0],
    }
    assert batch.reward_weights == {"has_a": 1.0, "has_b": 0.5}
    assert batch.returns_B().tolist() == [1.0, 0.5, 1.5, 0.0]
    sent = unpacked(*packed(batch.changed(contexts=batch.contexts)))
    assert sent.reward_weights == batch.reward_weights and sent.reward_parts.keys() == batch.reward_parts.keys()


def test_gdpo_tells_apart_what_a_sum_confuses() -> None:
    """With equal weights `a` and `b` have one sum, and of three answers of one sum GRPO learns nothing; each reward
    apart, the rarer one is worth more."""
    batch = batch_of(["a", "a", "b"]).changed(reward_weights={"has_a": 1.0, "has_b": 2.0})
    gdpo = METHODS["gdpo"]
    assert isinstance(gdpo, PolicyGradient)
    advantages_B = gdpo.changed(whiten=None).with_advantages(batch).advantages_BT[:, 0]
    assert advantages_B[2] > 0 > advantages_B[0] == advantages_B[1]
    same = batch.changed(reward_parts={"one": torch.ones(3, dtype=torch.float64)}, reward_weights={"one": 1.0})
    assert not gdpo.changed(whiten=None).with_advantages(same).advantages_BT.any()


def test_what_changes_the_sum_alone_is_refused() -> None:
    gdpo = METHODS["gdpo"]
    found = gdpo.changed(shape_reward=SoftOverlong(), reference_kl=METHODS["rloo"].reference_kl).problems()
    assert [problem.split(":")[0] for problem in found] == ["method.shape_reward", "method.reference_kl"]
    assert gdpo.changed(reference_kl=METHODS["grpo"].reference_kl).problems() == []


@pytest.mark.parametrize(("samples", "fits"), [(4, False), (5, True)])
def test_pass_at_k_needs_more_samples_than_k(samples: int, fits: bool) -> None:
    found = METHODS["pass_at_k"].changed(samples_per_prompt=samples).problems()
    assert (found == []) is fits and all("set 5 or more" in problem for problem in found)
