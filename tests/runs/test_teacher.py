"""A student learns from its teacher: the KL falls; and a teacher that reads other tokens is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from episodes import random_episodes
from table_policy import TablePolicy

from rung.errors import SettingsError
from rung.library import trainer
from rung.methods import METHODS
from rung.models.language.load import differing_tokens, load_policy
from rung.models.language.tiny import tiny_model
from rung.trainers.assemble import assemble
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.reading import settings_from


def folder_of(path: Path, seed: int, *, sharper: float = 1.0) -> str:
    """A tiny model; `sharper` multiplies its embedding, so that its distribution is far from uniform."""
    policy = tiny_model(seed)
    with torch.no_grad():
        policy.model.get_input_embeddings().weight.mul_(sharper)
    policy.save(path)
    return str(path)


def settings(model: str, **more: Any):
    return settings_from(
        {
            "model": model,
            "method": {"name": "distillation", "optimizer": {"learning_rate": 1e-2}},
            "task": {"name": "arithmetic", "levels": [1], "size": 50, "held_out": 8},
            "prompts_per_step": 8,
            "max_new_tokens": 4,
            "learner": {"threads": 1, "device": "cpu", "compute": "float32"},
            **more,
        }
    )


def test_the_students_kl_to_its_teacher_falls(tmp_path: Path) -> None:
    student, teacher = folder_of(tmp_path / "s", 0), folder_of(tmp_path / "t", 1, sharper=6.0)
    parts = trainer(settings(student, teacher=teacher))
    frozen = load_policy(teacher, device="cpu", compute="float32")
    kls = []
    try:
        for step in range(1, 26):
            collected = parts.collector.collect(step, no_phase)
            with torch.no_grad():
                kls.append(
                    float(parts.policy.distribution(collected.batch).kl(frozen.distribution(collected.batch)).mean())
                )
            parts.learner.update(collected.batch, step)
    finally:
        parts.collector.close()
    assert kls[0] > 0.3, "there was something to learn"
    assert sum(kls[-3:]) / 3 < 0.5 * kls[0], kls


class no_phase:
    def __init__(self, name: str) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_the_learner_asks_the_teacher_and_no_other() -> None:
    batch = assemble(random_episodes())
    teacher = TablePolicy(seed=5)
    update = Learner(TablePolicy(), METHODS["distillation"], teacher=teacher).update(batch, 1)
    old_BT, advantages_BT = update.log_probs_BT, update.batch.advantages_BT
    expected_BT = torch.where(batch.action_mask_BT, teacher(batch).log_probs_BT - old_BT, 0.0)
    torch.testing.assert_close(advantages_BT, expected_BT.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda vocabulary: {**vocabulary, "extra": len(vocabulary)},
            "has a tokenizer of 19 tokens|has a tokenizer of",
        ),
        (lambda vocabulary: {token: -number for token, number in vocabulary.items()}, "numbers the token"),
    ],
)
def test_a_teacher_that_reads_other_tokens_is_refused(change, says: str) -> None:
    mine, other = tiny_model(0), tiny_model(1)
    assert differing_tokens(mine, other) is None
    vocabulary = other.tokenizer.get_vocab()

    class Other:
        @staticmethod
        def get_vocab() -> dict[str, int]:
            return change(vocabulary)

    other.tokenizer = Other()
    found = differing_tokens(mine, other)
    assert found is not None and found.startswith(says.rsplit("|", maxsplit=1)[-1])


def test_what_is_missing_or_not_used_is_said(tmp_path: Path) -> None:
    for more, says in (
        ({}, "teacher: got none"),
        ({"teacher": "t", "method": {"name": "grpo"}}, "'grpo' learns from none"),
    ):
        with pytest.raises(SettingsError, match=says):
            settings("tiny", **more)
    with pytest.raises(SettingsError, match="with lora the reference is the base"):
        settings("tiny", method={"name": "grpo_iterative"}, lora={"rank": 2})
