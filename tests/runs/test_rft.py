"""Rejection-sampling fine-tuning as runs: who answers, what is learnt from, and what is refused."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from rung.batch import Episode
from rung.errors import SettingsError
from rung.library import trainer
from rung.models.language.load import load_policy
from rung.models.language.tiny import tiny_model
from rung.random import Stream
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import prompts_of
from rung.settings import Settings, settings_from
from rung.tasks.order import items_at
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.policy_gradient.text import TextCollector


def settings(model: str, method: str, **more: Any) -> Settings:
    return settings_from(
        {
            "model": model,
            "method": {"name": method, "samples_per_prompt": 4, "optimizer": {"learning_rate": 1e-2}},
            "task": {"name": "running-sum", "terms": [2], "size": 50, "held_out": 8},
            "prompts_per_step": 4,
            "max_new_tokens": 3,
            "evaluation": {"num_items": 4},
            "learner": {"threads": 1, "device": "cpu", "compute": "float32"},
            **more,
        }
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start")
    tiny_model(0, layers=2, width=32, characters="0123456789+-=,\n", context_length=32).save(folder)
    return str(folder)


def by_start(asked: Settings, model: str, step: int, drawn: int) -> list[list[int]]:
    """What an untouched copy of the model answers at that step."""
    policy = load_policy(model, device="cpu", compute="float32")
    from rung.tasks.load import load_text_task

    task = load_text_task(asked.task.name, seed=asked.seed, **asked.task.options())
    items = [task.train[int(n)] for n in items_at(asked.seed, drawn, asked.prompts_per_step, len(task.train))]
    episodes = InProcessSampler(policy).sample(
        prompts_of(policy, items, 0),
        samples_per_prompt=4,
        max_new_tokens=3,
        temperature=1.0,
        stream=Stream(asked.seed, step, "train"),
        stop=task.stop,
    )
    return tokens(episodes)


def tokens(episodes: Any) -> list[list[int]]:
    def of(episode: Episode) -> list[int]:
        return episode.actions.tolist()

    return [of(episode) for episode in episodes]


@pytest.mark.parametrize(
    ("method", "lora", "the_starts"),
    [("rft", None, True), ("rft", {"rank": 2}, True), ("online_rft", None, False)],
)
def test_rft_learns_from_the_start_and_online_rft_from_itself(
    model: str, method: str, lora: dict[str, int] | None, the_starts: bool
) -> None:
    asked = settings(model, method, lora=lora)
    parts = trainer(asked)
    assert isinstance(parts.collector, TextCollector) and isinstance(parts.learner, Learner)
    before = {name: weight.clone() for name, weight in parts.learner.policy.trainable().items()}
    try:
        for step in (1, 2, 3):
            collected = parts.collector.collect(step, lambda _name: nullcontext())
            right_B = torch.arange(len(collected.batch)) % 2 == 0
            update = parts.learner.update(collected.batch.changed(scores_B=right_B.float()), step)
        moved = [not torch.equal(weight, before[name]) for name, weight in parts.learner.policy.trainable().items()]
        assert any(moved)
        assert (tokens(collected.episodes) == by_start(asked, model, 3, drawn=8)) is the_starts
        scored = tokens(parts.collector.evaluate().episodes)
        parts.collector.behaviour = parts.collector.sampler
        assert scored == tokens(parts.collector.evaluate().episodes), "the held-out score is the policy's own"
    finally:
        parts.collector.close()
    gap = update.metrics()["sampler_gap/mean"]
    assert gap is None if the_starts else gap is not None and gap < 1e-4, "another policy's answers are no fault"


def test_answers_that_are_not_right_move_nothing(model: str) -> None:
    parts = trainer(settings(model, "online_rft"))
    assert isinstance(parts.learner, Learner)
    try:
        collected = parts.collector.collect(1, lambda _name: nullcontext())
        wrong = collected.batch.changed(scores_B=torch.full((len(collected.batch),), 0.5))
        before = {name: weight.clone() for name, weight in parts.learner.policy.trainable().items()}
        update = parts.learner.update(wrong.changed(rewards_BT=wrong.rewards_BT + 5.0), 1)
    finally:
        parts.collector.close()
    after = parts.learner.policy.trainable()
    assert all(torch.equal(after[name], weight) for name, weight in before.items()) and update.loss == 0.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": {"name": "rft"}, "task": "CartPole-v1", "model": "small"}, "neither right nor wrong"),
        (
            {"method": {"name": "reinforce", "behaviour": "FrozenStart"}},
            "method.advantage: got RewardToGo, which takes answers as the policy's own, but FrozenStart gives them",
        ),
        (
            {"method": {"name": "grpo", "behaviour": "FrozenStart", "advantage": "RightAnswers"}},
            "method.objective: got ClippedSurrogate",
        ),
        (
            {"method": {"name": "rft", "reference_kl": {"part": "KLInLoss", "coefficient": 0.1}}},
            "method.reference_kl: got KLInLoss, whose estimate is of the policy's own answers",
        ),
        ({"method": {"name": "rft", "behaviour": "Start"}}, "method.behaviour: got part 'Start'"),
    ],
)
def test_what_cannot_go_together_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        trainer(settings_from({"model": "tiny", "task": "running-sum", **changes}), folder=tmp_path)
