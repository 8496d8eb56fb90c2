"""A learned reward in environments (Christiano et al. 2017): the reward is fitted to labels of segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from rung.errors import SettingsError
from rung.methods import PolicyGradient
from rung.models.small.network import SmallPolicy
from rung.settings import Settings
from rung.tasks.environment import EnvironmentTask
from rung.trainers.kind import Setup
from rung.trainers.policy_gradient.environment import EnvironmentCollector
from rung.trainers.policy_gradient.on_environments import OnEnvironments
from rung.trainers.rlhf_2017.collector import PreferenceCollector
from rung.trainers.rlhf_2017.labellers import Labeller, Oracle
from rung.trainers.trainer import Collector


class LearnedRewards(OnEnvironments):
    """A policy gradient whose reward is fitted to an oracle's or people's labels."""

    def label_problems(self, settings: Settings, method: PolicyGradient) -> Iterator[str]:
        part = method.learned_reward
        assert part is not None, "the kind of methods with a learned reward"
        if settings.model != "small":
            yield (
                f"method.learned_reward: got model '{settings.model}', but rewards are learnt from segments of "
                "environments alone; set model to small and a task such as Pendulum-v1"
            )
        if settings.task.options().get("normalize_rewards"):
            yield (
                "task.normalize_rewards: a learned reward is normalised already, and the task's own is hidden; set it "
                "to false"
            )
        if settings.preferences.labeller == "people":
            if settings.preferences.folder is None:
                yield ("preferences.folder: got none, but people need a place where clips and votes lie; name a folder")
            if method.horizon is None:
                yield (
                    f"preferences.labeller: got people, but '{method.name}' plays whole episodes, and clips are cut "
                    "from stretches alone; set method.horizon, or the labeller to oracle"
                )
        if part.l2_low >= part.l2_high:
            yield f"method.learned_reward.l2_low: got {part.l2_low:g}, expected less than l2_high {part.l2_high:g}"

    def collector(self, setup: Setup, policy: SmallPolicy) -> Collector[Any]:
        settings, method = setup.settings, setup.method
        met = dataclasses.replace(setup.task, fixed_length=True)
        inner = EnvironmentCollector(settings, method, setup.task, policy, met=met)
        return PreferenceCollector(settings, method.learned_reward, inner, labeller_of(setup, met))


def labeller_of(setup: Setup, task: EnvironmentTask) -> Labeller:
    """Who answers: the oracle, or the people that were handed in."""
    asked = setup.settings.preferences
    if asked.labeller == "oracle":
        return Oracle(seed=setup.settings.seed, error=asked.oracle_error)
    if setup.handed.people is None:
        raise SettingsError(
            [
                "preferences.labeller: got people, but nobody was handed in who asks them; train by `rung train`, by "
                "rung.train, or hand in a labeller"
            ]
        )
    return setup.handed.people(asked, task, setup.settings.seed)
