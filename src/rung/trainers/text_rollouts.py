"""Rollouts of text: a task's prompts in order, a policy's answers, and what the rewards say of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rung.batch import Episode
from rung.faults import fault_point
from rung.random import Stream
from rung.rewards.judge import Judge
from rung.rollouts.judged import judged, turn_rewards
from rung.rollouts.sampling import Sampler, Told
from rung.rollouts.turns import answers
from rung.settings import Settings
from rung.tasks.order import items_at
from rung.tasks.task import Item, TextTask
from rung.trainers.assemble import step_rewards
from rung.trainers.held_out import Scores, held_out_scores
from rung.trainers.trainer import B, Collector, Metrics, Phase

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy

TRIED_TOKENS = 16
"""Of an answer that is judged before the first step."""


def staleness(episode: Episode, version: int) -> npt.NDArray[np.int64]:
    """[T] updates between the weights that drew each token and this version."""
    drawn_from = episode.policy_version if episode.versions is None else episode.versions
    return np.broadcast_to(version - np.asarray(drawn_from, np.int64), episode.actions.shape)


class TextRollouts(Collector[B]):
    """Draws answers to a task's prompts and has them judged.

    Attributes:
        sampler: of the policy, for what is learnt from and for the held-out score.
        drawn: prompts taken from the task so far: the position in the data.
    """

    def __init__(self, settings: Settings, task: TextTask, policy: TextPolicy, judge: Judge, sampler: Sampler) -> None:
        self.settings, self.task, self.policy, self.judge = settings, task, policy, judge
        self.sampler = sampler
        self.drawn = self.version = 0
        self.waiting = 0.0
        """Seconds in which environments and tools were waited for since they were last told."""

    def deliver(self, version: int) -> None:
        self.version = version
        self.sampler.deliver(self.policy.weights(), version)

    def next_items(self, steps: int = 0) -> list[Item]:
        """The next `prompts_per_step` items, or those so many steps later."""
        wanted = self.settings.prompts_per_step
        picks = items_at(self.settings.seed, self.drawn + steps * wanted, wanted, len(self.task.train))
        return [self.task.train[int(pick)] for pick in picks]

    def answered(self, sampler: Sampler, step: int, items: Sequence[Item], **how: Any) -> Sequence[Episode]:
        """Answers to these items, not judged."""
        seed, longest = self.settings.seed, self.settings.max_new_tokens
        how |= {"max_new_tokens": longest, "stream": Stream(seed, step, "train"), "waited": self._waited}
        return answers(sampler, self.policy, self.task, items, **how)

    def _waited(self, seconds: float) -> None:
        self.waiting += seconds

    def told(self, episodes: Sequence[Episode]) -> tuple[Metrics, Metrics, tuple[str, ...]]:
        """Metrics, timings and sentences of what drew these: engines, where there are some, and environments over
        turns."""
        waiting, self.waiting = self.waiting, 0.0
        timings: Metrics = {} if self.task.plays is None else {"turns/waiting": waiting}
        if (asked := getattr(self.sampler, "told", None)) is None:
            return {}, timings, ()
        told: Told = asked()
        stale_N = np.concatenate([staleness(one, self.version) for one in episodes])
        older = {"delivery/staleness": float(stale_N.mean()), "delivery/staleness_max": float(stale_N.max())}
        return (
            {"delivery/gap": told.gap, **older},
            timings | {"delivery/seconds": told.seconds},
            told.notes,
        )

    def judged_answers(
        self,
        sampler: Sampler,
        step: int,
        phase: Phase,
        *,
        temperature: float,
        samples_per_prompt: int = 1,
        first_group: int = 0,
        epsilon: float | None = None,
    ) -> list[Episode]:
        """Answers to the next `prompts_per_step` prompts; each prompt is a group, numbered from `first_group`."""
        items = self.next_items()
        self.drawn += len(items)
        with phase("sample"):
            episodes = self.answered(
                sampler,
                step,
                items,
                samples_per_prompt=samples_per_prompt,
                temperature=temperature,
                first_group=first_group,
                epsilon=epsilon,
            )
            fault_point("rollout.done")
        with phase("reward"):
            asked = [items[e.group - first_group] for e in episodes]
            judgements = judged(self.judge, self.policy, asked, episodes)
            found = [
                dataclasses.replace(
                    e,
                    answer=item.answer,
                    judgement=j,
                    step_rewards=(*step_rewards(e, j.steps, self.policy.decode), *turn_rewards(self.judge, e)),
                )
                for e, item, j in zip(episodes, asked, judgements, strict=True)
            ]
            fault_point("reward.done")
        return found

    def judge_a_few(self) -> None:
        """Short answers to the first two prompts, judged as those of a step are."""
        items = [self.task.train[index] for index in range(min(2, len(self.task.train)))]
        episodes = answers(
            self.sampler,
            self.policy,
            self.task,
            items,
            samples_per_prompt=1,
            max_new_tokens=min(TRIED_TOKENS, self.settings.max_new_tokens),
            temperature=self.settings.temperature,
            stream=Stream(self.settings.seed, 0, "tried"),
        )
        judged(self.judge, self.policy, items, episodes)

    def evaluate(self) -> Scores:
        """The score of the policy as it is now, on the held-out items."""
        return held_out_scores(self.settings, self.sampler, self.policy, self.judge, self.task)

    def prompt_of(self, episode: Episode) -> str:
        return self.policy.decode(episode.context)

    def close(self) -> None:
        self.judge.close()
        if (close := getattr(self.sampler, "close", None)) is not None:
            close()
