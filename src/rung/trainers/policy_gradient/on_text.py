"""Policy gradients on text: a step draws completions, has them judged, and learns from them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from rung.errors import SettingsError
from rung.methods import Method, PolicyGradient
from rung.methods.parts.protocols import fact
from rung.models.language.size import ModelShape
from rung.rewards.reward import JudgesSteps, WeightedReward
from rung.settings import Settings
from rung.tasks.turns import Return
from rung.trainers.build import judging, language_model, rewards_of, sampler_of, teacher_of
from rung.trainers.fits import general_doubts, no_labels, no_network, no_pairs
from rung.trainers.kind import Kind, Setup
from rung.trainers.memory import FLOAT
from rung.trainers.policy_gradient.adapted import Adapted, adapted_to_text
from rung.trainers.policy_gradient.ahead import AheadCollector
from rung.trainers.policy_gradient.learner import Learner
from rung.trainers.policy_gradient.rollouts import doubtful_slots, rollout_units, too_few_to_compare
from rung.trainers.policy_gradient.text import TextCollector
from rung.trainers.policy_gradient.work import work
from rung.trainers.rollout_trainer import RolloutTrainer
from rung.trainers.trainer import Collector
from rung.trainers.units import Units
from rung.trainers.work import Work, counted


class OnText(Kind):
    """REINFORCE to DAPO on prompts."""

    reads_text = True
    engine_draws = True

    def recipe(self, method: Method, *, model: str, task: str) -> str | None:
        return "tiny" if model == "tiny" else None

    def adapted(self, settings: Settings, method: PolicyGradient, written: Container[str]) -> Iterator[Adapted]:
        yield from adapted_to_text(settings, method, written)

    def problems(self, settings: Settings, method: PolicyGradient) -> Iterator[str]:
        yield from no_network(settings, f"'{settings.model}' has layers of its own; leave it out")
        if method.needs_teacher and settings.teacher is None:
            yield "teacher: got none, but the method learns from one; set a model folder or a hub id"
        if settings.teacher is not None and not method.needs_teacher:
            yield f"teacher: got '{settings.teacher}', but '{method.name}' learns from none; leave it out"
        kl = method.reference_kl
        if settings.lora is not None and kl is not None and kl.refresh_every is not None:
            yield (
                "method.reference_kl.refresh_every: with lora the reference is the base model, which does not change; "
                "set it to null, or leave lora out"
            )
        yield from too_few_to_compare(settings, method)
        yield from no_labels(settings, method.name)
        yield from no_pairs(settings, method.name)

    def alone(self, settings: Settings, method: PolicyGradient) -> Iterator[str]:
        if reason := fact(method.optimizer, "alone", ""):
            yield f"{method.name} {reason}"

    def doubts(self, settings: Settings, method: PolicyGradient) -> Iterator[str]:
        yield from doubtful_slots(settings, method)
        yield from general_doubts(settings)

    def units(self, settings: Settings, method: PolicyGradient) -> Units:
        episodes = settings.prompts_per_step * method.samples_per_prompt
        return rollout_units(
            settings,
            method,
            f"{settings.prompts_per_step:,} prompts x {method.samples_per_prompt:,} samples = {episodes:,} episodes, "
            f"at most {episodes * settings.max_new_tokens:,} new tokens ({settings.max_new_tokens:,} each)",
        )

    def frozen_copies(self, settings: Settings, method: PolicyGradient) -> int:
        return int(method.refreshes_reference() and settings.reporting.kl_rows > 0)

    def memory(
        self, settings: Settings, method: PolicyGradient, size: ModelShape, prompt_tokens: int
    ) -> Mapping[str, int]:
        own_critic = method.critic is not None and method.critic.separate
        whole = 4 * settings.learner.micro_batch_tokens * size.vocabulary * FLOAT  # of both models, and their gradients
        return ({"critic": 4 * size.parameters * FLOAT} if own_critic else {}) | (
            {"distributions": whole} if method.to_teacher is not None else {}
        )

    def work(self, method: PolicyGradient, policy: Any) -> Work:
        weights = counted(policy)
        return work(method, policy=weights.policy, critic=weights.critic, trained=weights.trained)

    def task_problems(self, settings: Settings, method: PolicyGradient, task: Any) -> Iterator[str]:
        yield from self.misfits(method, task)
        if settings.sampler.ahead and task.plays is not None:
            yield (
                f"sampler.ahead: got {settings.sampler.ahead}, but '{task.name}' is played over turns, each of which "
                "waits for an answer to the one before; set 0"
            )

    def build(self, setup: Setup) -> RolloutTrainer[Any]:
        settings, method, ranks = setup.settings, setup.method, setup.ranks
        with judging(settings, self._rewards(setup)) if ranks.leads else nullcontext() as judge:
            policy = language_model(setup)
            if method.critic is not None:
                policy.add_critic(separate=method.critic.separate)
            sampler, behaviour = sampler_of(setup, policy), None
            ranks.shard(policy)
            start = policy.reference() if self.needs_start(settings, method) else None
            learner = Learner(
                policy,
                method,
                reference=start,
                teacher=teacher_of(setup, policy),
                temperature=settings.temperature,
                micro_batch_tokens=settings.learner.micro_batch_tokens,
                seed=settings.seed,
                ranks=ranks,
            )
            if method.behaviour is not None:
                assert start is not None, "this method's answers are the start's"
                behaviour = sampler_of(setup, start)
                behaviour.deliver(start.weights(), 0)
            collector: Collector[Any] = Collector()
            if judge is not None:
                collects = AheadCollector if settings.sampler.ahead else TextCollector
                collector = collects(settings, method, setup.task, policy, judge, sampler, behaviour)
        work = self.work(method, policy)
        return RolloutTrainer(
            settings, policy, collector=collector, learner=learner, work=work, start=start, ranks=ranks
        )

    def _rewards(self, setup: Setup) -> Sequence[WeightedReward]:
        settings, method, task = setup.settings, setup.method, setup.task
        if wrong := list(self.task_problems(settings, method, task)):
            raise SettingsError(wrong)
        rewards = rewards_of(settings.rewards, task, setup.handed, accuracy=settings.rewarding.accuracy)
        if fact(method.advantage, "needs_step_scores", False) and not any(
            isinstance(one.reward, JudgesSteps | Return) for one in rewards
        ):
            names = ", ".join(one.reward.name for one in rewards)
            raise SettingsError(
                [
                    f"method.advantage: {type(method.advantage).__name__} needs a reward that judges steps, but "
                    f"'{task.name}' has {names}; set task.steps=true with arithmetic or running-sum, "
                    "or choose grpo, or a task over turns"
                ]
            )
        return rewards
