"""Policy gradients in environments: a step plays stretches or whole episodes with a small network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from rung.methods import PolicyGradient
from rung.methods.parts.protocols import fact
from rung.models.language.size import ModelShape
from rung.models.small.network import SmallPolicy, SmallShape
from rung.settings import Settings
from rung.tasks.environment import EnvironmentTask
from rung.trainers.fits import general_doubts, no_labels, no_pairs
from rung.trainers.kind import Kind, Setup
from rung.trainers.policy_gradient.environment import EnvironmentCollector
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.policy_gradient.rollouts import (
    doubtful_slots,
    rollout_units,
    too_few_to_compare,
    too_many_minibatches,
)
from rung.trainers.policy_gradient.work import work
from rung.trainers.rollout_trainer import RolloutTrainer
from rung.trainers.trainer import Collector
from rung.trainers.units import Units, count
from rung.trainers.work import Work, counted

FEW_STEPS = 64
"""A rollout of fewer steps than this needs many environments."""


class OnEnvironments(Kind):
    """REINFORCE to TRPO, PPO and GRPO in environments of numbers."""

    environment = True

    def recipe(self, method: Any, *, model: str, task: str) -> str | None:
        if method.horizon is None:
            return "environment_groups" if method.samples_per_prompt > 1 else "environment_episodes"
        if method.horizon >= FEW_STEPS:
            return "environment"
        return "environment_workers_as_published" if "@" in method.name else "environment_workers"

    def problems(self, settings: Settings, method: PolicyGradient) -> Iterator[str]:
        if method.needs_teacher and settings.teacher is None:
            yield "teacher: got none, but the method learns from one; set a model folder or a hub id"
        elif method.needs_teacher:
            yield f"teacher: got '{settings.teacher}', but a small network has no tokens to compare; use another method"
        if fact(method.advantage, "needs_step_scores", False):
            yield (
                "method.advantage: ProcessNormalized judges a text's steps, and a small network writes none; choose "
                "grpo"
            )
        if settings.teacher is not None and not method.needs_teacher:
            yield f"teacher: got '{settings.teacher}', but '{method.name}' learns from none; leave it out"
        if method.horizon is not None:
            steps = settings.num_environments * method.horizon
            yield from too_many_minibatches(method, steps, f"a rollout has {steps} steps")
        else:
            yield from too_few_to_compare(settings, method)
        yield from self.label_problems(settings, method)
        yield from no_pairs(settings, method.name)

    def label_problems(self, settings: Settings, method: PolicyGradient) -> Iterator[str]:
        """What is wrong with the labels; here nobody is asked for any."""
        yield from no_labels(settings, method.name)

    def misfits(self, method: PolicyGradient, task: Any) -> Iterator[str]:
        if not isinstance(task, EnvironmentTask):
            return
        if task.is_atari:
            yield (
                f"method.name: '{method.name}' on '{task.name}': a game is seen as images, for which only methods that "
                "learn values have a network; choose dqn"
            )
        if fact(method.advantage, "needs_right_answers", False):
            yield (
                f"method.advantage: {type(method.advantage).__name__} reads right answers, and an episode of "
                f"'{task.name}' is neither right nor wrong; choose reinforce"
            )
        elif method.behaviour is not None:
            yield f"method.behaviour: only texts are answered by another policy; set it to null for '{task.name}'"

    def doubts(self, settings: Settings, method: PolicyGradient) -> Iterator[str]:
        yield from doubtful_slots(settings, method)
        yield from general_doubts(settings)

    def size(self, settings: Settings, method: PolicyGradient, task: EnvironmentTask) -> ModelShape:
        hidden = settings.network.hidden
        sizes = (task.observations, *hidden, task.choices or task.dimensions or 0)
        numbers = sum((before + 1) * after for before, after in pairwise(sizes))
        return ModelShape(parameters=numbers, layers=len(hidden), width=max(hidden))

    def units(self, settings: Settings, method: PolicyGradient) -> Units:
        units, general = rollout_units(settings, method, _drawn(settings, method)), method.beyond_slopes()
        if not general:
            return units
        slots = ", ".join(f"method.{slot}" for slot in general)
        return replace(units, lines=(*units.lines, f"learns by autograd: there is no compiled form of {slots}"))

    def work(self, method: PolicyGradient, policy: Any) -> Work:
        weights = counted(policy)
        return work(method, policy=weights.policy, critic=weights.critic, trained=weights.trained)

    def build(self, setup: Setup) -> RolloutTrainer[Any]:
        settings, method, task = setup.settings, setup.method, setup.task
        shape = SmallShape(
            observations=task.observations,
            choices=task.choices,
            dimensions=task.dimensions,
            hidden=settings.network.hidden,
            critic=method.critic is not None,
        )
        policy = SmallPolicy(shape, seed=settings.seed)
        start = policy.reference() if self.needs_start(settings, method) else None
        learner = Learner(policy, method, reference=start, temperature=settings.temperature, seed=settings.seed)
        collector = self.collector(setup, policy)
        return RolloutTrainer(
            settings, policy, collector=collector, learner=learner, work=self.work(method, policy), start=start
        )

    def collector(self, setup: Setup, policy: SmallPolicy) -> Collector[Any]:
        """Who plays and says what was earned."""
        return EnvironmentCollector(setup.settings, setup.method, setup.task, policy)


def _drawn(settings: Settings, method: PolicyGradient) -> str:
    if method.horizon is None:
        episodes = settings.prompts_per_step * method.samples_per_prompt
        return (
            f"{settings.prompts_per_step:,} start states x {method.samples_per_prompt:,} episodes = "
            f"{episodes:,} whole episodes"
        )
    steps = settings.num_environments * method.horizon
    return f"{count(settings.num_environments, 'environment')} x {method.horizon:,} steps = {steps:,} steps"
