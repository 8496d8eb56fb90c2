"""What every collector of text does: a task's prompts as ids, the judging of completions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rung.batch import Episode
from rung.rewards.judge import Judge
from rung.rollouts.sampler import Prompt
from rung.tasks.task import Item
from rung.training.assemble import step_rewards

if TYPE_CHECKING:
    from rung.models.policy import TextPolicy


def prompts_of(policy: TextPolicy, items: Sequence[Item], first_group: int = 0) -> list[Prompt]:
    """The items' prompts, each a group of its own, numbered from `first_group`."""
    return [
        Prompt(item=item.id, group=first_group + index, ids=policy.encode(item.prompt))
        for index, item in enumerate(items)
    ]


def judged(
    judge: Judge, policy: TextPolicy, items: Sequence[Item], episodes: Sequence[Episode], first_group: int = 0
) -> list[Episode]:
    """The episodes with what the rewards say of them, and of their steps where a reward judges steps."""
    judgements = judge([items[e.group - first_group] for e in episodes], [e.text for e in episodes])
    return [
        dataclasses.replace(e, judgement=j, step_rewards=step_rewards(e, j.steps, policy.decode))
        for e, j in zip(episodes, judgements, strict=True)
    ]
